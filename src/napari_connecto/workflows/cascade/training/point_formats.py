"""File formats of positions by suffix, and reading and writing those of other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.io.tables.cell_xml import CELL, NO_CELL, read_cells, write_cells
from napari_connecto.io.tables.geojson import read_geojson, write_geojson
from napari_connecto.io.tables.imagej_roi import need_roifile, read_rois, write_rois
from napari_connecto.io.tables.tables import PLACES, need_pyarrow, numbers_of, write_table

FORMATS = {
    "table": (".csv", ".parquet"),
    "cellfinder": (".xml",),
    "imagej": (".zip", ".roi"),
    "qupath": (".geojson",),
    "cell-counter": (".xml",),
    "brainglobe": (".csv",),
}
"""Suffixes of each format; if two share one, the first is the default."""
SUFFIXES = tuple(dict.fromkeys(suffix for suffixes in FORMATS.values() for suffix in suffixes))
_VOXELS = ("z", "y", "x")


@dataclass(frozen=True)
class Told:
    """Attributes of positions; each format stores those it supports.

    Parameters
    ----------
    kinds
        Types of the markers, `CELL` or `NO_CELL`, of each or of all.
    ids, scores
        (n,), or None.
    title
        Title of the image as ImageJ shows it: its file name.
    measures
        Further columns (n,) of numbers by name.
    """

    kinds: np.ndarray | int = CELL
    ids: Sequence[int] | np.ndarray | None = None
    scores: np.ndarray | None = None
    title: str = ""
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)


def format_of(path: str | Path, to: str | None = None) -> str:
    """The format for a file name and ``to``, one of `FORMATS`.

    Raises
    ------
    InputError
        If there is none, or a package it needs is missing.
    """
    suffix = Path(path).suffix.lower()
    if to is not None and to not in FORMATS:
        raise InputError(f"got the format '{to}'; allowed: {', '.join(FORMATS)}")
    found = next((name for name, suffixes in FORMATS.items() if suffix in suffixes and to in (None, name)), None)
    if found is None:
        allowed = SUFFIXES if to is None else FORMATS[to]
        raise InputError(f"got table '{path}'; allowed: names that end in {', '.join(allowed)}")
    if suffix == ".parquet":
        need_pyarrow()
    if found == "imagej":
        need_roifile()
    return found


def write_marks(path: Path, form: str, centre_nm: np.ndarray, level: Level, told: Told) -> None:
    """Write positions (n, 3) in nm as voxels of ``level``, in a format of `FORMATS` other than "table".

    Raises
    ------
    InputError
        If a title is needed and missing, or a ``.roi`` would hold several points.
    StoreError
        If it cannot be written.
    """
    voxels = level.to_voxels(centre_nm)
    indices = np.floor(voxels + 1e-6).astype(np.int64)
    kinds = np.broadcast_to(np.asarray(told.kinds), len(voxels))
    names = [str(i) for i in (range(1, len(voxels) + 1) if told.ids is None else told.ids)]
    if form == "cellfinder":
        write_cells(path, indices, kinds, title=told.title)
    elif form == "cell-counter":
        if not told.title:
            raise InputError(f"'{path}' needs the image's title for ImageJ; name the image (title=, --image IMAGE)")
        write_cells(path, indices, kinds, title=told.title, counter=True)
    elif form == "brainglobe":
        write_table(path, {axis: indices[:, 2 - i] for i, axis in enumerate("xyz")} | {"type": kinds})
    elif form == "imagej":
        keep = kinds != NO_CELL
        write_rois(path, voxels[keep], [name for name, kept in zip(names, keep, strict=True) if kept])
    else:
        numbers = {} if told.scores is None else {"score": told.scores}
        write_geojson(path, voxels, names, kinds != NO_CELL, numbers | dict(told.measures))


def read_marks(path: Path, level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Positions from a file of another program.

    Parameters
    ----------
    path
        Ends in ``.xml``, ``.zip``, ``.roi`` or ``.geojson``.
    level
        Level whose voxels it counts; an index stands for the voxel's centre.

    Returns
    -------
    centre_nm
        (n, 3), (z, y, x).
    cells
        (n,) False where the file says it is not a cell; if nothing is marked as a cell, all are.

    Raises
    ------
    InputError
        If it is missing or damaged, or holds anything but points.
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS["imagej"]:
        voxels = read_rois(path, level.shape[0])
        return level.to_nm(voxels), np.ones(len(voxels), bool)
    if suffix in FORMATS["qupath"]:
        voxels, cells = read_geojson(path, level.shape[0])
        return level.to_nm(voxels), cells
    voxels, kinds = read_cells(path)
    return level.to_nm(voxels + 0.5), _cells(kinds)


def counts_voxels(path: Path, table: Mapping[str, np.ndarray] | None = None) -> bool:
    """Whether a file, or a table read from it, holds voxels rather than nm."""
    if table is None:
        return path.suffix.lower() in (*FORMATS["cellfinder"], *FORMATS["imagej"], *FORMATS["qupath"])
    return not set(PLACES) & set(table) and set(_VOXELS) <= set(table)


def marks_of(table: Mapping[str, np.ndarray], path: Path, level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Like `read_marks`, for a table with columns z, y, x in voxels and optionally type, as brainglobe's."""
    voxels = np.stack([numbers_of(table, name, path) for name in _VOXELS], axis=1)
    if (voxels != np.rint(voxels)).any():
        raise InputError(f"'{path}' has fractions as z, y, x, which are voxels; positions in nm are z_nm, y_nm, x_nm")
    kinds = numbers_of(table, "type", path) if "type" in table else np.full(len(voxels), CELL)
    return level.to_nm(voxels + 0.5), _cells(kinds)


def _cells(kinds: np.ndarray) -> np.ndarray:
    return (kinds == CELL) | (CELL not in kinds)

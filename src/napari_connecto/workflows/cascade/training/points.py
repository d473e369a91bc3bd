"""Positions in nm <-> files: tables with columns in nm, and files of other programs, which count voxels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level
from napari_connecto.io.tables.tables import PLACES, check_finite, places_of, read_table, write_table
from napari_connecto.workflows.cascade.training.point_formats import (
    Told,
    counts_voxels,
    format_of,
    marks_of,
    read_marks,
    write_marks,
)
from napari_connecto.workflows.cascade.verdicts import (
    ACCEPTED,
    NEW,
    OBJECTS,
    REJECTED,
    REVIEW,
    check_status,
    read_verdicts,
)

DETECTIONS = "detections.csv"
"""The table of detections in a search's result folder."""


@shown
@dataclass(frozen=True)
class Places:
    """Positions with a verdict each.

    Parameters
    ----------
    centre_nm
        (n, 3), nm, (z, y, x).
    status
        (n,) "new", "accepted", "rejected" or "added".
    reviewed
        Whether the file states verdicts, as a review does; without them, all are objects.
    """

    centre_nm: np.ndarray
    status: np.ndarray
    reviewed: bool = True

    @classmethod
    def none(cls) -> Places:
        """No positions."""
        return cls(np.empty((0, 3)), np.empty(0, "<U8"))

    def of(self, status: str) -> np.ndarray:
        """(k, 3) positions of one status."""
        return self.centre_nm[self.status == status]

    @property
    def objects(self) -> np.ndarray:
        """(k, 3) positions that were accepted or added."""
        return self.centre_nm[np.isin(self.status, OBJECTS)]


def read_points(path: str | Path, level: Level | None = None) -> np.ndarray:
    """Positions from a table, or from a file of cellfinder, ImageJ or QuPath.

    Parameters
    ----------
    path
        Ends in ``.csv``, ``.tsv`` or ``.parquet``, with columns z_nm, y_nm, x_nm, or z, y, x in voxels (brainglobe); in
        ``.xml`` (cellfinder, ImageJ's Cell Counter), ``.zip`` or ``.roi`` (ImageJ), or ``.geojson`` (QuPath). Rows
        whose
        status is "rejected" are left out, and if a file has cells and other markers, only the cells are returned.
    level
        Level whose voxels a file counts; an index stands for the voxel's centre.

    Returns
    -------
    numpy.ndarray
        (n, 3), nm, (z, y, x).

    Raises
    ------
    InputError
        If it is damaged, has no such columns, a position is not finite, or ``level`` is needed and not given.
    """
    places = _places(Path(path), level)
    return places.centre_nm[places.status != REJECTED]


def read_places(path: str | Path, level: Level | None = None) -> Places:
    """Like `read_points`, but every place with its verdict.

    If a file has cells and other markers, the others are rejected. A search's result folder, its ``detections.csv``
    and its ``review.csv`` are equivalent: the detections with the review's verdicts, and verdicts on other places.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    if path != folder and (path.name not in (DETECTIONS, REVIEW) or not (folder / DETECTIONS).is_file()):
        return _places(path, level)
    places = _places(folder / DETECTIONS, level)
    said, besides = read_verdicts(folder).match(places.centre_nm)
    status = np.where(places.status == NEW, said.status, places.status)
    return Places(np.concatenate([places.centre_nm, besides.centre_nm]), np.concatenate([status, besides.status]))


def _places(path: Path, level: Level | None) -> Places:
    if counts_voxels(path):
        return _marked(*read_marks(path, _known(path, level)))
    table, _ = read_table(path)
    if counts_voxels(path, table):
        return _marked(*marks_of(table, path, _known(path, level)))
    points = places_of(table, path)
    if "status" in table:
        return Places(points, check_status(table["status"], path))
    return Places(points, np.full(len(points), ACCEPTED), reviewed=False)


def _marked(centre_nm: np.ndarray, cells: np.ndarray) -> Places:
    return Places(centre_nm, np.where(cells, ACCEPTED, REJECTED), reviewed=False)


def write_points(
    path: str | Path,
    centre_nm: np.ndarray,
    level: Level | None = None,
    told: Told | None = None,
    *,
    to: str | None = None,
) -> None:
    """Write positions (n, 3) in nm, (z, y, x): a table, or a file that counts the voxels of ``level``, by its suffix.

    ``to`` chooses if a suffix has two formats, see `point_formats.FORMATS`.

    Raises
    ------
    InputError
        If the suffix is another, a position is not finite, or ``level`` or a title is needed and not given.
    StoreError
        If it cannot be written.
    """
    form, centre_nm = format_of(path, to), np.asarray(centre_nm, float).reshape(-1, 3)
    columns = {name: centre_nm[:, i] for i, name in enumerate(PLACES)}
    check_finite(path, columns)
    if form == "table":
        write_table(path, columns)
    else:
        write_marks(Path(path), form, centre_nm, _known(path, level), told or Told())


def _known(path: str | Path, level: Level | None) -> Level:
    if level is None:
        raise InputError(f"'{path}' counts voxels; say of which image (level=, --image IMAGE)")
    return level

"""What a search found, and how to keep, filter and read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import fvec3
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.read import open_volume
from napari_connecto.io.tables import read_table, write_table
from napari_connecto.workflows.points import read_points, write_points

_BOX = tuple(f"{axis}_{end}" for end in ("start", "stop") for axis in "zyx")


@dataclass(frozen=True)
class Detections:
    """Objects found in a volume.

    Parameters
    ----------
    centre_nm
        (n, 3) world position in nm, (z, y, x).
    score
        (n,) in [0, 1]: the peak, or the mean over the object, of the finest level's probability.
    box
        (n, 6) bounding boxes in voxels of the finest level used: start z, y, x, stop z, y, x.
    chunks
        (m,) indices of the finest level's chunks that were accepted: looked at, and reaching the threshold.
    report
        What it cost and what may have been missed; JSON. See `report_lines`.
    labels
        Objects as labels 1..n in this order, where the cascade makes masks.
    """

    centre_nm: np.ndarray
    score: np.ndarray
    box: np.ndarray
    chunks: np.ndarray
    report: Mapping[str, Any] = field(default_factory=dict)
    labels: Volume | None = None

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls) -> Detections:
        """Nothing found."""
        return cls(np.empty((0, 3)), np.empty(0), np.empty((0, 6), np.int64), np.empty(0, np.int64))

    def at(self, threshold: float) -> Detections:
        """Those with a score of at least ``threshold``; nothing is computed again."""
        keep = self.score >= threshold
        return replace(self, centre_nm=self.centre_nm[keep], score=self.score[keep], box=self.box[keep])

    def save(self, path: str | Path, *, level: Level | None = None) -> None:
        """Write a table, CSV or Parquet by the suffix: id, z_nm, y_nm, x_nm, score, and the box in voxels.

        A name that ends in ``.xml`` makes a file of cells for cellfinder and its friends: centres alone, as voxel
        indices of ``level``, by default the finest that was searched.

        Raises
        ------
        InputError
            If the suffix is another, or ``level`` is needed and not given.
        """
        if Path(path).suffix.lower() == ".xml":
            write_points(path, self.centre_nm, level or self._searched())
            return
        columns = {"id": np.arange(1, len(self) + 1)}
        columns |= {f"{axis}_nm": self.centre_nm[:, i] for i, axis in enumerate("zyx")}
        columns["score"] = self.score
        columns |= {
            f"{axis}_{end}": self.box[:, i + 3 * j]
            for j, end in enumerate(("start", "stop"))
            for i, axis in enumerate("zyx")
        }
        write_table(path, columns)

    def _searched(self) -> Level | None:
        """A stand-in for the finest level that was searched: its voxels and origin."""
        if self.labels is not None:
            return self.labels.levels[0]
        told = (self.report.get("levels") or [{}])[-1]
        if "origin_nm" not in told:
            return None
        return Level(np.empty((1, 1, 1), bool), fvec3(told["voxel_nm"]), fvec3(told["origin_nm"]))

    @classmethod
    def load(cls, path: str | Path, *, level: Level | None = None) -> Detections:
        """Read a table that `save` wrote, the result folder of a search with its report and labels, or a file of cells.

        Of a file of cells (``.xml``), which counts voxels of ``level``, come centres with a score of 1 and boxes of one
        voxel.

        Raises
        ------
        InputError
            If it is none of these, or damaged, or ``level`` is needed and not given.
        """
        if Path(path).is_dir():
            return _load_folder(Path(path))
        if Path(path).suffix.lower() == ".xml":
            return _from_cells(path, level)
        table, _ = read_table(path)
        try:
            centre = np.stack([table[f"{axis}_nm"] for axis in "zyx"], axis=1).astype(float).reshape(-1, 3)
            box = np.stack([table[name] for name in _BOX], axis=1).astype(np.int64).reshape(-1, 6)
            return cls(centre, np.asarray(table["score"], float), box, np.empty(0, np.int64))
        except KeyError as error:
            raise InputError(f"got a table without the column {error}; detections have {list(table)}") from error
        except (ValueError, TypeError) as error:
            text = [name for name, column in table.items() if column.dtype.kind not in "biuf"]
            raise InputError(f"got text in the columns {text} of '{path}'; detections are numbers") from error


def _from_cells(path: str | Path, level: Level | None) -> Detections:
    centre = read_points(path, level)
    assert level is not None  # else read_points had refused
    start = np.floor(level.to_voxels(centre)).astype(np.int64)
    return Detections(centre, np.ones(len(centre)), np.concatenate([start, start + 1], axis=1), np.empty(0, np.int64))


def _load_folder(folder: Path) -> Detections:
    try:
        report = read_json(folder / "report.json")
    except StoreError as error:
        raise InputError(f"got {folder}; a finished search is a folder with report.json and detections.csv") from error
    labels = folder / "labels" / "objects.zarr"
    return replace(
        Detections.load(folder / "detections.csv"),
        report=report,
        labels=open_volume(labels) if labels.is_dir() else None,
    )


def join(parts: Sequence[Detections]) -> Detections:
    """One set from several; reports and labels are dropped."""
    if not parts:
        return Detections.empty()
    return Detections(
        np.concatenate([p.centre_nm for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.box for p in parts]),
        np.unique(np.concatenate([p.chunks for p in parts])),
    )

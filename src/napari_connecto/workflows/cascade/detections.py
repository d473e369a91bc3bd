"""Detections of a search: store, filter and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import FVec3, fvec3
from napari_connecto.core.shown import brief, shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.tables.cell_xml import CELL, NO_CELL
from napari_connecto.io.tables.tables import READ, numbers_of, places_of, read_table, write_table
from napari_connecto.workflows.cascade.added import with_added
from napari_connecto.workflows.cascade.measures import measures_in
from napari_connecto.workflows.cascade.training.point_formats import Told, format_of
from napari_connecto.workflows.cascade.training.points import read_points, write_points
from napari_connecto.workflows.cascade.verdicts import (
    ADDED,
    NEW,
    NOTES,
    REJECTED,
    STATUSES,
    check_status,
    no_text,
    notes_of,
    read_notes,
    read_verdicts,
)

EXAMPLES = 5
"""Number of objects in a notebook's table."""
_ROWS = ("centre_nm", "score", "box", "id", "status", *NOTES)
_BOX = tuple(f"{axis}_{end}" for end in ("start", "stop") for axis in "zyx")


@shown
@dataclass(frozen=True)
class Detections:
    """Objects found in a volume.

    Parameters
    ----------
    centre_nm
        (n, 3) world position in nm, (z, y, x).
    score
        (n,) in [0, 1]: the probability that it is an object, calibrated on the cascade's held-out objects. For older
        cascades the peak, or the mean over the object, of the finest level's output.
    box
        (n, 6) bounding boxes in voxels of the finest level used: start z, y, x, stop z, y, x.
    chunks
        (m,) indices of the finest level's chunks that were classified and reach the threshold.
    report
        Cost, and what may have been missed; JSON. See `report_lines`.
    labels
        Objects as labels, whose values are the ids, if the cascade predicts masks.
    id
        (n,) integers from 1, each once; default 1..n. Filtering keeps them.
    status
        (n,) a reviewer's verdict: "new", "accepted", "rejected", or "added" (an object that the search missed; its
        score is 1); default "new".
    tags, reviewer, when
        (n,) the reviewer's tags, separated by ";"; who gave the verdict; and when (ISO 8601); default "".
    measures
        Columns (n,) of measurements by name, see `measure`; empty before.

    Raises
    ------
    InputError
        If ids, statuses or measurements differ in number from the scores.
    """

    centre_nm: np.ndarray
    score: np.ndarray
    box: np.ndarray
    chunks: np.ndarray
    report: Mapping[str, Any] = field(default_factory=dict)
    labels: Volume | None = None
    id: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    status: np.ndarray = field(default_factory=lambda: np.empty(0, "<U8"))
    tags: np.ndarray = field(default_factory=lambda: no_text(0))
    reviewer: np.ndarray = field(default_factory=lambda: no_text(0))
    when: np.ndarray = field(default_factory=lambda: no_text(0))
    measures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self)
        defaults = {"id": np.arange(1, n + 1), "status": np.full(n, NEW, "<U8")} | {name: no_text(n) for name in NOTES}
        for name, default in defaults.items():
            given = getattr(self, name)
            if len(given) not in (0, len(self)):
                raise InputError(f"got {len(given)} values of {name} for {len(self)} detections; give one for each")
            if not len(given):
                object.__setattr__(self, name, default)
        for name, column in self.measures.items():
            if len(column) != len(self):
                raise InputError(f"got {len(column)} values of {name} for {len(self)} detections; give one for each")

    def __len__(self) -> int:
        return len(self.score)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("objects", str(len(self)))]
        if not len(self):
            return rows
        counts = {verdict: np.count_nonzero(self.status == verdict) for verdict in STATUSES[1:]}
        verdicts = [f"{n} {verdict}" for verdict, n in counts.items() if n or verdict != ADDED]
        rows += [("reviewed", ", ".join(verdicts))] if (self.status != NEW).any() else []
        rows.append(("score", f"{self.score.min():.3g} to {self.score.max():.3g}"))
        return rows + ([("labels", brief(self.labels))] if self.labels is not None else [])

    def _examples(self) -> list[tuple[str, str]]:
        """Some of the objects, highest scores first."""
        best = np.argsort(-self.score, kind="stable")[:EXAMPLES]
        places = [", ".join(f"{v:.0f}" for v in self.centre_nm[i]) for i in best]
        return [
            (f"object {self.id[i]}", f"score {self.score[i]:.3g} at z y x {place} nm, {self.status[i]}")
            for i, place in zip(best, places, strict=True)
        ]

    @classmethod
    def empty(cls) -> Detections:
        """No detections."""
        return cls(np.empty((0, 3)), np.empty(0), np.empty((0, 6), np.int64), np.empty(0, np.int64))

    def at(self, threshold: float) -> Detections:
        """Those with a score of at least ``threshold``; nothing is recomputed."""
        return self.where(self.score >= threshold)

    def where(self, keep: np.ndarray) -> Detections:
        """Those for which ``keep``, boolean (n,), is true, with their ids and verdicts."""
        rows: dict[str, Any] = {name: getattr(self, name)[keep] for name in _ROWS}
        return replace(self, **rows, measures={name: column[keep] for name, column in self.measures.items()})

    def save(self, path: str | Path, *, level: Level | None = None, to: str | None = None, title: str = "") -> None:
        """Write a table, CSV or Parquet by the suffix: see `table`.

        Other suffixes make files of other programs: centres in voxels of ``level``, by default the finest that was
        searched, and measurements where the format has room for them. ``.xml`` is for cellfinder, ``.zip`` for ImageJ's
        regions, ``.geojson`` for QuPath. ``to="cell-counter"`` writes the XML of ImageJ's Cell Counter for the image
        called ``title``, ``to="brainglobe"`` a CSV of x, y, z, type. What is rejected has the type of no cell, or, in
        ImageJ's regions, is left out.

        Raises
        ------
        InputError
            If the suffix is another, or ``level``, ``title`` or a package is needed and absent.
        """
        if format_of(path, to) != "table":
            kinds = np.where(self.status == REJECTED, NO_CELL, CELL)
            told = Told(kinds, self.id, self.score, title, self.measures)
            write_points(path, self.centre_nm, level or self.grid(), told, to=to)
            return
        write_table(path, self.table())

    def table(self) -> dict[str, np.ndarray]:
        """Columns (n,) by name: id, z_nm, y_nm, x_nm, score, the box in voxels, status, measurements.

        After a review the columns tags, reviewer and when follow.
        """
        columns = {"id": self.id} | {f"{axis}_nm": self.centre_nm[:, i] for i, axis in enumerate("zyx")}
        columns |= {"score": self.score} | {name: self.box[:, i] for i, name in enumerate(_BOX)}
        reviewed = (self.status != NEW).any() or (self.tags != "").any()
        return columns | {"status": self.status, **self.measures} | (notes_of(self) if reviewed else {})

    @property
    def box_voxel_nm(self) -> FVec3 | None:
        """Voxel size (z, y, x) of `box`: that of the finest level in use, else of the labels; None if unknown."""
        told = (self.report.get("levels") or [{}])[-1]
        if "voxel_nm" in told:
            return fvec3(told["voxel_nm"])
        return None if self.labels is None else self.labels.levels[0].voxel_nm

    def box_grid(self) -> Level | None:
        """A stand-in for the level whose voxels `box` counts; None if unknown."""
        grid, voxel_nm = self.grid(), self.box_voxel_nm
        return None if grid is None or voxel_nm is None else Level(np.empty((1, 1, 1), bool), voxel_nm, grid.origin_nm)

    def grid(self) -> Level | None:
        """A stand-in for the image's finest level: its voxel size and origin; None if unknown."""
        if self.labels is not None:
            return self.labels.levels[0]
        told = self.report.get("image") or (self.report.get("levels") or [{}])[-1]
        if "origin_nm" not in told:
            return None
        return Level(np.empty((1, 1, 1), bool), fvec3(told["voxel_nm"]), fvec3(told["origin_nm"]))

    @classmethod
    def load(cls, path: str | Path, *, level: Level | None = None) -> Detections:
        """Read a table that `save` wrote, the result folder of a search with report, labels and verdicts, or cells.

        A table without ids or statuses, as older ones are, is of ids 1..n, not reviewed. Of a file of another program
        (``.xml``, ``.zip``, ``.geojson``), which counts voxels of ``level``, come centres, with a score of 1 and boxes
        of one voxel.

        Raises
        ------
        InputError
            If it is none of these, or damaged, or ``level`` is needed and not given.
        """
        if Path(path).is_dir():
            return _load_folder(Path(path))
        return _from_table(path) if Path(path).suffix.lower() in READ else _from_cells(path, level)


def _from_table(path: str | Path) -> Detections:
    table, _ = read_table(path)
    centre, score = places_of(table, path), numbers_of(table, "score", path)
    box = np.stack([numbers_of(table, name, path) for name in _BOX], axis=1).astype(np.int64).reshape(-1, 6)
    number = numbers_of(table, "id", path) if "id" in table else np.arange(1.0, len(score) + 1)
    whole = (number == np.rint(number)) & (number >= 1) & (number < 2**32)
    if not whole.all() or len(np.unique(number)) < len(number):
        raise InputError(f"got ids in '{path}' that are not whole numbers from 1, each once; correct or drop them")
    status = check_status(table["status"], path) if "status" in table else np.empty(0, "<U8")
    notes: dict[str, Any] = read_notes(table, path) | {"measures": measures_in(table, path)}
    return Detections(centre, score, box, np.empty(0, np.int64), id=number.astype(np.int64), status=status, **notes)


def _from_cells(path: str | Path, level: Level | None) -> Detections:
    centre = read_points(path, level)
    assert level is not None  # else read_points had refused
    start = np.floor(level.to_voxels(centre)).astype(np.int64)
    return Detections(centre, np.ones(len(centre)), np.concatenate([start, start + 1], axis=1), np.empty(0, np.int64))


def _load_folder(folder: Path) -> Detections:
    from napari_connecto.io.volumes.read import open_volume  # zarr and ome-zarr-models: keep opening the docks fast

    try:
        report = read_json(folder / "report.json")
    except StoreError as error:
        raise InputError(f"'{folder}' holds no finished search: report.json or detections.csv is missing") from error
    found, labels = Detections.load(folder / "detections.csv"), folder / "labels" / "objects.zarr"
    said, rest = read_verdicts(folder).match(found.centre_nm)
    notes: dict[str, Any] = {name: getattr(said, name) for name in ("status", *NOTES)}
    found = replace(found, report=report, labels=open_volume(labels) if labels.is_dir() else None, **notes)
    return with_added(found, rest, found.box_grid())


def join(parts: Sequence[Detections]) -> Detections:
    """Several sets as one, with new ids; reports, labels and measurements are dropped."""
    if not parts:
        return Detections.empty()
    said: dict[str, Any] = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("status", *NOTES)}
    return Detections(
        np.concatenate([p.centre_nm for p in parts]),
        np.concatenate([p.score for p in parts]),
        np.concatenate([p.box for p in parts]),
        np.unique(np.concatenate([p.chunks for p in parts])),
        **said,
    )

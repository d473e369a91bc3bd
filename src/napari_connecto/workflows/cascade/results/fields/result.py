"""A plan of fields of view, and its file for a microscope: CSV, Parquet or JSON, in stage units."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing
from napari_connecto.io.tables.tables import write_table
from napari_connecto.workflows.cascade.results.fields.route import length
from napari_connecto.workflows.cascade.results.params import FieldParams

SUFFIXES = (".csv", ".parquet", ".json")
COLUMNS = ("z", "y", "x", "z_size", "y_size", "x_size")
DIGITS = 10


@shown
@dataclass(frozen=True)
class Fields:
    """Fields of view, in the order in which the stage visits them.

    Parameters
    ----------
    start_um, stop_um
        (n, 3) corners in the image's world, (z, y, x), in um; in pixels where the voxel size is unknown.
    objects
        Of each field the ids of the objects that it is there for; all of an object, or a part of what is larger than
        a field.
    covered
        How many objects there are.
    at_least
        A number of fields below which nothing covers them all.
    grid
        How many fields of a regular grid would be needed.
    everywhere
        How many fields would cover all that was searched; 0 if that is not known.
    params
        What was asked for.
    unit
        "um" or "pixels".
    """

    start_um: np.ndarray
    stop_um: np.ndarray
    objects: tuple[np.ndarray, ...]
    covered: int
    at_least: int
    grid: int
    everywhere: int
    params: FieldParams
    unit: str = "um"

    def __len__(self) -> int:
        return len(self.start_um)

    def lines(self) -> list[str]:
        """The plan in words."""
        size = " x ".join(f"{v:g}" for v in self.params.size)
        what = f"{len(self)} fields of {size} {self.unit} cover {self.covered} objects"
        lines = [f"{what}; at least {self.at_least} are needed"]
        whole = f"; without margins, {self.everywhere} cover all that was searched" if self.everywhere else ""
        lines.append(f"a regular grid would take {self.grid}{whole}")
        way = length((self.start_um + self.stop_um)[:, 1:] / 2)
        return [*lines, f"stage path: {way:.4g} {self.unit}"] if len(self) > 1 else lines

    def stage(self) -> dict[str, np.ndarray]:
        """Columns (n,) in stage units: z, y, x of the middle of each field, z_size, y_size, x_size.

        Raises
        ------
        InputError
            If the scale of the stage is 0, or not finite, along an axis.
        """
        scale, origin = np.array(self.params.scale), np.array(self.params.origin)
        if not (np.isfinite([scale, origin]).all() and scale.all()):
            told = f"scale {scale.tolist()} and origin {origin.tolist()}"
            raise InputError(f"got the stage's {told}; allowed are finite numbers, and no 0 in scale")
        middle = origin + (self.start_um + self.stop_um) / 2 * scale
        extent = (self.stop_um - self.start_um) * np.abs(scale)
        numbers = np.concatenate([middle, extent], axis=1).T.tolist()
        return {
            name: np.array([float(f"{v:.{DIGITS}g}") for v in column])
            for name, column in zip(COLUMNS, numbers, strict=True)
        }

    def save(self, path: str | Path) -> None:
        """Write the fields in their order, in stage units; the format is that of the suffix.

        ``.csv`` and ``.parquet``: columns field (from 1), those of `stage`, objects (how many). ``.json``: the same for
        each field with the ids of its objects, and its corners in the image.

        Raises
        ------
        InputError
            If the suffix is another, or the stage's scale is 0.
        StoreError
            If it cannot be written.
        """
        check_fields_path(path)
        path, columns = Path(path), self.stage()
        if path.suffix.lower() != ".json":
            count = np.array([len(ids) for ids in self.objects], np.int64)
            write_table(path, {"field": np.arange(1, len(self) + 1)} | columns | {"objects": count})
            return
        text = json_text(
            {"axes": "zyx", "at_least": self.at_least, "fields": [self._json(i, columns) for i in range(len(self))]}
        )
        with storing(path), whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def _json(self, i: int, columns: dict[str, np.ndarray]) -> dict[str, Any]:
        corners = {"start": self.start_um[i].tolist(), "stop": self.stop_um[i].tolist()}
        stage = {name: float(column[i]) for name, column in columns.items()}
        return {"field": i + 1} | stage | {"objects": self.objects[i].tolist(), f"image_{self.unit}": corners}


def check_fields_path(path: str | Path) -> None:
    """Refuse a name of no format, before anything is planned.

    Raises
    ------
    InputError
        If it ends in none of `SUFFIXES`.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise InputError(f"got '{path}' for fields of view; allowed: names that end in {', '.join(SUFFIXES)}")

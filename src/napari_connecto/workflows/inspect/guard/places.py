"""Where an answer is probably wrong: the places of a check to look at first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Box, FVec3, fvec3, vec3
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import read_json, write_text
from napari_connecto.workflows.shared.on_grid import part_of
from napari_connecto.workflows.shared.worst import looked_at, worst_boxes

WORST = "worst.json"
"""Where a check lists its places."""


@dataclass(frozen=True)
class Place:
    """A place where the answer is probably wrong.

    Parameters
    ----------
    box
        Voxels of the error map's finest level.
    centre_nm
        World, (z, y, x).
    error
        Mean probability of an error.
    """

    box: Box
    centre_nm: FVec3
    error: float

    @property
    def reason(self) -> str:
        """In words."""
        return f"probably wrong in {percent(self.error)} of the voxels"


def worst_places(error: Volume, n: int, size_nm: float, within: Box | None = None) -> list[Place]:
    """The regions of the largest mean error probability, without overlap, worst first.

    Parameters
    ----------
    error
        Of a `PairCheck`.
    n, size_nm
        Number of regions, and side of one.
    within
        Part to search, in voxels of its finest level. Default: all of it.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    whole, finest = error.levels[looked_at(error)], error.levels[0]
    level = whole if within is None else part_of(whole, finest.box_in(within, whole).clip(whole.shape))
    seen = np.asarray(level.read(level.box), np.float32) / 255
    places = []
    for box in worst_boxes(seen, level, n, size_nm):
        centre = fvec3(level.to_nm(box.centre).tolist())
        places.append(Place(level.box_in(box, finest).clip(finest.shape), centre, float(seen[box.slices].mean())))
    return places


def centres_nm(places: Sequence[Place]) -> np.ndarray:
    """Where places are, (n, 3) nm, (z, y, x), worst first: for whatever goes through them."""
    return np.array([place.centre_nm for place in places], np.float64).reshape(-1, 3)


def read_places(path: str | Path) -> list[Place]:
    """The places of a finished check.

    Parameters
    ----------
    path
        ``worst.json`` or the folder of the check that holds it.

    Raises
    ------
    StoreError
        If there is none, or it is damaged.
    """
    path = Path(path)
    path = path / WORST if path.is_dir() else path
    rows = read_json(path)
    try:
        return [
            Place(Box(vec3(row["box"][:3]), vec3(row["box"][3:])), fvec3(row["centre_nm"]), float(row["error"]))
            for row in rows
        ]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"'{path}' is damaged ({error!r:.100}); check the answer again") from error


def save_places(places: Sequence[Place], path: str | Path) -> None:
    """Write places as a table: ``z_nm, y_nm, x_nm`` of the centre, ``error``, ``reason``, worst first.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    rows = [f"{z:.1f},{y:.1f},{x:.1f},{p.error:.4f},{p.reason}" for p in places for z, y, x in [p.centre_nm]]
    write_text(Path(path), "\n".join(["z_nm,y_nm,x_nm,error,reason", *rows]) + "\n")

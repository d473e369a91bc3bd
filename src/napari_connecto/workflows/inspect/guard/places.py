"""Where an answer is probably wrong: the places of a check to look at first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.geometry import Box, FVec3, fvec3
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.shared.on_grid import part_of
from napari_connecto.workflows.shared.worst import looked_at, worst_boxes


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
        return f"probably wrong in {self.error:.0%} of the voxels"


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

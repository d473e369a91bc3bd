"""Balls on a grid of voxels, and labels with balls drawn where there is background, lazily."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Level, Volume


def ball(level: Level, centre_nm: np.ndarray, radius_nm: float, flat: bool = False) -> tuple[Box, np.ndarray]:
    """Voxels whose centre is within a radius of a position, and the one that contains it.

    Parameters
    ----------
    level
        The grid.
    centre_nm
        (3,) position in nm, (z, y, x).
    radius_nm
        Radius in nm.
    flat
        Within the section of the position only.

    Returns
    -------
    box
        The part of the grid that holds it; empty if it is outside.
    inside
        Boolean, of the shape of the box.
    """
    voxel, at = np.array(level.voxel_nm), level.to_voxels(np.asarray(centre_nm, float).reshape(3))
    reach = radius_nm / voxel * ([0, 1, 1] if flat else [1, 1, 1])
    box = Box(vec3(np.floor(at - reach).tolist()), vec3((np.floor(at + reach) + 1).tolist())).clip(level.shape)
    middle = np.where(radius_nm < voxel, np.floor(at) + 0.5, at)
    grids = np.ogrid[box.slices]
    z, y, x = (((g + 0.5 - c) * v) ** 2 for g, c, v in zip(grids, middle, voxel, strict=True))
    return box, z + y + x <= radius_nm**2


@dataclass(frozen=True)
class _Balls(ChunkWise):
    drawn: tuple[tuple[int, Box, np.ndarray], ...]

    def __getitem__(self, key: tuple[Any, ...]) -> np.ndarray:
        block = np.array(self.array[key])
        ends = [s.indices(n)[:2] for s, n in zip(key[-3:], self.shape[-3:], strict=True)]
        window = Box(vec3([a for a, _ in ends]), vec3([b for _, b in ends]))
        for label, box, inside in self.drawn:
            both = box.clip(window)
            part = block[both.shift([-o for o in window.start]).slices]
            part[inside[both.shift([-o for o in box.start]).slices] & (part == 0)] = label
        return block


def with_balls(
    labels: Volume, centres_nm: np.ndarray, ids: Sequence[int] | np.ndarray, radius_nm: float, *, flat: bool = False
) -> Volume:
    """A volume of labels in which each position (n, 3), nm, is a ball with its id, where there was background.

    Nothing is copied. See `ball` for ``radius_nm`` and ``flat``.

    Examples
    --------
    >>> labels = Volume.from_array(np.zeros((1, 9, 9), np.uint32), (1, 1, 1), kind="labels")
    >>> drawn = with_balls(labels, np.array([[0.5, 4.5, 4.5]]), [7], 1.0).levels[0]
    >>> int((drawn.read(drawn.box) == 7).sum())
    5
    """
    if not len(centres_nm):
        return labels
    levels = []
    for level in labels.levels:
        drawn = [(int(i), *ball(level, c, radius_nm, flat)) for i, c in zip(ids, centres_nm, strict=True)]
        levels.append(replace(level, array=_Balls(level.array, tuple(one for one in drawn if one[1].size))))
    return replace(labels, levels=tuple(levels))

"""Rectangles drawn around what is completely labelled, as boxes of voxels; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.volume import Level

SLAB = 2**26
"""Voxels of labels that are read at once."""


@dataclass(frozen=True)
class Rectangle:
    """A rectangle in the world.

    Parameters
    ----------
    low_nm, high_nm
        Two opposite corners, nm, (z, y, x).
    flat
        The axes along which it has no extent: it covers the labelled planes.
    """

    low_nm: FVec3
    high_nm: FVec3
    flat: tuple[int, ...] = ()

    def boxes(self, level: Level, planes: Sequence[np.ndarray]) -> list[Box]:
        """The voxels of a level whose centre is inside.

        Parameters
        ----------
        level
            The grid.
        planes
            Boolean, one per axis: which planes hold a label.
        """
        low = np.ceil(level.to_voxels(self.low_nm) - 0.5).astype(int)
        high = np.floor(level.to_voxels(self.high_nm) - 0.5).astype(int) + 1
        boxes = [(low, high)]
        for axis in self.flat:
            boxes = [_with(box, axis, run) for box in boxes for run in runs(planes[axis])]
        return [box for a, b in boxes if (box := Box(vec3(a.tolist()), vec3(b.tolist())).clip(level.shape)).size]


def boxes_of(rectangles: Sequence[Rectangle], level: Level, planes: Sequence[np.ndarray]) -> tuple[Box, ...]:
    """All rectangles as boxes, see `Rectangle.boxes`.

    Raises
    ------
    InputError
        If there are rectangles, and none of them covers a voxel of the level in a labelled plane.
    """
    found = tuple(box for rectangle in rectangles for box in rectangle.boxes(level, planes))
    if rectangles and not found:
        raise InputError("the reviewed region lies outside the labels; draw its rectangles over labelled objects")
    return found


def labelled_planes(level: Level) -> list[np.ndarray]:
    """Boolean, one per axis: which planes of labels hold one; a few sections are read at once."""
    z, y, x = level.shape
    planes, step = [np.zeros(n, bool) for n in level.shape], max(1, SLAB // max(1, y * x))
    for start in range(0, z, step):
        there = level.read(Box((start, 0, 0), (min(z, start + step), y, x))) != 0
        planes[0][start : start + step] = there.any(axis=(1, 2))
        flat = there.any(axis=0)
        planes[1] |= flat.any(axis=1)
        planes[2] |= flat.any(axis=0)
    return planes


def planes_between(centres_nm: np.ndarray, level: Level) -> list[np.ndarray]:
    """As `labelled_planes`, for points (n, 3): all planes between the first and the last."""
    at = np.floor(level.to_voxels(centres_nm)).astype(int)
    ends = zip(level.shape, at.min(axis=0), at.max(axis=0), strict=True)
    return [(np.arange(n) >= low) & (np.arange(n) <= high) for n, low, high in ends]


def runs(planes: np.ndarray) -> list[tuple[int, int]]:
    """Half-open ranges of consecutive true values.

    Examples
    --------
    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], planes.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _with(box: tuple[np.ndarray, np.ndarray], axis: int, run: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    low, high = (corner.copy() for corner in box)
    low[axis], high[axis] = run
    return low, high

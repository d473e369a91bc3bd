"""Voxels of one grid at the centres of another one's, for labels and maps that must not be averaged."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.volume import Level

PIECE = 2**26
"""Voxels."""


def nearest_voxels(level: Level, grid: Level, box: Box) -> tuple[Box, tuple[np.ndarray, ...]]:
    """Which voxels of ``level`` lie at the centres of a box of ``grid``; beyond its edge, the nearest ones.

    Returns
    -------
    seen, at
        A box of ``level`` to read, and the index into what was read that gives an array of the shape of ``box``.
    """
    found = []
    for axis, (a, b) in enumerate(zip(box.start, box.stop, strict=True)):
        centre_nm = grid.origin_nm[axis] + (np.arange(a, b) + 0.5) * grid.voxel_nm[axis]
        place = np.floor((centre_nm - level.origin_nm[axis]) / level.voxel_nm[axis])
        found.append(np.clip(place, 0, level.shape[axis] - 1).astype(int))
    seen = Box(vec3([int(i[0]) for i in found]), vec3([int(i[-1]) + 1 for i in found]))
    return seen, np.ix_(*(i - a for i, a in zip(found, seen.start, strict=True)))


def nearest(level: Level, grid: Level, box: Box) -> np.ndarray:
    """Values of ``level`` at the centres of a box of ``grid``, (z, y, x).

    Of a much finer level at most `PIECE` voxels are read at a time.
    """
    seen, at = nearest_voxels(level, grid, box)
    longest = int(np.argmax(box.shape))
    if seen.size <= max(PIECE, 2 * box.size) or box.shape[longest] < 2:
        return np.asarray(level.read(seen)[at])
    middle = (box.start[longest] + box.stop[longest]) // 2
    stop, start = list(box.stop), list(box.start)
    stop[longest] = start[longest] = middle
    halves = Box(box.start, vec3(stop)), Box(vec3(start), box.stop)
    return np.concatenate([nearest(level, grid, half) for half in halves], axis=longest)

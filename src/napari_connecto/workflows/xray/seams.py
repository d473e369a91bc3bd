"""Visibility of tile borders: the gradient across them, relative to elsewhere."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level

BORDERS = 24
"""Largest number of tile faces examined along each axis, evenly spaced."""
BESIDE = 4
"""Voxels from a face to the reference: the same tissue, and the same parity for a network that halves twice."""


def seams(level: Level, tile: Vec3, done: np.ndarray) -> dict[str, float]:
    """Mean ``|difference|`` of neighbouring voxels across tile faces, over that `BESIDE` voxels to both sides.

    Parameters
    ----------
    level
        The finest level of the result.
    tile
        What a tile owns, voxels.
    done
        Indices of finished tiles; only faces between two finished ones count.

    Returns
    -------
    dict
        By axis ("z", "y", "x"); an axis without such a face is left out. 1: no seam.
    """
    plan, found = TilePlan(level.shape, tile), {}
    cells = {tuple(c) for c in plan.cells(done).tolist()} if len(done) else set()
    for axis, name in enumerate("zyx"):
        step = tuple(int(a == axis) for a in range(3))
        firsts = sorted(c for c in cells if tuple(np.add(c, step)) in cells)
        if not firsts:
            continue
        chosen = [firsts[i] for i in np.unique(np.linspace(0, len(firsts) - 1, BORDERS).astype(int))]
        across, elsewhere = zip(*[_slopes(level, plan, cell, axis) for cell in chosen], strict=True)
        if np.sum(elsewhere) > 0:
            found[name] = float(np.sum(across) / np.sum(elsewhere))
    return found


def _slopes(level: Level, plan: TilePlan, cell: tuple[int, ...], axis: int) -> tuple[float, float]:
    """Mean absolute difference across the face after a tile, and beside it."""
    tile = plan[int(np.ravel_multi_index(cell, plan.grid))].write
    face = tile.stop[axis]
    away = [at for at in (face - BESIDE, face + BESIDE) if 0 < at < level.shape[axis]]

    def slope(at: int) -> float:
        start, stop = list(tile.start), list(tile.stop)
        start[axis], stop[axis] = at - 1, at + 1
        block = level.read(Box(vec3(start), vec3(stop))).astype(np.float64)
        return float(np.abs(np.diff(block, axis=axis)).mean())

    return slope(face), float(np.mean([slope(at) for at in away]))

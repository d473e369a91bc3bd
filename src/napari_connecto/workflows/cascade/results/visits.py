"""Which tiles of a plan which boxes touch, for millions of boxes at once."""

from __future__ import annotations

from math import prod

import numpy as np

from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level

LARGEST = 2**22
"""Voxels of a tile at most."""
DEFAULT: Vec3 = (16, 256, 256)
"""Tiles of an array without chunks."""


def plan_of(level: Level) -> TilePlan:
    """Tiles of a level: its chunks, cut in halves where they are large."""
    tile = [min(t, s) for t, s in zip(chunks_of(level) or DEFAULT, level.shape, strict=True)]
    while prod(tile) > LARGEST:
        longest = tile.index(max(tile))
        tile[longest] = -(-tile[longest] // 2)
    return TilePlan(level.shape, vec3(tile))


def chunks_of(level: Level) -> Vec3 | None:
    """Chunks of a level's array, (z, y, x); None where it has none."""
    chunks = getattr(level.array, "chunks", None)
    return vec3(chunks[-3:]) if chunks and all(isinstance(n, int) and n > 0 for n in chunks[-3:]) else None


def visits(plan: TilePlan, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tiles and the boxes that touch them: two arrays (m,), indices of tiles, ascending, and rows of ``boxes``.

    Parameters
    ----------
    plan
        Its tiles.
    boxes
        (n, 6) start z, y, x and stop z, y, x, in voxels; the parts outside the level do not count.
    """
    tile, shape = np.array(plan.tile), np.array(plan.shape)
    start, stop = np.clip(boxes[:, :3], 0, shape), np.clip(boxes[:, 3:], 0, shape)
    first = start // tile
    count = np.where((stop > start).all(axis=1)[:, None], -(-stop // tile) - first, 0)
    each = count.prod(axis=1)
    rows = np.repeat(np.arange(len(boxes)), each)
    step = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    _, ny, nx = count[rows].T
    cell = first[rows] + np.stack([step // (ny * nx), step // nx % ny, step % nx], axis=1)
    tiles = np.ravel_multi_index(tuple(cell.T), plan.grid)
    order = np.argsort(tiles, kind="stable")
    return tiles[order], rows[order]

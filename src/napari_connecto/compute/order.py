"""In which order to run tiles, so that few chunks are decoded twice though the cache is small."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

import numpy as np

from napari_connecto.compute.cache import chunk_shape
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level


def reading_order(
    level: Level, plan: TilePlan, indices: Sequence[int] | np.ndarray, cache_bytes: int = 2**29
) -> np.ndarray:
    """``indices`` in columns just as wide as the cache can follow.

    A column of tiles is run from end to end before the next, so that only its sides are decoded again. On a full scan
    larger than the cache this decodes a tenth more than needed where Morton order (`TilePlan.order`) decodes a third
    more and row order two to eight times as much; see ``benchmarks/engine.py``.

    Parameters
    ----------
    level
        Its chunks and voxel type count.
    plan
        The tiles.
    indices
        Those to run, in any order.
    cache_bytes
        As in `ExecuteOptions`.

    Notes
    -----
    Ours.
    """
    indices = np.asarray(indices, np.int64)
    chunk = chunk_shape(level.array)
    if indices.size == 0 or chunk is None:
        return plan.order(indices)
    item = level.dtype.itemsize * (level.channels or 1)
    along, across, width = min(
        (option for axis in range(3) for option in _columns(plan, chunk, axis, cache_bytes / item)),
        key=lambda option: option[0],
    )[1:]
    cells = plan.cells(indices)
    first, second = across
    keys = (
        cells[:, second],
        cells[:, first],
        cells[:, along],
        cells[:, second] // width[1],
        cells[:, first] // width[0],
    )
    return indices[np.lexsort(keys)]


def _columns(plan: TilePlan, chunk: Vec3, along: int, voxels: float) -> list[tuple[float, int, list[int], list[int]]]:
    """(voxels decoded per voxel needed, axis, the axes across it, tiles across) of columns that fit into the cache."""
    across = [axis for axis in range(3) if axis != along]
    edge = [ceil(h / c) * c for h, c in zip(plan.halo, chunk, strict=True)]  # decoded around a column
    front = plan.tile[along] + 2 * edge[along] + chunk[along]

    def cost(axis: int, tiles: int) -> float:
        return min(tiles * plan.tile[axis] + 2 * edge[axis], plan.shape[axis] + chunk[axis])

    options = []
    for rows in range(1, plan.grid[across[0]] + 1):
        room = voxels / (front * cost(across[0], rows))
        other = across[1]
        fits = int((room - 2 * edge[other]) // plan.tile[other]) if room < cost(other, plan.grid[other]) else 10**9
        columns = max(1, min(plan.grid[other], fits))
        even = [ceil(n / ceil(n / w)) for n, w in zip((plan.grid[a] for a in across), (rows, columns), strict=True)]
        needed = [min(w * plan.tile[a], plan.shape[a]) for a, w in zip(across, even, strict=True)]
        waste = np.prod([min(cost(a, w), plan.shape[a]) / n for a, w, n in zip(across, even, needed, strict=True)])
        too_big = max(0.0, front * cost(across[0], rows) * cost(other, columns) / voxels - 1)
        options.append((float(waste) * (1 + 2 * too_big), along, across, even))
    return options

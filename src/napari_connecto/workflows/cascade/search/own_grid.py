"""Masks on the image's own grid, where the finest level that a cascade reads is coarser: smooth, by the probability.

A voxel belongs to an object where the map, interpolated linearly between voxels, reaches the threshold; it has the
number of the nearest labelled voxel of the coarse map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from math import prod

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume

FINER = 8.0
"""Masks are drawn on a grid at most so many times as fine as the map, in the plane."""
TILE = 2**20
"""Voxels of a tile of masks at most."""
COARSER = 1.5
"""By how many times the map's voxels must exceed the image's, in the plane, for masks to be drawn anew."""


def is_coarser(level: Level, own: Level) -> bool:
    """Whether masks on ``level`` would be blocks of many of the image's voxels."""
    return bool(max(level.voxel_nm[1] / own.voxel_nm[1], level.voxel_nm[2] / own.voxel_nm[2]) > COARSER)


def drawing_level(volume: Volume, level: Level) -> Level:
    """The level of the image on whose grid masks are drawn: the finest that is at most `FINER` times as fine."""
    near = [own for own in volume.levels if level.voxel_nm[1] <= FINER * own.voxel_nm[1] * (1 + 1e-6)]
    return near[0] if near else level


def own_plan(level: Level, own: Level, tile: Vec3) -> TilePlan:
    """Tiles of the image's grid: those of a coarser level, cut in halves until they hold at most `TILE` voxels."""
    factor = [max(1, round(a / b)) for a, b in zip(level.voxel_nm, own.voxel_nm, strict=True)]
    size = [t * f for t, f in zip(tile, factor, strict=True)]
    while prod(size) > TILE:
        longest = size.index(max(size))
        size[longest] = -(-size[longest] // 2)
    return TilePlan(own.shape, vec3(size), (0, 0, 0))


def refined(
    probability: Level, ids: Level, own: Level, plan: TilePlan, boxes: Iterable[Box], threshold: float
) -> Iterator[tuple[Tile, np.ndarray]]:
    """Tiles of the image's grid that hold objects, with their ids.

    Parameters
    ----------
    probability, ids
        The coarse map, uint8 (255 is 1), and the objects on it, uint32; one grid.
    own, plan
        The image's finest level, and tiles of it; see `own_plan`.
    boxes
        Of the objects, in voxels of the coarse map.
    threshold
        Of the rule.
    """
    rim = (int(probability.voxel_nm[0] > COARSER * own.voxel_nm[0]), 1, 1)
    wanted = plan.touching([probability.box_in(box, own).grow(rim).clip(own.shape) for box in boxes])
    for tile in plan.tiles(wanted):
        yield tile, _tile(probability, ids, own, tile.write, threshold)


def _tile(probability: Level, ids: Level, own: Level, box: Box, threshold: float) -> np.ndarray:
    at = [_places(probability, own, box, axis) for axis in range(3)]
    read = Box(vec3([a[0].min() for a in at]), vec3([a[1].max() + 1 for a in at]))
    near = Box(vec3([max(0, s - 1) for s in read.start]), read.stop).grow((0, 1, 1)).clip(probability.shape)
    field, labels = probability.read(near).astype(np.float32), ids.read(near)
    for axis, (low, high, share) in enumerate(at):
        first = near.start[axis]
        shape = [-1 if k == axis else 1 for k in range(3)]
        weight = share.reshape(shape)
        field = field.take(low - first, axis) * (1 - weight) + field.take(high - first, axis) * weight
    numbers, inside = _numbers(labels, at, near), field >= threshold * 255 - 1e-3
    nearest = [np.where(share < 0.5, low, high) - s for (low, high, share), s in zip(at, near.start, strict=True)]
    coarse, found = labels[np.ix_(*nearest)], np.where(inside, numbers, 0)
    lost = np.setdiff1d(coarse[coarse > 0], found)  # too small for any of the image's voxels to reach the threshold
    return np.where(np.isin(coarse, lost), coarse, found).astype(np.uint32)


def _numbers(labels: np.ndarray, at: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], near: Box) -> np.ndarray:
    """Of the coarse voxels between which a voxel of the image lies, the number of the labelled one that weighs most."""
    shape = tuple(len(low) for low, _, _ in at)
    found, best = np.zeros(shape, labels.dtype), np.zeros(shape, np.float32)
    for ends in product((0, 1), repeat=3):
        index = [places[end] - first for places, end, first in zip(at, ends, near.start, strict=True)]
        weights = [share if end else 1 - share for (_, _, share), end in zip(at, ends, strict=True)]
        weight = weights[0][:, None, None] * weights[1][:, None] * weights[2]
        corner = labels[np.ix_(*index)]
        better = (corner > 0) & (weight > best)
        found[better], best[better] = corner[better], weight[better]
    return found


def _places(level: Level, own: Level, box: Box, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of the image's voxels along an axis: the coarse voxels around its middle, and the second one's weight."""
    middle = own.origin_nm[axis] + (np.arange(box.start[axis], box.stop[axis]) + 0.5) * own.voxel_nm[axis]
    where = (middle - level.origin_nm[axis]) / level.voxel_nm[axis] - 0.5
    last = level.shape[axis] - 1
    low = np.clip(np.floor(where).astype(int), 0, last)
    high = np.clip(low + 1, 0, last)
    return low, high, np.clip(where - low, 0, 1).astype(np.float32)

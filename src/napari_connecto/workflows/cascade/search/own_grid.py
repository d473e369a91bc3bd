"""Masks on the image's own grid, where the finest level that a cascade reads is coarser: smooth, by the probability.

A voxel belongs to an object where the map, interpolated linearly between voxels, reaches the threshold; it has the
number of the nearest labelled voxel of the coarse map.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from scipy import ndimage

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level

COARSER = 1.5
"""By how many times the map's voxels must exceed the image's, in the plane, for masks to be drawn anew."""


def is_coarser(level: Level, own: Level) -> bool:
    """Whether masks on ``level`` would be blocks of many of the image's voxels."""
    return bool(max(level.voxel_nm[1] / own.voxel_nm[1], level.voxel_nm[2] / own.voxel_nm[2]) > COARSER)


def own_plan(level: Level, own: Level, tile: Vec3) -> TilePlan:
    """Tiles of the image's grid that are about as large as those of a coarser level."""
    factor = [max(1, round(a / b)) for a, b in zip(level.voxel_nm, own.voxel_nm, strict=True)]
    return TilePlan(own.shape, vec3([t * f for t, f in zip(tile, factor, strict=True)]), (0, 0, 0))


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
    wanted = plan.touching([probability.box_in(box, own).grow((0, 1, 1)).clip(own.shape) for box in boxes])
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
    nearest = [np.where(share < 0.5, low, high) - s for (low, high, share), s in zip(at, near.start, strict=True)]
    reach = [1 if n == o else 3 for n, o in zip(ids.shape, own.shape, strict=True)]
    around = ndimage.maximum_filter(labels, size=reach)
    numbers, inside = labels[np.ix_(*nearest)], field >= threshold * 255 - 1e-3
    found = np.where(inside, np.where(numbers > 0, numbers, around[np.ix_(*nearest)]), 0)
    lost = np.setdiff1d(numbers, found)  # too small for any of the image's voxels to reach the threshold
    return np.where(np.isin(numbers, lost), numbers, found).astype(np.uint32)


def _places(level: Level, own: Level, box: Box, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of the image's voxels along an axis: the coarse voxels around its middle, and the second one's weight."""
    middle = own.origin_nm[axis] + (np.arange(box.start[axis], box.stop[axis]) + 0.5) * own.voxel_nm[axis]
    where = (middle - level.origin_nm[axis]) / level.voxel_nm[axis] - 0.5
    last = level.shape[axis] - 1
    low = np.clip(np.floor(where).astype(int), 0, last)
    high = np.clip(low + 1, 0, last)
    return low, high, np.clip(where - low, 0, 1).astype(np.float32)

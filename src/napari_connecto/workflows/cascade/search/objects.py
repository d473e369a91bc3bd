"""Extract objects, tile by tile, from a probability map that is only partly computed.

The map is never held as a whole. An object that spans several tiles is one object.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_connecto.core.geometry import vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.rule import ObjectRule


def find_objects(level: Level, plan: TilePlan, tiles: Sequence[int] | np.ndarray, rule: ObjectRule) -> Detections:
    """Objects of a uint8 probability map (255 is 1).

    Parameters
    ----------
    level
        The map; tiles that were not computed read as 0.
    plan
        Its tiles.
    tiles
        Indices of the tiles that may contain something, ascending.
    rule
        See `ObjectRule`.
    """
    if rule.head == "centres":
        return _thin(_centres(level, plan, tiles, rule), rule.diameter_nm / 2)
    return MaskFinder(level, plan, rule).find(tiles)


def _centres(level: Level, plan: TilePlan, tiles: Sequence[int] | np.ndarray, rule: ObjectRule) -> Detections:
    radius = np.maximum(np.rint(rule.diameter_nm / 2 / np.array(level.voxel_nm)), 0).astype(int)
    window = 2 * np.maximum(radius // 2, (radius > 0).astype(int)) + 1  # `_thin` enforces the full distance
    points, scores = [], []
    for tile in plan.tiles(tiles):
        read = tile.write.grow(vec3((radius // 2 + 5).tolist())).clip(level.shape)  # the window, and 4 sigma
        field = level.read(read).astype(np.float32) / 255
        smooth = ndimage.gaussian_filter(field, [min(1.0, r / 2) for r in radius])
        height = ndimage.maximum_filter(field, size=tuple(np.minimum(window, 3)))
        peak = (smooth == ndimage.maximum_filter(smooth, size=tuple(window))) & (height >= rule.threshold)
        own = tile.write.shift([-s for s in read.start]).slices
        found = np.argwhere(peak[own])
        points.append(found + tile.write.start)
        scores.append(height[own][tuple(found.T)])
    if not points:
        return Detections.empty()
    centre = np.concatenate(points) + 0.5
    low = np.clip(np.floor(centre - radius - 0.5), 0, None)
    high = np.clip(np.ceil(centre + radius + 0.5), None, level.shape)
    box = np.concatenate([low, high], axis=1).astype(np.int64)
    return Detections(level.to_nm(centre), np.concatenate(scores).astype(float), box, np.asarray(tiles, np.int64))


def _thin(found: Detections, distance_nm: float) -> Detections:
    """Of two centres nearer than ``distance_nm`` keep the better; for equal scores the first."""
    if len(found) < 2:
        return found
    rank = np.lexsort((np.arange(len(found)), -found.score))
    neighbours = cKDTree(found.centre_nm).query_ball_point(found.centre_nm, distance_nm)
    gone = np.zeros(len(found), bool)
    for i in rank:
        if not gone[i]:
            gone[[j for j in neighbours[i] if j != i]] = True
    keep = ~gone
    return Detections(found.centre_nm[keep], found.score[keep], found.box[keep], found.chunks)

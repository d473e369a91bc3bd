"""Extract objects, tile by tile, from a probability map that is only partly computed.

The map is never held as a whole. An object that spans several tiles is one object.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil, inf
from typing import Literal, get_args

import cc3d
import numpy as np
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections

MEMORY_BYTES = 2**27
"""Tiles' labels kept between the two passes of `MaskFinder`."""
Head = Literal["centres", "masks"]


@dataclass(frozen=True)
class ObjectRule:
    """How objects are extracted from a probability map.

    Parameters
    ----------
    head
        "centres": maxima of the smoothed map, at least half a diameter apart, scored by its height there.
        "masks": connected regions above ``threshold``, scored by their mean.
    threshold
        Smallest probability, in [0, 1].
    diameter_nm
        Diameter of a typical object; determines the boxes of centres and the smallest distance between two.
    min_voxels
        Smaller masks are discarded.
    flat
        Sections along z are unrelated: masks in two sections are two objects.
    """

    head: Head
    threshold: float
    diameter_nm: float
    min_voxels: int = 8
    flat: bool = False

    def __post_init__(self) -> None:
        sound = self.head in get_args(Head) and 0 <= self.threshold <= 1 and 0 <= self.diameter_nm < inf
        if not (sound and self.min_voxels >= 0):
            raise InputError(f"got the rule {self}; allowed: {get_args(Head)}, a threshold of 0 to 1, sizes from 0")


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


@dataclass
class MaskFinder:
    """Connected regions (face neighbours) of a tiled map, joined across tiles by union of touching pairs.

    `find` returns the objects; afterwards `relabelled` gives every tile's voxels as ids 1..n in the same order.
    """

    level: Level
    plan: TilePlan
    rule: ObjectRule
    _rows: list[np.ndarray] = field(default_factory=list, repr=False)
    _pairs: list[np.ndarray] = field(default_factory=list, repr=False)
    _first: dict[int, int] = field(default_factory=dict, repr=False)
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    _final: np.ndarray = field(default_factory=lambda: np.zeros(1, np.uint32), repr=False)

    def find(self, tiles: Sequence[int] | np.ndarray) -> Detections:
        """Objects in these tiles (ascending indices)."""
        count = 0
        faces: dict[tuple[int, int], np.ndarray] = {}
        _, gy, gx = self.plan.grid
        for tile in self.plan.tiles(tiles):
            labels, probability, n = self._label(tile)
            self._keep(tile.index, labels, n)
            self._first[tile.index] = count
            self._rows.append(_measure(labels, probability, n, tile.write))
            labels = np.where(labels > 0, labels + np.int64(count), 0)
            for axis, step in list(enumerate((gy * gx, gx, 1)))[self.rule.flat :]:
                self._touch(labels, faces.get((tile.index - step, axis)), axis, tile, step)
                faces[tile.index, axis] = labels.take(-1, axis)
            for old in [key for key in faces if key[0] < tile.index - gy * gx]:
                del faces[old]
            count += n
        return self._merge(count, tiles)

    def _label(self, tile: Tile) -> tuple[np.ndarray, np.ndarray, int]:
        probability = self.level.read(tile.write)
        mask = probability >= max(1, ceil(self.rule.threshold * 255 - 1e-6))  # like the comparison of a tile's score
        labels, n = cc3d.connected_components(mask, connectivity=6, return_N=True)
        return labels.astype(np.int64), probability, int(n)

    def _keep(self, index: int, labels: np.ndarray, n: int) -> None:
        """Keep labels for `relabelled` while there is room; others are read again."""
        small = labels.astype(np.uint16 if n < 2**16 else np.uint32)
        if (len(self._kept) + 1) * small.nbytes <= MEMORY_BYTES:
            self._kept[index] = small

    def _touch(self, labels: np.ndarray, before: np.ndarray | None, axis: int, tile: Tile, step: int) -> None:
        if before is None or self.plan.cells([tile.index])[0][axis] == 0:
            return
        here = labels.take(0, axis)
        both = (here > 0) & (before > 0)
        if both.any():
            self._pairs.append(np.unique(np.stack([before[both], here[both]], 1), axis=0))

    def _merge(self, count: int, tiles: Sequence[int] | np.ndarray) -> Detections:
        if count == 0:
            return Detections.empty()
        rows = np.concatenate(self._rows)
        pairs = np.concatenate(self._pairs) - 1 if self._pairs else np.empty((0, 2), np.int64)
        graph = coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), (count, count))
        _, group = connected_components(graph, directed=False)
        total = np.stack([np.bincount(group, rows[:, i]) for i in range(5)], axis=1)
        low, high = (np.full((len(total), 3), fill) for fill in (np.inf, -np.inf))
        np.minimum.at(low, group, rows[:, 5:8])
        np.maximum.at(high, group, rows[:, 8:11])
        keep = total[:, 0] >= self.rule.min_voxels
        renumber = np.where(keep, np.cumsum(keep), 0)
        self._final = np.concatenate([[0], renumber[group]]).astype(np.uint32)
        total, box = total[keep], np.concatenate([low, high], axis=1)[keep].astype(np.int64)
        centre = total[:, 2:5] / total[:, :1]
        return Detections(self.level.to_nm(centre), total[:, 1] / total[:, 0], box, np.asarray(tiles, np.int64))

    def relabelled(self, tiles: Sequence[int] | np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
        """Each tile with its ids, uint32; call after `find`."""
        for tile in self.plan.tiles(tiles):
            kept = self._kept.pop(tile.index, None)
            labels = self._label(tile)[0] if kept is None else kept.astype(np.int64)
            yield tile, self._final[np.where(labels > 0, labels + self._first[tile.index], 0)]


def _measure(labels: np.ndarray, probability: np.ndarray, n: int, write: Box) -> np.ndarray:
    """One row per label: voxels, summed probability, summed centre z y x, box start and stop, in level voxels."""
    rows = np.zeros((n, 11))
    if n == 0:
        return rows
    found = cc3d.statistics(labels, no_slice_conversion=True)
    voxels, box = found["voxel_counts"][1:, None].astype(float), found["bounding_boxes"][1:].astype(float)
    rows[:, :1] = voxels
    rows[:, 1] = np.bincount(labels.ravel(), probability.ravel(), minlength=n + 1)[1:] / 255
    rows[:, 2:5] = (found["centroids"][1:] + 0.5 + write.start) * voxels
    rows[:, 5:8] = box[:, 0::2] + write.start
    rows[:, 8:11] = box[:, 1::2] + 1 + write.start  # cc3d's last voxel is inside
    return rows

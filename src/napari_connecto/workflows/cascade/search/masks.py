"""Masks on a probability map that exists only where it was worth computing: tile by tile, joined across tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import ceil

import cc3d
import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.search.split import MAX_VOXELS, parted

MEMORY_BYTES = 2**27
"""Tiles' labels kept between the two passes of `MaskFinder`."""


THICK = 1.2
"""By how many times an object must exceed a typical one to be looked at for parts."""


@dataclass(frozen=True)
class Parts:
    """One object that is several: its box, its parts in it, and the id of each part (0 for none)."""

    box: Box
    numbers: np.ndarray
    parts: np.ndarray

    def write(self, ids: np.ndarray, place: Box, number: int) -> None:
        """Number the parts in a tile's ids, which lie at ``place`` and hold ``number`` for the whole object."""
        both = self.box.clip(place)
        here = ids[both.shift([-s for s in place.start]).slices]
        mine = here == number
        here[mine] = self.numbers[self.parts[both.shift([-s for s in self.box.start]).slices]][mine]


def least_split(rule: ObjectRule, level: Level) -> float:
    """Voxels of a round object of the typical thickness; in 2-D of a disc."""
    across = rule.split_nm / np.array(level.voxel_nm)
    flat = rule.flat or level.shape[0] == 1
    return float(np.pi / 4 * across[1] * across[2] if flat else np.pi / 6 * np.prod(np.maximum(across, 1)))


@dataclass
class MaskFinder:
    """Connected regions (face neighbours) of a tiled map, joined across tiles by union of touching pairs.

    `find` returns the objects; afterwards `relabelled` gives every tile's voxels as ids 1..n in the same order. Where
    the rule parts touching objects, the first part of an object keeps its id and the others follow at the end.
    """

    level: Level
    plan: TilePlan
    rule: ObjectRule
    _rows: list[np.ndarray] = field(default_factory=list, repr=False)
    _pairs: list[np.ndarray] = field(default_factory=list, repr=False)
    _first: dict[int, int] = field(default_factory=dict, repr=False)
    _kept: dict[int, np.ndarray] = field(default_factory=dict, repr=False)
    _final: np.ndarray = field(default_factory=lambda: np.zeros(1, np.uint32), repr=False)
    _parts: dict[int, Parts] = field(default_factory=dict, repr=False)
    _parted_in: dict[int, list[int]] = field(default_factory=dict, repr=False)

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
        labels, n = cc3d.connected_components(self._above(probability), connectivity=6, return_N=True)
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
        total, box = self._split(total, box)
        centre = total[:, 2:5] / total[:, :1]
        return Detections(self.level.to_nm(centre), total[:, 1] / total[:, 0], box, np.asarray(tiles, np.int64))

    def _split(self, total: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and boxes, with the parts of those that are several objects."""
        if not self.rule.split_nm:
            return total, box
        rows, boxes = [total], [box]
        count = len(total)
        for i in np.flatnonzero(total[:, 0] >= THICK * least_split(self.rule, self.level)):
            whole = Box.from_row(box[i])
            found = self._part(whole, int(total[i, 0]))
            if found is None:
                continue
            parts, row = found
            total[i], box[i] = row[0, :5], row[0, 5:]
            rows.append(row[1:, :5])
            boxes.append(row[1:, 5:].astype(np.int64))
            numbers = np.concatenate([[0, i + 1], count + 1 + np.arange(len(row) - 1)]).astype(np.uint32)
            count += len(row) - 1
            self._parts[int(i) + 1] = Parts(whole, numbers, parts)
            for tile in self.plan.touching([whole]).tolist():
                self._parted_in.setdefault(tile, []).append(int(i) + 1)
        return np.concatenate(rows), np.concatenate(boxes)

    def _part(self, box: Box, voxels: int) -> tuple[np.ndarray, np.ndarray] | None:
        """The parts of the object that fills a box, with `_measure` of each; None where it stays one."""
        if box.size > MAX_VOXELS:
            return None
        probability = self.level.read(box)
        labels, n = cc3d.connected_components(self._above(probability), connectivity=6, return_N=True)
        same = np.flatnonzero(np.bincount(labels.ravel(), minlength=n + 1)[1:] == voxels) + 1
        if not len(same):
            return None
        mask, weight = labels == same[0], probability.astype(np.float32)
        parts = parted(mask, self.rule.split_nm, self.level.voxel_nm, weight, self.rule.min_voxels)
        count = int(parts.max())
        rows = _measure(parts, probability, count, box)
        if count < 2:
            return None
        return parts.astype(np.min_scalar_type(count)), rows

    def _above(self, probability: np.ndarray) -> np.ndarray:
        return probability >= max(1, ceil(self.rule.threshold * 255 - 1e-6))  # like the comparison of a tile's score

    def relabelled(self, tiles: Sequence[int] | np.ndarray) -> Iterator[tuple[Tile, np.ndarray]]:
        """Each tile with its ids, uint32; call after `find`."""
        for tile in self.plan.tiles(tiles):
            kept = self._kept.pop(tile.index, None)
            labels = self._label(tile)[0] if kept is None else kept.astype(np.int64)
            ids = self._final[np.where(labels > 0, labels + self._first[tile.index], 0)]
            for number in self._parted_in.get(tile.index, ()):
                self._parts[number].write(ids, tile.write, number)
            yield tile, ids


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

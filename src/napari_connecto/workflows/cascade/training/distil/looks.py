"""What a detector finds in one of its chunks, kept small."""

from __future__ import annotations

from dataclasses import dataclass

import cc3d
import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.rule import ObjectRule


@dataclass(frozen=True)
class Look:
    """The answer of a detector for one chunk.

    Parameters
    ----------
    index, box
        Of the chunk, in the plan and in voxels of the detector's level.
    score
        Highest value, as a search stores it.
    bits
        `numpy.packbits` of where the map reaches the threshold.
    centres
        (n, 3) objects' centres, in voxels of the level.
    sizes
        (n,) voxels of each.
    whole
        (n,) whether an object ends within the chunk.
    """

    index: int
    box: Box
    score: float
    bits: np.ndarray
    centres: np.ndarray
    sizes: np.ndarray
    whole: np.ndarray

    def mask(self, least: int = 1) -> np.ndarray:
        """Boolean (z, y, x), without objects of fewer than ``least`` voxels."""
        found = np.unpackbits(self.bits, count=self.box.size).astype(bool).reshape(self.box.shape)
        return cc3d.dust(found, threshold=least, connectivity=6) if least > 1 and found.any() else found


@dataclass(frozen=True)
class Looking:
    """Sink: the `Look` of a chunk."""

    output: str
    rule: ObjectRule
    level: Level

    def __call__(self, tile: Tile, blocks: Blocks) -> Look:
        block = np.rint(np.clip(blocks[self.output], 0, 1) * 255).astype(np.uint8)
        mask = block >= max(1, round(self.rule.threshold * 255))
        score = float(block.max()) / 255
        centres, sizes, whole = self._centres(block) if self.rule.head == "centres" else _regions(mask)
        start = np.array(tile.write.start)
        return Look(tile.index, tile.write, score, np.packbits(mask), centres + start, sizes, whole)

    def _centres(self, block: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        placed = Level(block, self.level.voxel_nm)
        found = find_objects(placed, TilePlan(placed.shape, placed.shape), [0], self.rule)
        n = len(found)
        return placed.to_voxels(found.centre_nm).reshape(-1, 3), np.ones(n), np.ones(n, bool)


def _regions(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, sizes, and whether each touches no face along an axis longer than one voxel."""
    labels, n = cc3d.connected_components(mask, connectivity=6, return_N=True)
    if not n:
        return np.empty((0, 3)), np.empty(0), np.empty(0, bool)
    found = cc3d.statistics(labels, no_slice_conversion=True)
    box, long = found["bounding_boxes"][1:], np.array(mask.shape) > 1
    inner = np.asarray((box[:, 0::2] > 0) & (box[:, 1::2] < np.array(mask.shape) - 1) | ~long)
    sizes = found["voxel_counts"][1:].astype(float)
    return found["centroids"][1:].astype(float) + 0.5, sizes, np.asarray(inner.all(axis=1))

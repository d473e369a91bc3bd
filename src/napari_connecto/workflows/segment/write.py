"""Write the segments of all blocks with their final ids, on the map's grid or another one."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.views.nearest import nearest_voxels
from napari_connecto.core.volume import Level
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.segment.block import LABELS

WRITERS = 2


@dataclass(frozen=True)
class Numbered:
    """Separately numbered blocks, read as one array.

    Parameters
    ----------
    level
        Segments, each block's from 1 on.
    plan
        The blocks.
    first, final
        Segment i of block b is ``final[first[b] + i]``, see `faces.join`.
    """

    level: Level
    plan: TilePlan
    first: np.ndarray
    final: np.ndarray

    def read(self, box: Box) -> np.ndarray:
        """Final ids in a box of the level."""
        out = np.empty(box.shape, self.final.dtype)
        for tile in self.plan.tiles(self.plan.touching([box])):
            part = tile.write.clip(box)
            own = self.level.read(part).astype(np.int64)
            out[part.shift([-a for a in box.start]).slices] = self.final[own + self.first[tile.index]]
        return out

    def on(self, grid: Level, box: Box) -> np.ndarray:
        """Final ids in a box of another grid: at each voxel's centre; outside, those of the nearest voxel."""
        if (grid.shape, grid.voxel_nm, grid.origin_nm) == (self.level.shape, self.level.voxel_nm, self.level.origin_nm):
            return self.read(box)
        seen, at = nearest_voxels(self.level, grid, box)
        return np.asarray(self.read(seen)[at])


def write_job(made: Numbered, labels: TileStore, grid: Level) -> Job[None]:
    """Write all voxels of a grid, a few blocks at a time, for each waits for the disk.

    Yields
    ------
    Progress
        Stage "write"; ``payload`` is the live labels.
    """
    todo = labels.missing()
    done, total = len(labels.plan) - len(todo), len(labels.plan)
    shown = labels.volume(LABELS)
    yield Progress(done, total, "write", shown)

    def write(tile: Tile) -> int:
        labels.write_blocks(tile, {LABELS: made.on(grid, tile.write)})
        return tile.index

    with ThreadPoolExecutor(WRITERS, "labels") as pool:
        writing: deque[Future[int]] = deque()
        for tile in labels.plan.tiles(todo):
            writing.append(pool.submit(write, tile))
            while len(writing) > WRITERS or (writing and tile.index == todo[-1]):
                labels.mark(writing.popleft().result())
                done += 1
                yield Progress(done, total, "write", shown)

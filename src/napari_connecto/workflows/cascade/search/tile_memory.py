"""The most recent tiles of a map, kept in memory in front of the store that holds all of them.

Reading a small chunk back from a store costs about as much as computing it, and objects are extracted from a map that
has just been written.
"""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.tiles import TilePlan


class TileMemory:
    """An array (z, y, x) that reads from memory what is fully cached there, and the rest from the stored array.

    Parameters
    ----------
    behind
        The stored map. Cached values must be those stored there.
    plan
        The map's tiles.
    limit
        Bytes to cache; the oldest tiles are removed first. Empty tiles cost nothing.
    """

    def __init__(self, behind: Any, plan: TilePlan, limit: int = 2**27) -> None:
        self._behind, self._plan, self._limit = behind, plan, limit
        self._tiles: dict[int, np.ndarray | None] = {}
        self._bytes = 0
        self._lock = Lock()
        self.shape: tuple[int, ...] = tuple(behind.shape)
        self.dtype: np.dtype = behind.dtype
        self.chunks: tuple[int, ...] = tuple(behind.chunks)

    def remember(self, index: int, block: np.ndarray | None) -> None:
        """A tile as stored; None if it was not stored and reads as 0. Any thread."""
        with self._lock:
            self._tiles[index] = block
            self._bytes += 0 if block is None else block.nbytes
            while self._bytes > self._limit:
                oldest = next(iter(self._tiles))
                gone = self._tiles.pop(oldest)
                self._bytes -= 0 if gone is None else gone.nbytes

    def __getitem__(self, key: Any) -> np.ndarray:
        slices = [s for s in key if s is not Ellipsis]
        box = Box(vec3([s.start for s in slices]), vec3([s.stop for s in slices]))
        indices = self._plan.touching([box]).tolist()
        with self._lock:
            known = all(i in self._tiles for i in indices)
            blocks = [self._tiles.get(i) for i in indices]
        if not known:
            return np.asarray(self._behind[key])
        out = np.zeros(box.shape, self.dtype)
        for index, block in zip(indices, blocks, strict=True):
            if block is not None:
                owned = self._plan[index].write
                part = owned.clip(box)
                out[part.shift([-s for s in box.start]).slices] = block[part.shift([-s for s in owned.start]).slices]
        return out

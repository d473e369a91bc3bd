"""Cache of decoded chunks, which many overlapping tiles read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from itertools import product
from math import prod
from typing import Any, TypeAlias

import numpy as np

from napari_connecto.compute.options import Meter
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.volume import Level

Cell: TypeAlias = Vec3


def cached(level: Level, max_bytes: int, meter: Meter | None = None) -> Level:
    """``level`` read through a `ChunkCache`; one without chunks is only metered."""
    array = level.array
    cache = array.cache if isinstance(array, CachedArray) else ChunkCache(array, max_bytes)
    return replace(level, array=CachedArray(cache, meter))


class CachedArray:
    """An array that reads through a `ChunkCache`: sliced as ``array[..., z, y, x]`` with step 1."""

    def __init__(self, cache: ChunkCache, meter: Meter | None = None) -> None:
        self.cache = cache
        self.meter = meter or Meter()
        self.shape = tuple(int(n) for n in cache.array.shape)
        self.dtype = np.dtype(cache.array.dtype)
        self.remote = bool(getattr(cache.array, "remote", False))

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        return self.cache.read(Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop)), self.meter)

    def __reduce__(self) -> tuple[Any, ...]:
        return CachedArray, (self.cache,)


class ChunkCache:
    """The most recently used chunks of an array, decoded.

    Threads that want a chunk which another is decoding wait for it, so that each is decoded once as long as the
    cache holds what is still wanted. A failed read is not kept: who comes next tries again.

    Parameters
    ----------
    array
        (z, y, x) or (c, z, y, x), with ``chunks`` if it has any.
    max_bytes
        The oldest chunks are removed beyond this.
    """

    def __init__(self, array: Any, max_bytes: int) -> None:
        self.array = array
        self.max_bytes = max_bytes
        self.chunk = chunk_shape(array)
        self._lock = threading.Lock()
        self._held: OrderedDict[Cell, Future[np.ndarray]] = OrderedDict()
        self._bytes = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return ChunkCache, (self.array, self.max_bytes)

    def read(self, box: Box, meter: Meter) -> np.ndarray:
        """Voxels of ``box``, which lies inside the array; a new array."""
        channels = tuple(int(n) for n in self.array.shape[:-3])
        if self.chunk is None:
            block = np.asarray(self.array[(..., *box.slices)])
            meter.add(bytes_read=block.nbytes)
            return block
        parts = list(product(*map(_overlaps, box.start, box.stop, self.chunk)))
        cells = [(z[0], y[0], x[0]) for z, y, x in parts]
        waiting, mine = self._claim(cells)
        if mine:
            self._load(mine, meter)
        out = np.empty((*channels, *box.shape), self.array.dtype)
        for cell, (z, y, x) in zip(cells, parts, strict=True):
            chunk = self._wait(cell, waiting[cell], meter)
            out[..., z[2], y[2], x[2]] = chunk[..., z[1], y[1], x[1]]
        return out

    def _claim(self, cells: Iterable[Cell]) -> tuple[dict[Cell, Future[np.ndarray]], list[Cell]]:
        """Futures of all cells, and those cells that the caller has to load."""
        waiting, mine = {}, []
        with self._lock:
            for cell in cells:
                if cell in self._held:
                    self._held.move_to_end(cell)
                else:
                    self._held[cell] = Future()
                    mine.append(cell)
                waiting[cell] = self._held[cell]
        return waiting, mine

    def _wait(self, cell: Cell, future: Future[np.ndarray], meter: Meter) -> np.ndarray:
        while True:
            try:
                return future.result()
            except CancelledError:  # the thread that had claimed it failed on one of its chunks
                claimed, mine = self._claim([cell])
                self._load(mine, meter)
                future = claimed[cell]

    def _load(self, mine: list[Cell], meter: Meter) -> None:
        left = set(mine)
        try:
            while left:
                first, last = _largest_box(left)
                group = list(product(*(range(a, b + 1) for a, b in zip(first, last, strict=True))))
                box = self._box(first, last)
                block = np.asarray(self.array[(..., *box.slices)])
                meter.add(bytes_read=block.nbytes, chunks_read=len(group))
                for cell in map(vec3, group):
                    part = self._box(cell, cell).shift([-v for v in box.start])
                    chunk = block[(..., *part.slices)]
                    self._keep(cell, chunk if len(group) == 1 else chunk.copy())
                left -= set(map(vec3, group))
        finally:
            for cell in left:  # only after an error
                with self._lock:
                    self._held.pop(cell).cancel()

    def _keep(self, cell: Cell, chunk: np.ndarray) -> None:
        with self._lock:
            self._held[cell].set_result(chunk)
            self._bytes += chunk.nbytes
            if self._bytes > self.max_bytes:
                self._forget(cell)

    def _forget(self, newest: Cell) -> None:
        """Let the oldest chunks go until the rest fits; under the lock. No farther is looked than to the newest."""
        excess, gone = self._bytes - self.max_bytes, []
        for old, future in self._held.items():
            if excess <= 0 or old == newest:
                break
            if future.done():
                excess -= future.result().nbytes
                gone.append(old)
        for old in gone:
            self._bytes -= self._held.pop(old).result().nbytes

    def _box(self, first: Cell, last: Cell) -> Box:
        """The voxels of all chunks from ``first`` to ``last``."""
        chunk = self.chunk or (1, 1, 1)
        start = vec3([i * c for i, c in zip(first, chunk, strict=True)])
        stop = vec3([(i + 1) * c for i, c in zip(last, chunk, strict=True)])
        return Box(start, stop).clip(self.array.shape[-3:])


def chunk_shape(array: Any) -> Vec3 | None:
    """Regular chunks (z, y, x) of a zarr, HDF5 or dask array; None where it has none."""
    chunks = getattr(array, "chunks", None)
    if not chunks:
        return None
    regular = []
    for sizes in tuple(chunks)[-3:]:
        if isinstance(sizes, tuple):  # dask: every size is listed
            if len(set(sizes[:-1])) > 1 or sizes[-1] > sizes[0]:
                return None
            sizes = sizes[0]
        regular.append(int(sizes))
    return vec3(regular)


def touched_bytes(level: Level, boxes: Iterable[Box]) -> int:
    """Uncompressed bytes of the distinct chunks that these boxes touch: the least that can be read for them."""
    seen: dict[Cell, int] = {}
    for box in boxes:
        seen |= touched_chunks(level, box)
    return sum(seen.values())


def touched_chunks(level: Level, box: Box) -> dict[Cell, int]:
    """Uncompressed bytes of each chunk that a box touches; of an array without chunks, of the box itself."""
    array, inside = level.array, box.clip(level.shape)
    chunk = chunk_shape(array.cache.array if isinstance(array, CachedArray) else array)
    item = level.dtype.itemsize * (level.channels or 1)
    if chunk is None:
        return {inside.start: item * inside.size}
    grid = [range(a // c, -(-b // c)) for a, b, c in zip(inside.start, inside.stop, chunk, strict=True)]
    return {
        vec3(cell): item * prod(min((i + 1) * c, n) - i * c for i, c, n in zip(cell, chunk, level.shape, strict=True))
        for cell in product(*grid)
    }


def _overlaps(start: int, stop: int, chunk: int) -> list[tuple[int, slice, slice]]:
    """Along one axis: each chunk that ``start`` to ``stop`` touches, where in it, and where in what is read."""
    found = []
    for i in range(start // chunk, -(-stop // chunk)):
        a, b = max(start, i * chunk), min(stop, (i + 1) * chunk)
        found.append((i, slice(a - i * chunk, b - i * chunk), slice(a - start, b - start)))
    return found


def _largest_box(cells: set[Cell]) -> tuple[Cell, Cell]:
    """First and last cell of a box inside ``cells`` that starts at the smallest one: read in one go."""
    first = min(cells)
    last = list(first)
    for axis in (2, 1, 0):
        while True:
            ahead = [range(a, b + 1) for a, b in zip(first, last, strict=True)]
            ahead[axis] = range(last[axis] + 1, last[axis] + 2)
            if not all(vec3(cell) in cells for cell in product(*ahead)):
                break
            last[axis] += 1
    return first, vec3(last)

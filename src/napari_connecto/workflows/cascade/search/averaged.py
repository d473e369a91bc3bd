"""A level computed from the next finer one when it is read, chunk by chunk: images by mean, labels by mode."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import Any

import numpy as np

from napari_connecto.compute.cache import CachedArray, ChunkCache, chunk_shape
from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.volume import Kind
from napari_connecto.io.stores.chunk_folder import ChunkFolder
from napari_connecto.io.volumes.pyramid import Grid, downsample
from napari_connecto.io.volumes.write import chunk_shape as usual_chunk

SOURCE_BYTES, LEVEL_BYTES = 2**28, 2**26
"""Decoded chunks kept in memory: of the stored level, and of each computed level."""
PLACES, SAMPLES, SAMPLED_CHUNKS = 8, 4096, 2**24
"""Of a sample: blocks along each axis, fewest values, and largest number of stored voxels to decode."""
AT_ONCE = 2**24
"""Voxels of the finer level averaged at a time."""


class Averaged(CachedArray):
    """The array of a level computed from a finer one; sliced as ``array[..., z, y, x]`` with step 1.

    Each chunk is computed once: it is kept in memory for a while, and in ``folder`` if there is one. Its values are
    those
    that `save_volume` would store.

    Parameters
    ----------
    finer
        Array (z, y, x) or (c, z, y, x).
    grid
        Of this level; its ``factor`` counts voxels of ``finer``.
    kind
        Of the volume.
    folder
        Where chunks are stored.
    kept_bytes
        Chunks in memory.
    """

    def __init__(
        self, finer: Any, grid: Grid, kind: Kind, folder: ChunkFolder | None = None, kept_bytes: int = LEVEL_BYTES
    ) -> None:
        source = finer if isinstance(finer, CachedArray) else CachedArray(ChunkCache(finer, SOURCE_BYTES))
        super().__init__(ChunkCache(_Maker(source, grid, kind, folder), kept_bytes))
        self._sampled: tuple[tuple[int, bool], np.ndarray] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        maker = self.maker
        return Averaged, (maker.finer, maker.grid, maker.kind, maker.folder, self.cache.max_bytes)

    @property
    def maker(self) -> _Maker:
        """What makes chunks."""
        maker: _Maker = self.cache.array
        return maker

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of what is computed at once."""
        return self.maker.chunks

    @property
    def cost(self) -> int:
        """Number of stored voxels per computed chunk."""
        return prod(self.maker.grid.factor) * int(getattr(self.maker.finer, "cost", 1))

    def direct(self, box: Box) -> np.ndarray:
        """Voxels of ``box``, computed from no more than they need and not kept. For small samples."""
        maker = self.maker
        wide = maker.wide(box)
        finer = maker.finer
        block = finer.direct(wide) if isinstance(finer, Averaged) else np.asarray(finer[(..., *wide.slices)])
        return downsample(block, maker.grid.factor, maker.kind)

    def sample(self, most: int, *, damaged: bool = False) -> np.ndarray:
        """Values (n,) spread evenly over the level, computed from at most about ``most`` stored voxels; kept.

        If the level is so coarse that this gives few values, or much must be decoded for each, values of the next finer
        computed level.
        """
        chunk, span = self._stored()
        one = prod(max(s, -(-s // c) * c) for s, c in zip(span, chunk, strict=True))  # decoded for a single value
        few = one > SAMPLED_CHUNKS or most // self.cost < min(SAMPLES, prod(self.shape[-3:]))
        if few and isinstance(self.maker.finer, Averaged):
            return self.maker.finer.sample(most, damaged=damaged)
        if self._sampled is None or self._sampled[0] != (most, damaged):
            self._sampled = (most, damaged), self._sample(most, damaged)
        return self._sampled[1]

    def _sample(self, most: int, damaged: bool) -> np.ndarray:
        shape = vec3(self.shape[-3:])
        whole = prod(shape) * self.cost <= most
        found = []
        for box in [Box.of(shape)] if whole and not damaged else self._spread(most // self.cost):
            try:
                found.append((self[(..., *box.slices)] if whole else self.direct(box)).ravel())
            except ChunkError:
                if not damaged:
                    raise
        return np.concatenate(found) if found else np.empty(0, self.dtype)

    def _spread(self, voxels: int) -> Iterator[Box]:
        """Blocks of about ``voxels`` in all, evenly spread, that touch few stored chunks if those are large."""
        shape, (chunk, span) = vec3(self.shape[-3:]), self._stored()
        places = [min(PLACES, n) for n in shape]

        def touched() -> list[int]:
            each = [-(-s // c) for s, c in zip(span, chunk, strict=True)]
            return [min(p * e, -(-n * s // c)) for p, e, n, s, c in zip(places, each, shape, span, chunk, strict=True)]

        while prod(touched()) * prod(chunk) > SAMPLED_CHUNKS and max(places) > 1:
            counts = [t if p > 1 else 0 for t, p in zip(touched(), places, strict=True)]
            places[counts.index(max(counts))] -= 1
        across = sum(n > 1 for n in shape) or 1
        share = min(1.0, voxels / prod(shape)) ** (1 / across)
        sides = [max(1, int(n / p * share)) if n > 1 else 1 for n, p in zip(shape, places, strict=True)]
        if prod(chunk) > 1:  # a block stays within one chunk
            sides = [max(1, min(s, c // f)) for s, c, f in zip(sides, chunk, span, strict=True)]
        starts = [
            [_inside(int((i + 0.5) * n / p - s / 2), s, c / f) for i in range(p)]
            for n, p, s, c, f in zip(shape, places, sides, chunk, span, strict=True)
        ]
        for start in product(*starts):
            yield Box(vec3(start), vec3([a + s for a, s in zip(start, sides, strict=True)])).clip(shape)

    def _stored(self) -> tuple[Vec3, Vec3]:
        """The chunk of the stored array, and stored voxels per voxel of this level, (z, y, x)."""
        maker = self.maker
        if isinstance(maker.finer, Averaged):
            chunk, span = maker.finer._stored()
        else:
            chunk, span = chunk_shape(maker.finer.cache.array) or (1, 1, 1), (1, 1, 1)
        return chunk, vec3([a * b for a, b in zip(span, maker.grid.factor, strict=True)])

    def cells(self, box: Box) -> list[Vec3]:
        """Chunks that touch a box."""
        return _cells(box, self.maker.chunk)

    def make(self, cell: Vec3) -> None:
        """Make sure that a chunk is stored."""
        folder = self.maker.folder
        if folder is None or not folder.has(cell):
            box = self.maker.box(cell)
            self[(..., *box.slices)]


class _Maker:
    """Computes whole chunks of a level."""

    def __init__(self, finer: CachedArray, grid: Grid, kind: Kind, folder: ChunkFolder | None) -> None:
        self.finer, self.grid, self.kind, self.folder = finer, grid, kind, folder
        self.shape = (*finer.shape[:-3], *grid.shape)
        self.dtype = np.dtype(finer.dtype)
        self.remote = bool(getattr(finer, "remote", False))
        self.chunk = _chunk(grid, _stored_chunk(finer))
        self.chunks = (*finer.shape[:-3], *self.chunk)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        box = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
        out = np.empty((*self.shape[:-3], *box.shape), self.dtype)
        for cell in _cells(box, self.chunk):
            whole = self.box(cell)
            part = whole.clip(box)
            inner = part.shift([-a for a in whole.start])
            out[(..., *part.shift([-a for a in box.start]).slices)] = self._one(cell)[(..., *inner.slices)]
        return out

    def box(self, cell: Vec3) -> Box:
        """The voxels of a chunk."""
        start = vec3([i * c for i, c in zip(cell, self.chunk, strict=True)])
        return Box(start, vec3([a + c for a, c in zip(start, self.chunk, strict=True)])).clip(self.grid.shape)

    def wide(self, box: Box) -> Box:
        """The finer level's voxels of a box."""
        return box.rescale(self.grid.factor).clip(self.finer.shape[-3:])

    def _one(self, cell: Vec3) -> np.ndarray:
        box = self.box(cell)
        shape = (*self.shape[:-3], *box.shape)
        kept = self.folder.get(cell, shape, self.dtype) if self.folder is not None else None
        if kept is not None:
            return kept
        made = np.empty(shape, self.dtype)
        depth = max(1, AT_ONCE // (prod(self.wide(box).shape[1:]) * self.grid.factor[0]))
        for z in range(0, box.shape[0], depth):
            first = box.start[0] + z
            part = Box((first, *box.start[1:]), (min(first + depth, box.stop[0]), *box.stop[1:]))
            block = np.asarray(self.finer[(..., *self.wide(part).slices)])
            made[..., z : z + part.shape[0], :, :] = downsample(block, self.grid.factor, self.kind)
        if self.folder is not None:
            self.folder.put(cell, made)
        return made


def _cells(box: Box, chunk: Vec3) -> list[Vec3]:
    spans = (range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, chunk, strict=True))
    return [vec3(cell) for cell in product(*spans)]


def _inside(start: int, side: int, chunk: float) -> int:
    """The start moved so that no chunk border is crossed, if a chunk is long enough."""
    border = (start // chunk + 1) * chunk
    return max(0, int(border) - side if start + side > border and side <= chunk else start)


def _stored_chunk(array: CachedArray) -> Vec3 | None:
    inner = array.cache.array
    return inner.chunk if isinstance(inner, _Maker) else chunk_shape(inner)


def _chunk(grid: Grid, stored: Sequence[int] | None) -> Vec3:
    """The usual chunk, smaller where much is averaged; if large ones are stored (pages), the image of one of those."""
    if stored is not None and prod(stored) > 2**22:
        return vec3([min(n, max(1, s // f)) for n, s, f in zip(grid.shape, stored, grid.factor, strict=True)])
    chunk = list(usual_chunk(grid))
    while prod(chunk) * prod(grid.factor) > AT_ONCE and max(chunk) > 1:
        axis = chunk.index(max(chunk))
        chunk[axis] = -(-chunk[axis] // 2)
    return vec3(chunk)

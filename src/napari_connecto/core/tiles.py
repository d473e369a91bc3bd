"""Divide a level into tiles: pure arithmetic, computed on demand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.shown import shown


@dataclass(frozen=True, slots=True)
class Tile:
    """One unit of work: it reads ``read`` (may extend beyond the level) and alone owns ``write``."""

    index: int
    write: Box
    read: Box


@shown
@dataclass(frozen=True, slots=True)
class TilePlan:
    """A regular grid of tiles over a level; tile ``i`` is computed on demand.

    Parameters
    ----------
    shape
        Of the level, voxels, (z, y, x).
    tile
        What a tile owns; tiles at the far border own less, but read as much.
    halo
        What it reads around that, on each side.
    """

    shape: Vec3
    tile: Vec3
    halo: Vec3 = (0, 0, 0)

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or min(self.tile) < 1 or min(self.halo) < 0:
            raise InputError(f"got shape {self.shape}, tile {self.tile}, halo {self.halo}; need >= 1, >= 1, >= 0")

    @property
    def grid(self) -> Vec3:
        """Number of tiles per axis."""
        return vec3([-(-s // t) for s, t in zip(self.shape, self.tile, strict=True)])

    @property
    def read_shape(self) -> Vec3:
        """Shape that every tile reads."""
        return vec3([t + 2 * h for t, h in zip(self.tile, self.halo, strict=True)])

    def __len__(self) -> int:
        z, y, x = self.grid
        return z * y * x

    def __getitem__(self, index: int) -> Tile:
        (sz, sy, sx), (tz, ty, tx), (hz, hy, hx) = self.shape, self.tile, self.halo
        gy, gx = -(-sy // ty), -(-sx // tx)
        z, y, x = index // (gy * gx) * tz, index // gx % gy * ty, index % gx * tx
        if index < 0 or z >= sz:
            raise IndexError(f"tile {index} of {len(self)}")
        write = Box((z, y, x), (min(z + tz, sz), min(y + ty, sy), min(x + tx, sx)))
        read = Box((z - hz, y - hy, x - hx), (z + tz + hz, y + ty + hy, x + tx + hx))
        return Tile(index, write, read)

    def __iter__(self) -> Iterator[Tile]:
        return map(self.__getitem__, range(len(self)))

    def tiles(self, indices: Iterable[int]) -> Iterator[Tile]:
        """The tiles of these indices, made one by one."""
        return (self[int(i)] for i in indices)

    def cells(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """Grid positions (n, 3) of tile indices (n,)."""
        return np.stack(np.unravel_index(np.asarray(indices, np.int64), self.grid), axis=-1)

    def touching(self, boxes: Iterable[Box]) -> np.ndarray:
        """Indices, ascending and unique, of the tiles that own a voxel of any box. Cost: that of the result."""
        _, gy, gx = self.grid
        found = []
        for box in boxes:
            inside = box.clip(self.shape)
            if inside.size == 0:
                continue
            z, y, x = (
                np.arange(a // t, -(-b // t)) for a, b, t in zip(inside.start, inside.stop, self.tile, strict=True)
            )
            found.append(((z[:, None, None] * gy + y[:, None]) * gx + x).ravel())
        if len(found) == 1:  # a million tiles are ascending as they are
            return found[0]
        return np.unique(np.concatenate(found)) if found else np.empty(0, np.int64)

    def order(self, indices: Sequence[int] | np.ndarray, centre: Sequence[float] | None = None) -> np.ndarray:
        """``indices`` so that neighbours follow each other (Morton order), or nearest to ``centre`` (voxels) first."""
        indices = np.asarray(indices, np.int64)
        if indices.size == 0:
            return indices
        cells = self.cells(indices)
        if centre is not None:
            middle = (cells + 0.5) * self.tile
            distance = np.abs((middle - np.asarray(centre, float)) / self.tile).max(axis=1)
            return indices[np.lexsort((_morton(cells), np.floor(distance)))]
        return indices[np.argsort(_morton(cells), kind="stable")]


def _morton(cells: np.ndarray) -> np.ndarray:
    """Interleave the bits of (n, 3) grid positions below 2^21."""
    key = np.zeros(len(cells), np.uint64)
    for axis in range(3):
        bits = cells[:, 2 - axis].astype(np.uint64)
        for bit in range(int(cells.max()).bit_length()):
            key |= ((bits >> np.uint64(bit)) & np.uint64(1)) << np.uint64(3 * bit + axis)
    return key

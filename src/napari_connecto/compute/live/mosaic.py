"""Finished tiles in bounded memory, and images made of them that are empty where nothing is computed yet."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from threading import Lock
from typing import Literal, Protocol, TypeAlias

import numpy as np

from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.tiles import TilePlan

MEMORY_BYTES = 2**28


class Blocks:
    """Arrays by key, of at most ``limit`` bytes together: the ones that were wanted least recently go first."""

    def __init__(self, limit: int = MEMORY_BYTES) -> None:
        self.limit = limit
        self._held: OrderedDict[Hashable, np.ndarray] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return self._bytes

    def __contains__(self, key: Hashable) -> bool:
        return key in self._held

    def get(self, key: Hashable) -> np.ndarray | None:
        """The array of this key, None if there is none."""
        return self._held.get(key)

    def put(self, key: Hashable, block: np.ndarray) -> None:
        """Keep an array, which must not be changed afterwards."""
        with self._lock:
            before = self._held.pop(key, None)
            self._held[key] = block
            self._bytes += block.nbytes - (0 if before is None else before.nbytes)
            while self._bytes > self.limit and len(self._held) > 1:
                self._bytes -= self._held.popitem(last=False)[1].nbytes

    def named(self, name: str) -> list[int]:
        """The indices of all keys ``(name, index)``."""
        with self._lock:
            return [key[1] for key in self._held if isinstance(key, tuple) and key[0] == name]

    def want(self, keys: Iterable[Hashable]) -> None:
        """These go last."""
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)

    def drop(self, name: str) -> None:
        """Drop the arrays of all keys ``(name, index)``."""
        for index in self.named(name):
            with self._lock:
                block = self._held.pop((name, index), None)
                self._bytes -= 0 if block is None else block.nbytes


class Grid(Protocol):
    """Voxels of an image: shape (z, y, x), size and corner in nm; a `Level` is one."""

    @property
    def shape(self) -> Vec3: ...
    @property
    def voxel_nm(self) -> FVec3: ...
    @property
    def origin_nm(self) -> FVec3: ...


@dataclass(frozen=True)
class Part:
    """One map of a mosaic.

    Parameters
    ----------
    name
        Its blocks have the keys ``(name, index of the tile)``.
    grid, plan
        The grid that the model reads, and its tiles.
    stride, trimmed
        Of the model's output. A block of one voxel along an axis stands for the whole tile.
    """

    name: str
    grid: Grid
    plan: TilePlan
    stride: Vec3 = (1, 1, 1)
    trimmed: Vec3 = (0, 0, 0)

    def sources(self, places_nm: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
        """For places along an axis (n,): the tile's number along it, and the voxel in the tile's block, (n,) each."""
        tile, stride = self.plan.tile[axis], self.stride[axis]
        voxel = np.floor((places_nm - self.grid.origin_nm[axis]) / self.grid.voxel_nm[axis] + 1e-6).astype(np.int64)
        voxel = np.clip(voxel, 0, self.grid.shape[axis] - 1)  # a coarse level may end short of a fine one
        ahead = (self.plan.halo[axis] - self.trimmed[axis]) % stride  # the first cell may begin before the tile
        return voxel // tile, (voxel % tile + ahead) // stride


class Mosaic:
    """Maps over each other, later ones on top, where their blocks are there; empty elsewhere.

    Parameters
    ----------
    parts
        The maps, of any grids and strides.
    blocks
        Where their tiles are.
    kind
        "image": float32, NaN where empty, and blocks of uint8 are divided by 255. "labels": uint32, 0 where empty.
    """

    def __init__(self, parts: Sequence[Part], blocks: Blocks, kind: Literal["image", "labels"] = "image") -> None:
        self.parts, self.blocks, self.kind = tuple(parts), blocks, kind
        self.dtype = np.dtype(np.float32 if kind == "image" else np.uint32)

    def read(self, grid: Grid, index: Sequence[np.ndarray]) -> np.ndarray:
        """The voxels of ``grid`` at these indices along each axis, ascending: an array of that shape; the nearest."""
        shape = tuple(len(along) for along in index)
        out = np.full(shape, np.nan if self.kind == "image" else 0, self.dtype)
        if not out.size:
            return out
        rows = zip(grid.origin_nm, index, grid.voxel_nm, strict=True)
        places = [origin + (np.asarray(along) + 0.5) * size for origin, along, size in rows]
        for part in self.parts:
            self._paint(out, part, places)
        return out

    def _paint(self, out: np.ndarray, part: Part, places: Sequence[np.ndarray]) -> None:
        sources = [part.sources(along, axis) for axis, along in enumerate(places)]
        runs = [_runs(tiles) for tiles, _ in sources]
        for index, place in _present(part, runs, self.blocks.named(part.name)):
            block = self.blocks.get((part.name, index))
            if block is None:  # dropped meanwhile
                continue
            found = _picked(block, [voxels[run] for (_, voxels), run in zip(sources, place, strict=True)])
            if self.kind == "image" and found.dtype == np.uint8:
                np.multiply(found, np.float32(1 / 255), out=out[place])
            else:
                out[place] = found


def _picked(block: np.ndarray, index: Sequence[np.ndarray]) -> np.ndarray:
    """As ``block[np.ix_(*index)]`` of ascending indices, those past the end being the last; one voxel broadcasts.

    A viewer calls this for each frame, in the thread that draws: what can be sliced is not copied, and rows that repeat
    are copied as a whole.
    """
    takes = []
    for axis, (along, n) in enumerate(zip(index, block.shape, strict=True)):
        first, last = (min(int(along[end]), n - 1) for end in (0, -1))
        block = block[(slice(None),) * axis + (slice(first, last + 1),)]
        if first < last and not (last - first == len(along) - 1 and bool((np.diff(along) == 1).all())):
            takes.append((axis, np.minimum(along, n - 1) - first))
    for axis, along in reversed(takes):
        block = block.take(along, axis)
    return block


Runs: TypeAlias = dict[int, slice]


def _present(part: Part, runs: Sequence[Runs], held: Sequence[int]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """The tiles that are held and seen, and where; costs as much as there are of the fewer."""
    if len(held) < prod(len(run) for run in runs):
        for index, cell in zip(held, part.plan.cells(held).tolist() if held else (), strict=True):
            if all(number in run for number, run in zip(cell, runs, strict=True)):
                yield index, tuple(run[number] for number, run in zip(cell, runs, strict=True))
        return
    _, gy, gx = part.plan.grid
    for (z, rz), (y, ry), (x, rx) in product(*(run.items() for run in runs)):
        yield (z * gy + y) * gx + x, (rz, ry, rx)


def _runs(numbers: np.ndarray) -> Runs:
    """The runs of equal numbers in an ascending array: where each number is."""
    cuts = np.flatnonzero(np.diff(numbers)) + 1
    starts, stops = [0, *cuts.tolist()], [*cuts.tolist(), len(numbers)]
    return {int(numbers[a]): slice(a, b) for a, b in zip(starts, stops, strict=True)}


@dataclass(frozen=True)
class Picture:
    """One layer of a live view.

    Parameters
    ----------
    name
        Tells the pictures of a view apart.
    mosaic
        What it shows.
    grids
        The pyramid on which it is shown, finest first.
    """

    name: str
    mosaic: Mosaic
    grids: tuple[Grid, ...]

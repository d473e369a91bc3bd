"""Predict tiles one by one in this process: reading, padding, seeds, batches, and the part that each tile owns."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Literal, Protocol, TypeAlias

import numpy as np

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.model import ModelCard, Output, Predictor, Scaling
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

Blocks: TypeAlias = Mapping[str, np.ndarray]
OnBadChunk = Literal["fail", "fill", "skip"]
Reader: TypeAlias = Callable[[Level, Iterable[Tile]], Iterator[tuple[Tile, np.ndarray]]]


def read_tile(level: Level, tile: Tile, on_bad: OnBadChunk = "fail") -> np.ndarray | None:
    """The voxels a tile reads, (c, z, y, x), or None if it is to be skipped.

    Raises
    ------
    ChunkError
        If a chunk is damaged or a value is not finite, and ``on_bad`` is "fail"; the message names the place.
    """
    try:
        block = level.read_padded(tile.read)
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            if on_bad == "fill":
                block = np.nan_to_num(block, nan=0.0, posinf=0.0, neginf=0.0)
            else:
                raise ChunkError(
                    f"got NaN or infinite values, the first at voxel {_first_bad(block, level, tile)}; "
                    "clean the input, or let detect replace them by 0 or skip them (on_bad_chunk=, --on-bad-chunk fill "
                    "or skip)"
                )
    except ChunkError:
        if on_bad == "fail":
            raise
        if on_bad == "skip":
            return None
        channels = (level.channels,) if level.channels is not None else ()
        block = np.zeros((*channels, *tile.read.shape), level.dtype)
    return block if block.ndim == 4 else block[None]


def _first_bad(block: np.ndarray, level: Level, tile: Tile) -> tuple[int, ...]:
    """Position of the first value that is not finite, (z, y, x) in the level; without the padding."""
    inside = tile.read.clip(level.shape).shift(tuple(-a for a in tile.read.start))
    bad = np.argwhere(~np.isfinite(block[(..., *inside.slices)]))
    return tuple(int(i + a) for i, a in zip(bad[0][-3:], tile.read.clip(level.shape).start, strict=True))


def read_tiles(level: Level, tiles: Iterable[Tile], on_bad: OnBadChunk = "fail") -> Iterator[tuple[Tile, np.ndarray]]:
    """Read tiles one after the other, without skipped ones."""
    for tile in tiles:
        block = read_tile(level, tile, on_bad)
        if block is not None:
            yield tile, block


def tile_seed(card: ModelCard, tile: Tile) -> int:
    """The seed of a tile's random numbers: a tile recomputed is the same tile."""
    text = f"{card.digest}:{tile.index}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:4], "little")


def owned(tile: Tile, block: np.ndarray, output: Output) -> np.ndarray:
    """The part of a predicted block (z, y, x) that lies in ``tile.write``; at a stride, every cell that touches it."""
    slices = []
    for a, b, read, stride, trimmed in zip(
        tile.write.start, tile.write.stop, tile.read.start, output.stride, output.trimmed, strict=True
    ):
        first = read + trimmed
        slices.append(slice((a - first) // stride, -(-(b - first) // stride)))
    return block[tuple(slices)]


def run_batch(
    tiles: Sequence[Tile], blocks: Sequence[np.ndarray], predictor: Predictor, scaling: Scaling, batch: int
) -> list[tuple[Tile, Blocks]]:
    """One forward pass over up to ``batch`` tiles, padded to exactly ``batch`` (bits do not depend on grouping)."""
    stack = np.stack([scaling(block) for block in blocks])
    if len(tiles) < batch:
        stack = np.concatenate([stack, np.repeat(stack[-1:], batch - len(tiles), axis=0)])
    seeds = [tile_seed(predictor.card, tile) for tile in tiles]
    answer = predictor(stack, seeds + seeds[-1:] * (batch - len(tiles)))
    return [
        (tile, {o.name: owned(tile, answer[o.name][i], o) for o in predictor.card.outputs})
        for i, tile in enumerate(tiles)
    ]


def predict(
    level: Level,
    tiles: Iterable[Tile],
    predictor: Predictor,
    *,
    scaling: Scaling | None = None,
    batch: int = 1,
    read: Reader = read_tiles,
) -> Iterator[tuple[Tile, Blocks]]:
    """Run a model over tiles, in their order.

    Parameters
    ----------
    level
        Read tile by tile, at a voxel size that the caller has checked.
    tiles
        Of a plan with the card's tile and halo.
    predictor
        See `Predictor`.
    scaling
        From ``card.normalisation.resolve(volume)``; values are left alone without it.
    batch
        Tiles per forward pass.
    read
        How tiles are read; `compute` gives one that reads ahead.

    Yields
    ------
    tile, blocks
        ``blocks[name]`` is what the tile owns of that output, float32, (z, y, x) at the output's stride.
    """
    check_channels(level, predictor.card)
    reads = iter(read(level, tiles))
    while group := list(islice(reads, batch)):
        yield from run_batch(
            [tile for tile, _ in group], [block for _, block in group], predictor, scaling or Scaling(), batch
        )


def check_channels(level: Level, card: ModelCard) -> None:
    """Raise `InputError` unless the level has as many channels as the model takes."""
    if (level.channels or 1) != card.channels:
        raise InputError(
            f"got {level.channels or 1} channels, the model '{card.name}' takes {card.channels}; "
            "choose channels when opening the volume"
        )


class TileCache(Protocol):
    """Store of finished tiles. Contract (``tests/contracts/tile_cache.py``).

    - After `write` returns, the tile is in `done` and its voxels are readable, also from a new process.
    - A tile whose `write` did not return is not in `done`; what it left is never read as finished.
    - Writing a tile twice leaves the second.
    """

    def done(self) -> np.ndarray: ...

    def write(self, tile: Tile, blocks: Blocks) -> None: ...

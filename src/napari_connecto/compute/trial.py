"""Find the fastest batch size, and the cost of a tile, by a short trial on real tiles."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np

from napari_connecto.compute.cache import cached, chunk_shape, touched_bytes
from napari_connecto.compute.memory import PeakMemory, affordable
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.predict import check_channels, read_tile, run_batch
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level

CALL_S = 0.5  # a forward pass cannot be interrupted: longer ones would make Cancel slow
READ_BYTES = 2**24
"""Bytes decoded at most for a trial, or one chunk if it is larger."""
SLOW_S = 2.0  # one that takes so long is warm by itself, and not timed again


@dataclass(frozen=True)
class Trial:
    """Result of a short trial.

    Parameters
    ----------
    batch
        Tiles per forward pass; the smallest within 5 % of the fastest.
    read_s
        Seconds that one thread takes to read a tile.
    model_s
        Seconds per tile of the forward passes, ``calls`` at once.
    calls
        Forward passes at once.
    peak_bytes
        Highest memory of the process meanwhile.
    tiles, blocks
        The tiles that were read, and what they read, (channels, z, y, x) each.
    """

    batch: int
    read_s: float
    model_s: float
    calls: int
    peak_bytes: int = 0
    tiles: tuple[Tile, ...] = field(default=(), compare=False, repr=False)
    blocks: tuple[np.ndarray, ...] = field(default=(), compare=False, repr=False)

    @property
    def tile_s(self) -> float:
        """Expected seconds per tile of a long run: readers work beside the forward passes."""
        return self.model_s + self.read_s / max(1, self.calls)


def choose_batch(
    level: Level,
    plan: TilePlan,
    predictor: Predictor,
    scaling: Scaling | None = None,
    *,
    sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 3.0,
) -> Trial:
    """`trial_job`, run to its end."""
    return run(trial_job(level, plan, predictor, scaling, sizes=sizes, seconds=seconds))


def trial_job(
    level: Level,
    plan: TilePlan,
    predictor: Predictor,
    scaling: Scaling | None = None,
    *,
    sizes: Sequence[int] = (1, 2, 4, 8),
    seconds: float = 3.0,
) -> Job[Trial]:
    """Read a few tiles and run them in batches of several sizes; may be stopped after every forward pass.

    Parameters
    ----------
    level, plan, predictor, scaling
        As for `execute`.
    sizes
        Ascending; the first is always tried, the rest while time is left, calls stay short and things get faster.
    seconds
        Start no new size after that.

    Raises
    ------
    ChunkError
        If none of the tiles can be read.
    """
    if not sizes or min(sizes) < 1:
        raise InputError(f"got sizes {tuple(sizes)}; at least one positive number is needed")
    check_channels(level, predictor.card)
    begin, scaling = perf_counter(), scaling or Scaling()
    tiles, blocks, read_s = _read_some(level, plan)
    calls = affordable(predictor.card, sizes[0], int(getattr(predictor, "calls", 1)))
    measured: dict[int, float] = {}
    with PeakMemory() as watch, ThreadPoolExecutor(calls) as pool:
        for size in sizes:
            call_s = yield from _time_calls(pool, calls, tiles, blocks, predictor, scaling, size)
            measured[size] = call_s / (size * calls)
            slower = measured[size] > 1.1 * min(measured.values())
            enough = len(measured) > 1 or call_s > 4 * CALL_S  # a batch of 1 may be slow for reasons of its own
            if enough and (slower or 2 * call_s > CALL_S or perf_counter() - begin > seconds):
                break
    allowed = {size: s for size, s in measured.items() if s * size * calls <= CALL_S or size == sizes[0]}
    fastest = min(allowed.values())
    batch = min(size for size, s in allowed.items() if s <= 1.05 * fastest)
    return Trial(batch, read_s, measured[batch], calls, watch.peak_bytes, tuple(tiles), tuple(blocks))


def _read_some(level: Level, plan: TilePlan, count: int = 4) -> tuple[list[Tile], list[np.ndarray], float]:
    """Tiles spread over the plan, what they read, and seconds per read; damaged places are passed over.

    Where chunks are so large that few tiles would need more than `READ_BYTES`, parts of single chunks stand for them: a
    long run decodes each chunk once for many tiles.
    """
    tiles = [plan[int(i)] for i in np.unique(np.linspace(0, len(plan) - 1, min(3 * count, len(plan))).astype(int))]
    source, spent = cached(level, 0), 0
    found: list[tuple[Tile, np.ndarray]] = []
    per_read = 0.0
    for tile in tiles[::3] + tiles[1::3] + tiles[2::3]:
        inside = tile.read.clip(level.shape)
        part = inside if touched_bytes(level, [inside]) <= READ_BYTES // count else _in_one_chunk(level, inside)
        begin = perf_counter()
        try:
            block = read_tile(source, tile, "skip") if part == inside else _filled(source, part, tile)
        except ChunkError:
            block = None
        taken, touched = perf_counter() - begin, touched_bytes(level, [part])
        spent += touched
        if block is not None:
            found.append((tile, block))
            bytes_used = level.dtype.itemsize * (level.channels or 1) * inside.size
            per_read += taken if part == inside else taken * min(1.0, bytes_used / touched)
        if len(found) == count or (found and spent >= READ_BYTES):
            break
    if not found:
        read_tile(source, tiles[0])  # says why
    return [t for t, _ in found], [b for _, b in found], per_read / max(1, len(found))


def _in_one_chunk(level: Level, box: Box) -> Box:
    """The part of a box that lies in the chunk of its middle."""
    chunk = chunk_shape(level.array)
    if chunk is None:
        return box
    start = vec3([int(m) // c * c for m, c in zip(box.centre, chunk, strict=True)])
    return Box(start, vec3([a + c for a, c in zip(start, chunk, strict=True)])).clip(box)


def _filled(level: Level, part: Box, tile: Tile) -> np.ndarray:
    """A tile's block of the voxels of a part of it, repeated."""
    block = level.read(part)
    return np.resize(block, (level.channels or 1, *tile.read.shape))


def _time_calls(
    pool: ThreadPoolExecutor,
    calls: int,
    tiles: Sequence[Tile],
    blocks: Sequence[np.ndarray],
    predictor: Predictor,
    scaling: Scaling,
    size: int,
) -> Job[float]:
    """Seconds that ``calls`` forward passes at once take: the better of two after a warm-up, or of one that is slow."""
    picked = [i % len(tiles) for i in range(size)]

    def call(_: int) -> None:
        run_batch([tiles[i] for i in picked], [blocks[i] for i in picked], predictor, scaling, size)

    times = []
    for _ in range(3):
        begin = perf_counter()
        list(pool.map(call, range(calls)))
        times.append(perf_counter() - begin)
        yield Progress(len(times), 0, "timing tiles")
        if times[-1] > SLOW_S:
            break
    return min(times[1:] or times)

"""Tiles on this machine: reading ahead, parallel forward passes, writing behind, all bounded."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.compute.memory import affordable
from napari_connecto.compute.options import ExecuteOptions, Meter, default_batch
from napari_connecto.core.errors import Cancelled, out_of_memory
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import Blocks, read_tile, run_batch
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level

log = logging.getLogger("napari_connecto")

Sink: TypeAlias = Callable[[Tile, Blocks], Any]
Reading: TypeAlias = tuple[Tile, "Future[np.ndarray | None]"]


class Pipeline:
    """Three pools of threads through which groups of tiles pass.

    ::

        tiles -> readers -> forward passes -> sinks -> results, in the order of the tiles
                 (chunks decoded once)  (one batch each)  (writes overlap with the next batch)

    A batch that does not fit into memory is run in halves, and so are all that follow; their results may differ in the
    last bits. If not even one tile fits, `TooBigError` suggests a smaller one.
    """

    def __init__(self, level: Level, predictor: Predictor, sink: Sink | None, options: ExecuteOptions) -> None:
        self.meter = options.meter or Meter()
        self.level = cached(level, options.cache_bytes, self.meter)
        self.predictor = predictor
        self.sink = sink
        self.options = options
        self.batch = self.size = options.batch or default_batch(predictor.card)
        self.calls = affordable(predictor.card, self.batch, options.calls or int(getattr(predictor, "calls", 1)))
        self._stop = threading.Event()
        readers = options.readers or (8 if getattr(level.array, "remote", False) else 2)
        self._ahead = max(2 * self.calls + 1, -(-readers // self.batch))
        self._readers = ThreadPoolExecutor(readers, "read")
        self._models = ThreadPoolExecutor(self.calls, "model")
        self._sinks = ThreadPoolExecutor(2, "sink")

    def results(self, tiles: Iterable[Tile]) -> Generator[tuple[Tile, Any], None, None]:
        """What the sink gave for each tile, in their order; skipped tiles are left out."""
        source = iter(tiles)
        groups: deque[Future[list[tuple[Tile, Future[Any] | Blocks]]]] = deque()
        try:
            while True:
                while len(groups) < self._ahead and (group := list(islice(source, self.batch))):
                    reading = [(tile, self._readers.submit(self._read, tile)) for tile in group]
                    groups.append(self._models.submit(self._forward, reading))
                if not groups:
                    return
                for tile, result in groups.popleft().result():
                    yield tile, result.result() if isinstance(result, Future) else result
        finally:
            self.close()

    def close(self) -> None:
        """Drop what has not begun, wait for what has (a batch at most) and end all threads."""
        self._stop.set()
        for pool in (self._readers, self._models, self._sinks):
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in (self._readers, self._models, self._sinks):
            pool.shutdown(wait=True)

    def _read(self, tile: Tile) -> np.ndarray | None:
        if self._stop.is_set():
            raise Cancelled("stopped")
        begin = perf_counter()
        block = read_tile(self.level, tile, self.options.on_bad)
        self.meter.add(read_s=perf_counter() - begin)
        return block

    def _forward(self, reading: Sequence[Reading]) -> list[tuple[Tile, Future[Any] | Blocks]]:
        read = [(tile, future.result()) for tile, future in reading]
        pairs = [(tile, block) for tile, block in read if block is not None]
        if self._stop.is_set():
            raise Cancelled("stopped")
        if not pairs:
            return []
        tiles, blocks = [tile for tile, _ in pairs], [block for _, block in pairs]
        begin = perf_counter()
        done = self._run(tiles, blocks)
        self.meter.add(model_s=perf_counter() - begin, tiles=len(tiles))
        if self.sink is None:
            return list(done)
        return [(tile, self._sinks.submit(self.sink, tile, result)) for tile, result in done]

    def _run(self, tiles: Sequence[Tile], blocks: Sequence[np.ndarray]) -> list[tuple[Tile, Blocks]]:
        """Size of forward passes: fixed until memory runs short."""
        scaling, size = self.options.scaling, self.size
        while True:
            try:
                return [
                    result
                    for a in range(0, len(tiles), size)
                    for result in run_batch(tiles[a : a + size], blocks[a : a + size], self.predictor, scaling, size)
                ]
            except (MemoryError, RuntimeError) as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise self.predictor.card.too_big() from error
            size = -(-size // 2)
            self.size = min(self.size, size)
            log.warning("out of memory: continuing with %d tiles at a time", size)

"""A model's outputs as dask arrays: nothing is read or computed before it is requested."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Any, TypeAlias
from uuid import uuid4

import dask.array as da
import numpy as np
from dask.delayed import delayed

from napari_connecto.compute.cache import cached
from napari_connecto.compute.memory import affordable
from napari_connecto.compute.parcel import Parcel
from napari_connecto.core.errors import out_of_memory
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import Output, Predictor, Scaling
from napari_connecto.core.predict import Blocks, OnBadChunk, check_channels, read_tile, run_batch
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume

Array: TypeAlias = da.Array
CACHE_BYTES = 2**28


def arrays(volume: Volume, level: Level, predictor: Predictor) -> dict[str, Array]:
    """Every output of a model over a level, in chunks of what the tiles own.

    Parameters
    ----------
    volume, level
        The volume gives the brightness range, the level the voxels. Both picklable, if workers are to compute.
    predictor
        Called with one tile at a time, from as many threads at once as it has ``calls`` (one without).

    Returns
    -------
    dict
        Float32 (z, y, x) at each output's stride, by name. Arrays of one call share the graph's tiles: computed
        together, a tile is computed once for all of them.

    Raises
    ------
    InputError
        If the level has other channels than the model takes.
    """
    check_channels(level, predictor.card)
    tiles = Tiles(volume, level, predictor)
    token = uuid4().hex
    shared = delayed(Parcel(thing=tiles), name=f"model-{token}", traverse=False)
    ones = tuple((1,) * n for n in tiles.plan.grid)
    answers = da.map_blocks(
        _answer, shared, chunks=ones, dtype=object, meta=np.empty((0, 0, 0), object), name=f"tiles-{token}"
    )
    return {
        output.name: answers.map_blocks(
            _picked,
            output.name,
            chunks=_chunks(tiles.plan, output),
            dtype=np.float32,
            meta=np.empty((0, 0, 0), np.float32),
            name=f"{output.name}-{token}",
        )
        for output in predictor.card.outputs
    }


class Tiles:
    """One model and one level, for all tasks of a graph; a worker opens it once, its threads share it.

    ``scaling`` is that of the volume for the model, which is resolved by the first task where it is not given.
    """

    def __init__(self, volume: Volume, level: Level, predictor: Predictor, scaling: Scaling | None = None) -> None:
        card = predictor.card
        self.parts = volume, level, predictor, scaling
        self.plan = TilePlan(level.shape, card.tile, card.halo)
        self._level = cached(level, CACHE_BYTES)
        self._calls = threading.Semaphore(affordable(card, 1, int(getattr(predictor, "calls", 1))))
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Tiles, self.parts

    def answer(self, cell: Vec3) -> Blocks:
        """Every output in the tile at this place of the grid."""
        [blocks] = self.answers([int(np.ravel_multi_index(cell, self.plan.grid))])
        assert blocks is not None  # only on_bad="skip" leaves tiles out
        return blocks

    def answers(self, indices: Sequence[int], batch: int = 1, on_bad: OnBadChunk = "fail") -> list[Blocks | None]:
        """Every output in up to ``batch`` tiles, by one forward pass of that many; None for tiles that are skipped."""
        _, _, predictor, _ = self.parts
        tiles = [self.plan[index] for index in indices]
        read = [(tile, read_tile(self._level, tile, on_bad)) for tile in tiles]
        whole = [(tile, block) for tile, block in read if block is not None]
        if not whole:
            return [None] * len(tiles)
        with self._lock:
            scaling = self._scaling
        try:
            with self._calls:
                done = run_batch([t for t, _ in whole], [b for _, b in whole], predictor, scaling, batch)
        except (MemoryError, RuntimeError) as error:
            if out_of_memory(error):
                raise predictor.card.too_big() from error
            raise
        found = {tile.index: blocks for tile, blocks in done}
        return [found.get(tile.index) for tile in tiles]

    @cached_property
    def _scaling(self) -> Scaling:
        volume, _, predictor, scaling = self.parts
        return predictor.card.normalisation.resolve(volume) if scaling is None else scaling


def _answer(shared: Parcel[Tiles], block_id: Vec3) -> np.ndarray:
    """A block of one element: the tile's answer."""
    found = np.empty((1, 1, 1), object)
    found[0, 0, 0] = shared.open().answer(block_id)
    return found


def _picked(answer: np.ndarray, output: str) -> np.ndarray:
    block: np.ndarray = answer[0, 0, 0][output]
    return block


def _chunks(plan: TilePlan, output: Output) -> tuple[tuple[int, ...], ...]:
    """What the tiles own along each axis, in voxels of the output."""
    return tuple(
        tuple(-(-min(t, n - a) // s) for a in range(0, n, t))
        for n, t, s in zip(plan.shape, plan.tile, output.stride, strict=True)
    )

"""A model's output as a dask array: nothing is computed before it is looked at."""

from __future__ import annotations

from functools import partial
from uuid import uuid4

import dask.array as da
import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.predict import check_channels, read_tile, run_batch
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level


def lazy(
    level: Level, predictor: Predictor, output: str, *, scaling: Scaling | None = None, cache_bytes: int = 2**28
) -> da.Array:
    """One output over a whole level, a dask chunk per tile.

    Building it computes and reads nothing, whatever the number of tiles; a plane computes the tiles it crosses once.
    For whole volumes `execute` is faster (it reads ahead and runs batches).

    Parameters
    ----------
    level
        Picklable, if computed by a distributed scheduler.
    predictor
        Called with one tile at a time, from dask's threads.
    output
        Name of one of the card's outputs.
    scaling
        From ``card.normalisation.resolve(volume)``.
    cache_bytes
        Decoded chunks kept in memory.

    Returns
    -------
    dask.array.Array
        Float32 (z, y, x) at the output's stride.
    """
    card = predictor.card
    check_channels(level, card)
    stride = card.output(output).stride
    plan = TilePlan(level.shape, card.tile, card.halo)
    chunks = tuple(
        tuple(-(-min(t, s - i) // k) for i in range(0, s, t))
        for s, t, k in zip(level.shape, card.tile, stride, strict=True)
    )
    block = partial(
        _block, cached(level, cache_bytes), plan, predictor=predictor, output=output, scaling=scaling or Scaling()
    )
    return da.map_blocks(
        block, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0), np.float32), name=f"{output}-{uuid4().hex}"
    )


def _block(
    level: Level, plan: TilePlan, *, predictor: Predictor, output: str, scaling: Scaling, block_id: Vec3
) -> np.ndarray:
    tile = plan[int(np.ravel_multi_index(block_id, plan.grid))]
    read = read_tile(level, tile)
    assert read is not None  # only on_bad="skip" leaves tiles out
    [(_, blocks)] = run_batch([tile], [read], predictor, scaling, 1)
    return blocks[output]

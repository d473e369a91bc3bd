"""What the finest stage answers on a few chunks of a volume, so that what follows is timed on real objects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from napari_connecto.compute.cache import touched_bytes
from napari_connecto.compute.trial import READ_BYTES, Trial
from napari_connecto.core.errors import ChunkError
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.predict import run_batch
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.search.averaged import Averaged

CHUNKS = 4
"""Chunks of a level that is not stored, spread over the volume, that are read at most."""


def some_maps(volume: Volume, stage: Predictor, scaling: Scaling, trial: Trial) -> list[np.ndarray]:
    """Maps (z, y, x) of a few chunks, uint8 (255 is 1) as a search stores them.

    Parameters
    ----------
    volume, stage, scaling
        As for a search; the volume with the stage's level.
    trial
        Of the stage. What it has read is used where the stage's level is stored; else little is read and averaged.
    """
    level = volume.level_at(stage.card.voxel_nm)
    read = (
        _averaged(volume, level, stage)
        if isinstance(level.array, Averaged)
        else zip(trial.tiles, trial.blocks, strict=True)
    )
    name, found = stage.card.outputs[0].name, []
    for tile, block in read:
        ((_, answer),) = run_batch([tile], [block], stage, scaling, 1)
        found.append(np.rint(np.clip(answer[name], 0, 1) * 255).astype(np.uint8))
    return found


def _averaged(volume: Volume, level: Level, stage: Predictor) -> Iterator[tuple[Tile, np.ndarray]]:
    """Chunks of a computed level with what a stage reads of it, but for those that touch much of what is stored."""
    plan, stored = TilePlan(level.shape, stage.card.tile, stage.card.halo), volume.levels[0]
    for index in np.unique(np.linspace(0, len(plan) - 1, CHUNKS + 2).astype(int)[1:-1]):  # not the corners
        tile = plan[int(index)]
        inside = tile.read.clip(level.shape)
        if touched_bytes(stored, [level.box_in(inside, stored)]) > READ_BYTES // CHUNKS:
            continue
        with suppress(ChunkError):
            part = Level(level.array.direct(inside), level.voxel_nm)
            block = part.read_padded(tile.read.shift([-s for s in inside.start]))
            yield tile, block if block.ndim == 4 else block[None]

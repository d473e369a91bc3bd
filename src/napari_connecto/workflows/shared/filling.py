"""Fill a result store with a predictor's outputs for a volume: view first, resumable, local or on a cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from math import prod
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import Blocks, check_channels
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.shared.region import inside, region_in

PATIENCE_S = 0.1
"""Computing time lost at most when a run is killed."""
STEP = 2.0**-14
"""Float outputs are rounded to this, so that half of their bits compress away."""


@dataclass(frozen=True)
class Keep:
    """Sink: write a tile on the worker that computed it."""

    store: TileStore

    def __call__(self, tile: Tile, blocks: Blocks) -> None:
        if any(dtype.kind == "f" for dtype in self.store.outputs.values()):
            blocks = rounded(blocks)
        self.store.write_blocks(tile, blocks)


def rounded(blocks: Blocks) -> Blocks:
    """Float outputs as they are stored."""
    return {name: np.rint(block / STEP) * np.float32(STEP) for name, block in blocks.items()}


def open_store(path: Path, volume: Volume, predictor: Predictor, dtype: str, metadata: Mapping[str, Any]) -> TileStore:
    """The store of a predictor's outputs over a volume in a job's folder; see `fill_job`."""
    card = predictor.card
    outputs = {output.name: np.dtype(dtype) for output in card.outputs}
    told = {**volume.metadata, "outputs": list(outputs), "model": card.digest, "of": volume.name, **metadata}
    return TileStore.open(path, fitting_level(volume, card), card.tile, outputs, metadata=told)


def fill_job(
    path: Path,
    volume: Volume,
    predictor: Predictor,
    dtype: str,
    stage: str,
    *,
    metadata: Mapping[str, Any],
    region: Box | None = None,
    first: Box | None = None,
    client: Any = None,
) -> Job[TileStore]:
    """Run a predictor over a volume, with one image per output.

    Parameters
    ----------
    path
        Of the job's folder, held by the caller.
    volume, predictor
        Resampled to the predictor's voxel size if no level has it; outputs at stride 1.
    dtype
        Of the images: "uint8" (255 is 1) or "float32".
    stage
        Stage name for `Progress`; its ``payload`` is the box just finished, voxels of the store's finest level.
    metadata
        Of the images, in addition to the volume's own.
    region, first
        Where to run (default: everywhere), and what to do before the rest; voxels of the volume's finest level.
    client
        A ``distributed.Client``.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and model do not fit, or the region lies outside.
    """
    card = predictor.card
    level = fitting_level(volume, card)
    check_channels(level, card)
    plan = TilePlan(level.shape, card.tile, card.halo)
    indices = _ordered(plan, volume, level, region, first)
    store = open_store(path, volume, predictor, dtype, metadata)
    todo = store.missing(indices)
    done = len(indices) - len(todo)
    yield Progress(done, len(indices), stage)
    options = ExecuteOptions(card.normalisation.resolve(volume))
    results = execute(level, plan.tiles(todo), predictor, Keep(store), options=options, client=client)
    with closing(results):
        for tile in _marked(store, results):
            done += 1
            yield Progress(done, len(indices), stage, tile.write)
    return store


def tiles_in(volume: Volume, predictor: Predictor, region: Box | None = None) -> int:
    """Approximate number of tiles a predictor has to run on: the work of `fill_job`."""
    level, finest = fitting_level(volume, predictor.card), volume.levels[0]
    within = finest.box if region is None else region.clip(finest.shape)
    grid = [-(-n // t) for n, t in zip(finest.box_in(within, level).shape, predictor.card.tile, strict=True)]
    return max(1, prod(grid))


def fingerprint(workflow: str, volume: Volume, predictor: Predictor) -> dict[str, Any]:
    """What must be equal for a run to be resumed."""
    card = predictor.card
    return {
        "workflow": workflow,
        "volume": volume.fingerprint(),
        "model": card.digest,
        "tile": [list(card.tile), list(card.halo)],
        "voxel_nm": list(card.voxel_nm),
    }


def _marked(store: TileStore, results: Iterator[tuple[Tile, Any]]) -> Iterator[Tile]:
    """Tiles that are written, marked as done at most a tenth of a second later."""
    waiting: list[int] = []
    marked = monotonic()
    try:
        for tile, _ in results:
            waiting.append(tile.index)
            if monotonic() - marked > PATIENCE_S:
                store.mark(waiting)
                waiting, marked = [], monotonic()
            yield tile
    finally:
        store.mark(waiting)


def _ordered(plan: TilePlan, volume: Volume, level: Level, region: Box | None, first: Box | None) -> np.ndarray:
    """Tiles of the region, those of ``first`` before the rest, neighbours together."""
    inside(volume, region)
    within = region_in(region, volume, level)
    indices = plan.order(plan.touching([within if within is not None else level.box]))
    if first is None or first.clip(volume.levels[0].shape).size == 0:
        return indices
    view = region_in(first, volume, level)
    ahead = np.isin(indices, plan.touching([view])) if view is not None else np.zeros(len(indices), bool)
    return np.concatenate([indices[ahead], indices[~ahead]])

"""Run a model over a volume, or part of it, into a live OME-Zarr image. Ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import Blocks, check_channels
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.job_folder import JobFolder, result_folder
from napari_connecto.io.tile_store import TileStore
from napari_connecto.workflows.descent import region_in
from napari_connecto.workflows.fitting import fitting_level
from napari_connecto.workflows.gate import Gate
from napari_connecto.workflows.gate_check import CHECK, GateCheck, gate_check_job

PATIENCE_S = 0.1
"""What a killed run computes again at most."""


@dataclass(frozen=True)
class Keep:
    """Sink: write a tile where it was computed."""

    store: TileStore

    def __call__(self, tile: Tile, blocks: Blocks) -> None:
        self.store.write_blocks(tile, blocks)


def predict(
    volume: Volume,
    model: Predictor,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | GateCheck | None = None,
) -> Volume:
    """Run a model; blocks. See `predict_job`."""
    return run(predict_job(volume, model, out=out, region=region, client=client, gate=gate))


def predict_job(
    volume: Volume,
    model: Predictor,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    first: Box | None = None,
    client: Any = None,
    gate: Gate | GateCheck | None = None,
) -> Job[Volume]:
    """Run a model over a volume.

    Parameters
    ----------
    volume
        Resampled to the model's voxel size where no level has it, see `fitting_level`.
    model
        Of outputs at stride 1 in [0, 1].
    out
        Folder of the result; an unfinished one of the same volume and model is resumed. Without it a temporary one.
    region, first
        Where to run (everywhere without), and what to do before the rest; voxels of the finest level.
    client
        A ``distributed.Client``.
    gate
        The model's, or what it said of this volume before; it is asked first, warns, and never stops a run.

    Yields
    ------
    Progress
        ``payload`` is the box just finished, voxels of the result's finest level.

    Returns
    -------
    Volume
        The first output, uint8 (255 is 1), on the grid the model read; ``metadata["outputs"]`` names all, each in
        ``out/NAME.zarr``; ``metadata["gate"]``, also in ``out/gate_check.json``, is what the gate said. Tiles outside
        the region are 0.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and model do not fit, or the region lies outside.
    StoreError
        If ``out`` belongs to something else.
    """
    card = model.card
    level = fitting_level(volume, card)
    check_channels(level, card)
    plan = TilePlan(level.shape, card.tile, card.halo)
    indices = _ordered(plan, volume, level, region, first)
    names = [output.name for output in card.outputs]
    with JobFolder.open(result_folder(out), _fingerprint(volume, model)) as job:
        check = yield from gate_check_job(volume, model, gate, region=region, level=level)
        metadata = {**volume.metadata, "outputs": names, "model": card.digest, "of": volume.name}
        metadata["gate"] = check.to_json()
        job.write_json(CHECK, metadata["gate"])
        store = TileStore.open(job.path, level, card.tile, dict.fromkeys(names, np.dtype("uint8")), metadata=metadata)
        todo = store.missing(indices)
        done = len(indices) - len(todo)
        yield Progress(done, len(indices), "predicting")
        options = ExecuteOptions(card.normalisation.resolve(volume))
        results = execute(level, plan.tiles(todo), model, Keep(store), options=options, client=client)
        with closing(results):
            for tile in _marked(store, results):
                done += 1
                yield Progress(done, len(indices), "predicting", tile.write)
        return store.volume(names[0])


def _marked(store: TileStore, results: Iterator[tuple[Tile, Any]]) -> Iterator[Tile]:
    """Tiles that are written, marked as done a tenth of a second later at most."""
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
    if region is not None and region.clip(volume.levels[0].shape).size == 0:
        raise InputError(
            f"got the region {region.start} to {region.stop}; it must hold voxels of the finest level, "
            f"{volume.levels[0].shape}"
        )
    within = region_in(region, volume, level)
    indices = plan.order(plan.touching([within if within is not None else level.box]))
    if first is None or first.clip(volume.levels[0].shape).size == 0:
        return indices
    view = region_in(first, volume, level)
    ahead = np.isin(indices, plan.touching([view])) if view is not None else np.zeros(len(indices), bool)
    return np.concatenate([indices[ahead], indices[~ahead]])


def _fingerprint(volume: Volume, model: Predictor) -> dict[str, Any]:
    card = model.card
    return {
        "workflow": "predict",
        "volume": volume.fingerprint(),
        "model": card.digest,
        "tile": [list(card.tile), list(card.halo)],
        "voxel_nm": list(card.voxel_nm),
    }

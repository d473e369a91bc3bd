"""Run a model over a volume, or part of it, into a live OME-Zarr image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.workflows.ood.check import CALLS, STAGE, TILES, OodCheck, gate_check_job
from napari_connecto.workflows.ood.document import CHECK, KEY
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.shared.filling import fill_job, fingerprint, tiles_in

REPORT = "prediction.json"
"""Written last, and taken away before more is predicted: what makes a prediction a finished one."""


def predict(
    volume: Volume,
    model: Predictor,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | OodCheck | None = None,
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
    gate: Gate | OodCheck | None = None,
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
        The model's `Gate`, for an out-of-distribution check before the run, or the result of an earlier check. It may
        warn; it never stops a run.

    Yields
    ------
    Progress
        ``payload`` is the box just finished, voxels of the result's finest level.

    Returns
    -------
    Volume
        The first output, uint8 (255 is 1), on the grid the model read; ``metadata["outputs"]`` names all, each in
        ``out/NAME.zarr``; ``metadata["ood"]``, also in ``out/ood_check.json``, is the out-of-distribution check. Tiles
        outside the region are 0.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and model do not fit, or the region lies outside.
    StoreError
        If ``out`` belongs to something else.
    """
    with JobFolder.open(result_folder(out), fingerprint("predict", volume, model)) as job:
        job.remove(REPORT)
        asked = gate is not None and not isinstance(gate, OodCheck)
        phases = Phases({STAGE: asked * TILES * CALLS, "predicting": tiles_in(volume, model, region)})
        check = yield from phases.run(STAGE, gate_check_job(volume, model, gate, region=region))
        job.write_json(CHECK, check.to_json())
        told = {KEY: check.to_json()}
        place: dict[str, Any] = {"region": region, "first": first, "client": client}
        filling = fill_job(job.path, volume, model, "uint8", "predicting", metadata=told, **place)
        store = yield from phases.run("predicting", filling)
        job.write_json(REPORT, {"outputs": [output.name for output in model.card.outputs], KEY: check.to_json()})
        return store.volume(model.card.outputs[0].name)

"""Run a model over a volume, or part of it, into a live OME-Zarr image. Ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.workflows.ood.check import CALLS, CHECK, STAGE, TILES, GateCheck, gate_check_job
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
    with JobFolder.open(result_folder(out), fingerprint("predict", volume, model)) as job:
        job.remove(REPORT)
        asked = gate is not None and not isinstance(gate, GateCheck)
        phases = Phases({STAGE: asked * TILES * CALLS, "predicting": tiles_in(volume, model, region)})
        check = yield from phases.run(STAGE, gate_check_job(volume, model, gate, region=region))
        job.write_json(CHECK, check.to_json())
        told = {"gate": check.to_json()}
        place: dict[str, Any] = {"region": region, "first": first, "client": client}
        filling = fill_job(job.path, volume, model, "uint8", "predicting", metadata=told, **place)
        store = yield from phases.run("predicting", filling)
        job.write_json(REPORT, {"outputs": [output.name for output in model.card.outputs], "gate": check.to_json()})
        return store.volume(model.card.outputs[0].name)

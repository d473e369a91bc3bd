"""Run a model over a volume, or part of it, into an OME-Zarr image that can be viewed while it fills."""

from __future__ import annotations

from dataclasses import replace
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
from napari_connecto.workflows.shared import judged
from napari_connecto.workflows.shared.filling import fill_job, fingerprint, tiles_in
from napari_connecto.workflows.shared.judged import JUDGING, Judge, judging_job, need_judge_of

REPORT = "prediction.json"
"""Written last, and removed before more is predicted: marks a finished prediction."""


def predict(
    volume: Volume,
    model: Predictor,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | OodCheck | None = None,
    guard: Judge | None = None,
) -> Volume:
    """Run a model over a volume, into OME-Zarr images.

    Parameters
    ----------
    volume
        (z, y, x), or (c, z, y, x) for models of several channels. Resampled to the model's voxel size if no level has
        it.
    model
        Its outputs are of stride 1 and in [0, 1], such as a boundary probability.
    out
        Result folder, one image per output: ``out/NAME.zarr``. An unfinished result of the same volume and model is
        resumed. Default: a temporary folder.
    region
        Part to predict, in voxels of the finest level; the rest is 0. Default: all of it.
    client
        A ``distributed.Client``: tiles run on its workers.
    gate
        The model's `Gate`, or an earlier out-of-distribution check of this volume. A gate is run first; it warns, and
        never stops a run.
    guard
        The model's `Guard`: it judges the answer when this is complete, see `check_pair`, and writes the error map and
        the worst places into ``out/check``. Default: no error map.

    Returns
    -------
    Volume
        The first output, uint8 (255 is 1), on the grid that the model reads. ``metadata["outputs"]`` names all outputs;
        ``metadata["ood"]``, also in ``out/ood_check.json``, is the result of the check; ``metadata["guard"]``, also in
        ``out/check/report.json``, that of the guard.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and model do not fit, or the region lies outside.
    ModelError
        If the guard was fitted to another model.
    StoreError
        If ``out`` belongs to something else.
    ChunkError
        If a chunk is damaged or a value is not finite.

    See Also
    --------
    lazy : the same as dask arrays, computed where they are looked at.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> boundary = nc.predict(volume, model, out="boundary", region=nc.Box((0, 0, 0), (1, 64, 64)))
    >>> boundary.levels[0].shape, str(boundary.levels[0].dtype)
    ((32, 512, 512), 'uint8')
    """
    return run(predict_job(volume, model, out=out, region=region, client=client, gate=gate, guard=guard))


def predict_job(
    volume: Volume,
    model: Predictor,
    *,
    out: str | Path | None = None,
    region: Box | None = None,
    first: Box | None = None,
    client: Any = None,
    gate: Gate | OodCheck | None = None,
    guard: Judge | None = None,
) -> Job[Volume]:
    """`predict` as a job; each report's ``payload`` is the box just finished, in voxels of the result's finest level.

    ``first`` is predicted before the rest, in voxels of the volume's finest level.
    """
    need_judge_of(model, guard)
    with JobFolder.open(result_folder(out), fingerprint("predict", volume, model)) as job:
        job.remove(REPORT)
        asked = gate is not None and not isinstance(gate, OodCheck)
        tiles = tiles_in(volume, model, region)
        judging = {} if guard is None else {JUDGING: judged.WORK * tiles}
        phases = Phases({STAGE: asked * TILES * CALLS, "predicting": tiles, **judging})
        check = yield from phases.run(STAGE, gate_check_job(volume, model, gate, region=region))
        job.write_json(CHECK, check.to_json())
        told = {KEY: check.to_json()}
        place: dict[str, Any] = {"region": region, "first": first, "client": client}
        filling = fill_job(job.path, volume, model, "uint8", "predicting", metadata=told, **place)
        store = yield from phases.run("predicting", filling)
        found = store.volume(model.card.outputs[0].name)
        report: dict[str, Any] = {"outputs": [output.name for output in model.card.outputs], **told}
        job.write_json(REPORT, report)
        if guard is not None:
            answer = store.volume(guard.output)
            verdict = yield from phases.run(JUDGING, judging_job(guard, volume, answer, job.path, region, client))
            found = replace(found, metadata={**found.metadata, judged.KEY: verdict})
            job.write_json(REPORT, {**report, judged.KEY: verdict})
        return found

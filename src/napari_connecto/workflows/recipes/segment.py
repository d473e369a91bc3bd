"""What segment and predict do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.workflows.adapt.contrast import CALLS, notices_job
from napari_connecto.workflows.ood.check import CALLS as OOD_CALLS
from napari_connecto.workflows.ood.check import TILES
from napari_connecto.workflows.ood.document import KEY, stated
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.entries.segment import Predict, Segment
from napari_connecto.workflows.recipes.guard import guard_beside, judged_lines
from napari_connecto.workflows.recipes.parts import clipped_lines, model_folder, tuned_params
from napari_connecto.workflows.segment.estimate import SegmentEstimate, estimate_segment_job
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict_job
from napari_connecto.workflows.segment.segment import segment_job
from napari_connecto.workflows.shared.filling import tiles_in
from napari_connecto.workflows.shared.spec import open_spec

BOUNDARY = "boundary"
"""Task of the models whose membranes have a contrast to look for."""
STATED = ("boundary_threshold", "merge_threshold", "min_size")
"""Parameters that the summary states."""


def segment(run: Segment, client: Any) -> Job[Summary]:
    """Segment an image by a model, or a boundary map."""
    volume, model, params = _inputs(run)
    folder = None if run.model is None else model_folder(run.model)
    guard = guard_beside(run.error_map, folder, model, "a guard judges the answer of a model; give the model")
    told: list[str] = []
    gate, phases = None, Phases({"contrast": 0, "segmenting": 1})
    if model is not None and run.model is not None:
        phases = Phases({"contrast": CALLS, "segmenting": TILES * OOD_CALLS + tiles_in(volume, model, run.region)})
        told = yield from phases.run("contrast", notices_job(volume, model))
        gate = load_gate(model_folder(run.model))
    where: dict[str, Any] = {"out": run.out, "region": run.region, "client": client, "guard": guard}
    labels = yield from phases.run("segmenting", segment_job(volume, params, model=model, gate=gate, **where))
    count, level, seen = int(labels.metadata["segments"]), labels.levels[0], stated(labels.metadata)
    shown = ", ".join(f"{name} {getattr(params, name)}" for name in STATED)
    voxel = " x ".join(f"{v:.4g}" for v in level.voxel_nm)
    made = f"{count} segments ({shown}) in {' x '.join(map(str, level.shape))} voxels of {voxel} nm"
    lines = [*told, *clipped_lines(run.region, volume), made, labels.metadata["reason"]]
    lines += [*([seen["sentence"]] if seen else []), *judged_lines(labels.metadata, run.out)]
    return Summary(run.out, lines, {"segments": count, "mode": labels.metadata["mode"], KEY: seen or None})


def segment_cost_job(run: Segment) -> Job[SegmentEstimate]:
    """What `segment` would cost."""
    volume, model, params = _inputs(run)
    return (yield from estimate_segment_job(volume, params, model=model, region=run.region, out=run.out))


def _inputs(run: Segment) -> tuple[Volume, Predictor | None, SegmentParams]:
    volume = open_spec(run.volume)
    if run.model is None:
        return volume, None, run.params.over(SegmentParams())
    model = load_model(model_folder(run.model), backend=run.backend, tile=run.tile)
    return volume, model, run.params.over(replace(tuned_params(run.model), mode=SegmentParams().mode))


def predict(run: Predict, client: Any) -> Job[Summary]:
    """Run a model."""
    folder = model_folder(run.model)
    model = load_model(folder, backend=run.backend, tile=run.tile)
    guard = guard_beside(run.error_map, folder, model)
    volume, gate = open_spec(run.volume), load_gate(folder)
    looked = model.card.task == BOUNDARY
    phases = Phases({"contrast": CALLS * looked, "predicting": TILES * OOD_CALLS + tiles_in(volume, model, run.region)})
    notices = (yield from phases.run("contrast", notices_job(volume, model))) if looked else []
    job = predict_job(volume, model, out=run.out, region=run.region, client=client, gate=gate, guard=guard)
    found = yield from phases.run("predicting", job)
    told = stated(found.metadata)
    made = f"{', '.join(found.metadata['outputs'])} at {found.levels[0].shape}"
    lines = [*notices, *clipped_lines(run.region, volume), made, told["sentence"]]
    return Summary(run.out, [*lines, *judged_lines(found.metadata, run.out)], {KEY: told})

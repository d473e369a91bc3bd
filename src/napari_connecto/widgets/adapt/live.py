"""Live segmentation: boundary map and segments of the chosen model over what is in view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.shared.boundary_models import load
from napari_connecto.widgets.shared.commands import HERE, RunOn
from napari_connecto.widgets.shared.live.live import OPEN_IMAGE, LiveButton
from napari_connecto.widgets.shared.live.request import Look, Request
from napari_connecto.widgets.viewer.mesa import torch_job

if TYPE_CHECKING:
    from pathlib import Path

    from napari_connecto.compute.live.job import Asked
    from napari_connecto.compute.live.mosaic import Blocks
    from napari_connecto.core.volume import Volume
    from napari_connecto.widgets.adapt.dock import AdaptWidget
    from napari_connecto.workflows.segment.params import SegmentParams

BOUNDARY, SEGMENTS = "live boundary", "live segments (per tile)"


def live_button(dock: AdaptWidget) -> LiveButton:
    """The button *Live* of the dock, in its footer."""
    changes = (dock.image.changed, dock.project.changed, dock.segment.form.changed)
    jobs = [body.bar for body in dock.bodies]
    return LiveButton(
        dock.project.viewer, dock.live_line, jobs, lambda: _request(dock), changes, lambda: _missing(dock)
    )


def _missing(dock: AdaptWidget) -> str:
    if dock.image.layer is None:
        return OPEN_IMAGE
    return "" if dock.segment.kept_model() is not None else "choose a model in step 1"


def live_segments_job(
    volume: Volume, model: Path, params: SegmentParams, run_on: RunOn, asked: Asked, blocks: Blocks
) -> Job[None]:
    """Segment what is asked for; here, or on the cluster at the chosen address."""
    yield from torch_job()
    from napari_connecto.compute.live.job import live_job
    from napari_connecto.workflows.segment.live import LiveSegments

    yield Progress(0, 0, "loading the model")
    predictor: Any = load(model)
    with (run_on if run_on.scheduler else HERE).client() as client:
        yield from live_job(LiveSegments(volume, predictor, params, blocks, client), asked)


def _request(dock: AdaptWidget) -> Request:
    project, segment = dock.project, dock.segment
    project.image.settle()
    project.need_settled()
    kept = segment.kept_model()
    if kept is None:
        raise InputError("no model is chosen; choose one in step 1")
    volume, canvas, params, run_on = project.volume(), project.canvas(), segment.form.value, segment.run_on.value
    looks = {
        "boundary": Look(
            BOUNDARY, {"contrast_limits": (0.0, 1.0), "colormap": "inferno", "blending": "additive", "opacity": 0.7}
        ),
        "segments": Look(SEGMENTS, {"opacity": 0.4}),
    }
    changed = (kept.folder / "card.json").stat().st_mtime
    return Request(
        canvas.image,
        canvas.finest,
        volume,
        (kept.folder, changed, volume.outline(), project.invert),
        lambda asked, blocks: live_segments_job(volume, kept.folder, params, run_on, asked, blocks),
        looks,
    )

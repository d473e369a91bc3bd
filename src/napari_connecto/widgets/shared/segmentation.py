"""Segmentation from a dock: the request, its cost, and the job; no Qt, no napari."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.boundary_models import guard_for, load
from napari_connecto.widgets.shared.task import Task
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.workflows.recipes.entries.run import Given
from napari_connecto.workflows.recipes.entries.segment import Segment
from napari_connecto.workflows.segment.params import SegmentParams

if TYPE_CHECKING:
    from napari_connecto.workflows.ood.check import OodCheck
    from napari_connecto.workflows.segment.estimate import SegmentEstimate


@dataclass(frozen=True)
class Segmenting(Task[SegmentParams]):
    """A segmentation by the boundary model ``model``; ``region`` in voxels of the finest level, None for all."""

    region: Box | None = None

    def run(self) -> Segment:
        """The equivalent run of the shell and of recipes; the backend is the dock's, so the voxels are the same."""
        return Segment(
            volume=self.file,
            model=str(self.model),
            region=self.region,
            backend="torch",
            error_map=self.error_map,
            params=Given(SegmentParams, asdict(self.params)),
            out=str(self.out),
        )


def segment_cost_job(what: Segmenting) -> Job[SegmentEstimate]:
    """Cost of a segmentation; two tiles are timed here."""
    yield from torch_job()
    yield Progress(0, 0, "loading the model")
    from napari_connecto.workflows.segment.estimate import estimate_segment_job

    where: dict[str, Any] = {"region": what.region, "out": what.out}
    return (yield from estimate_segment_job(what.volume, what.params, model=load(what.model), **where))


def check_job(what: Segmenting) -> Job[OodCheck]:
    """Out-of-distribution check of the volume for the model."""
    yield from torch_job()
    from napari_connecto.workflows.ood.check import BEFORE_BYTES, gate_check_job
    from napari_connecto.workflows.ood.files import load_gate

    model, gate = load(what.model), load_gate(what.model)
    return (yield from gate_check_job(what.volume, model, gate, region=what.region, most_bytes=BEFORE_BYTES))


def segmenting_job(what: Segmenting) -> Job[Volume]:
    """Segment here or on a cluster, and write the recipe to the result folder."""
    yield from torch_job()
    yield Progress(0, 0, "loading the model")
    from napari_connecto.workflows.ood.files import load_gate
    from napari_connecto.workflows.segment.segment import segment_job

    model, gate = load(what.model), what.check or load_gate(what.model)
    how: dict[str, Any] = {"model": model, "out": what.out, "region": what.region, "gate": gate}
    how["guard"] = guard_for(what.error_map, what.model)
    made = yield from what.job(lambda client: segment_job(what.volume, what.params, client=client, **how))
    what.keep_recipe()
    return made

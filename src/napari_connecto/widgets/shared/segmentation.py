"""Segmentation from a dock: the request, its cost, and the job; no Qt, no napari."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.boundary_models import load
from napari_connecto.widgets.shared.commands import HERE, RunOn, file_spec
from napari_connecto.widgets.shared.mesa import torch_job
from napari_connecto.workflows.recipes.entries.run import Given
from napari_connecto.workflows.recipes.entries.segment import Segment
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.workflows.ood.check import OodCheck
    from napari_connecto.workflows.segment.estimate import SegmentEstimate


@dataclass(frozen=True)
class Segmenting:
    """The inputs of one segmentation; ``region`` in voxels of the volume's finest level, None for all.

    ``check`` is the out-of-distribution check, if it was made already; ``run_on`` is where it runs and does not change
    the result.
    """

    volume: Volume
    spec: VolumeSpec | None
    model: Path
    params: SegmentParams
    region: Box | None
    out: Path
    check: OodCheck | None = field(default=None, compare=False)
    run_on: RunOn = field(default=HERE, compare=False)

    def run(self) -> Segment:
        """The same as a run of its own; the network runs as here, so that the voxels are the same.

        Raises
        ------
        InputError
            If the volume is not stored in a file.
        """
        return Segment(
            volume=file_spec(self.volume.name, self.spec),
            model=str(self.model),
            region=self.region,
            backend="torch",
            params=Given(SegmentParams, asdict(self.params)),
            out=str(self.out),
        )


def segment_cost_job(what: Segmenting) -> Job[SegmentEstimate]:
    """Cost of a segmentation; two tiles are timed here."""
    yield from torch_job()
    yield Progress(0, 0, "loading the model")
    from napari_connecto.workflows.segment.estimate import estimate_segment_job

    model = load(what.model)
    return (yield from estimate_segment_job(what.volume, what.params, model=model, region=what.region, out=what.out))


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
    from napari_connecto.workflows.recipes.recipe import write_recipe
    from napari_connecto.workflows.segment.segment import segment_job

    model, gate = load(what.model), what.check or load_gate(what.model)
    yield Progress(0, 0, what.run_on.starting)
    with what.run_on.client() as client:
        made = yield from segment_job(
            what.volume, what.params, model=model, out=what.out, region=what.region, client=client, gate=gate
        )
    if what.spec is not None:
        write_recipe(what.run(), what.out / "recipe.yaml")
    return made

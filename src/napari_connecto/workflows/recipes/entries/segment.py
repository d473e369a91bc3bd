"""What a model makes of an image: segment, predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, loading
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.recipes.entries.run import (
    MODEL,
    Backend,
    Given,
    OnImage,
    Summary,
    backend_field,
    error_map_field,
    region_field,
    tile_field,
)
from napari_connecto.workflows.segment.params import SegmentParams

if TYPE_CHECKING:
    from napari_connecto.workflows.segment.estimate import SegmentEstimate


@dataclass(frozen=True, kw_only=True)
class Segment(OnImage):
    """Segment PATH into instances; parameters that are not given are those tuned with the model."""

    workflow: ClassVar[str] = "segment"
    clustered: ClassVar[bool] = True
    estimates: ClassVar[bool] = True

    model: str | None = param(None, f"{MODEL} Without it PATH is a boundary map.", role="model")
    region: Box | None = region_field()
    backend: Backend = backend_field()
    tile: Vec3 | None = tile_field()
    error_map: bool = error_map_field()
    params: Given[SegmentParams] = param(Given(SegmentParams), "How it segments.")

    def job(self, client: Any) -> Job[Summary]:
        """Segment an image by a model, or a boundary map."""
        from napari_connecto.workflows.recipes.segment import segment

        return segment(self, client)

    def estimate_job(self) -> Job[SegmentEstimate]:
        """What it would cost; two tiles are timed."""
        yield loading("torch")
        from napari_connecto.workflows.recipes.segment import segment_cost_job

        return (yield from segment_cost_job(self))


@dataclass(frozen=True, kw_only=True)
class Predict(OnImage):
    """Run a model on PATH and write the prediction as OME-Zarr."""

    workflow: ClassVar[str] = "predict"
    clustered: ClassVar[bool] = True

    model: str = param(REQUIRED, MODEL, role="model")
    region: Box | None = region_field()
    backend: Backend = backend_field()
    tile: Vec3 | None = tile_field()
    error_map: bool = error_map_field()

    def job(self, client: Any) -> Job[Summary]:
        """Run the model."""
        from napari_connecto.workflows.recipes.segment import predict

        return predict(self, client)

"""Why did a model miss something? why-missed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.inspect.missed.params import MissedParams
from napari_connecto.workflows.recipes.entries.run import MODEL, OnImage, Summary, region_field
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@dataclass(frozen=True, kw_only=True)
class WhyMissed(OnImage):
    """Find the stages and channels of MODEL that carry a failure in PATH, from a run that did better.

    The better run is the same scene in a better version (--good), or a better model of the same architecture
    (--good-model), or both.
    """

    workflow: ClassVar[str] = "why-missed"

    model: str = param(REQUIRED, f"{MODEL} The one that missed.", role="model")
    good: VolumeSpec | None = param(None, "The same scene, better: of the same shape as PATH.", role="image")
    good_model: str | None = param(None, "A model of the same architecture that does better.", role="model")
    missed: VolumeSpec = param(
        REQUIRED, "Labels, not 0 on a few pixels where the output should be high and is not.", role="image"
    )
    background: VolumeSpec = param(
        REQUIRED, "Labels, not 0 on a few pixels where the output should be low.", role="image"
    )
    out: str = param(REQUIRED, "Folder of the result; a new one, or empty.", role="out")
    region: Box | None = region_field("Only pixels painted in this box, in voxels of the finest level.")
    params: MissedParams = param(MissedParams(), "How the miss is traced.")

    def job(self, client: Any) -> Job[Summary]:
        """Compare both runs."""
        from napari_connecto.workflows.recipes.why_missed import why_missed

        return why_missed(self)

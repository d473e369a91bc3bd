"""How small can a model be: prune."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.recipes.entries.run import MODEL, OnImage, Summary
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@dataclass(frozen=True, kw_only=True)
class Prune(OnImage):
    """Make a smaller, faster model of a model, retrained on PATH without labels and measured on a held-out part."""

    workflow: ClassVar[str] = "prune"
    reports: ClassVar[bool] = False

    model: str = param(REQUIRED, MODEL, role="model")
    out: str = param(REQUIRED, "Folder of the new model and its figures; the old model stays.", role="out")
    labels: VolumeSpec | None = param(
        None, "Labels on the same grid: half of the target where there are some, and VI is measured.", role="labels"
    )
    params: PruneParams = param(PruneParams(), "What is removed, and how the rest is retrained.")

    def job(self, client: Any) -> Job[Summary]:
        """Prune, measure and keep a model."""
        from napari_connecto.workflows.recipes.prune import prune

        return prune(self)

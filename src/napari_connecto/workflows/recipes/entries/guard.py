"""Guard a model: fit a guard, check an answer with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.inspect.guard.params import CheckParams, GuardParams
from napari_connecto.workflows.recipes.entries.run import MODEL, OnImage, Summary, region_field
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@dataclass(frozen=True, kw_only=True)
class GuardFit(OnImage):
    """Fit a guard to a model from the image PATH and its LABELS; `guard check` then tells where answers are wrong."""

    workflow: ClassVar[str] = "guard-fit"
    command: ClassVar[str] = "guard fit"
    arguments: ClassVar[Sequence[str]] = ("volume", "labels")
    reports: ClassVar[bool] = False

    labels: VolumeSpec = param(REQUIRED, "Labels of the image: any readable volume on its grid.", role="labels")
    model: str = param(REQUIRED, MODEL, role="model")
    out: str = param("", "Folder that gets the guard; default: the model's own.", role="out")
    params: GuardParams = param(GuardParams(), "How it is fitted.")

    def job(self, client: Any) -> Job[Summary]:
        """Fit, and save it."""
        from napari_connecto.workflows.recipes.guard import guard_fit

        return guard_fit(self)

    def recipe_path(self, out: str) -> Path:
        """Beside the guard, because the folder may have the recipe of the model."""
        return Path(out) / "guard.recipe.yaml"


@dataclass(frozen=True, kw_only=True)
class GuardCheck(OnImage):
    """Check the OUTPUT of a model for PATH: a map of probable errors, predicted quality per tile, worst places."""

    workflow: ClassVar[str] = "guard-check"
    command: ClassVar[str] = "guard check"
    arguments: ClassVar[Sequence[str]] = ("volume", "output")
    clustered: ClassVar[bool] = True
    reports: ClassVar[bool] = False

    output: VolumeSpec = param(
        REQUIRED, "What the model made of the image, such as predict's boundary.zarr.", role="image"
    )
    model: str = param(REQUIRED, "A model with a guard beside it: a shipped domain or a folder.", role="model")
    region: Box | None = region_field()
    params: CheckParams = param(CheckParams(), "How it is checked.")

    def job(self, client: Any) -> Job[Summary]:
        """Check an answer."""
        from napari_connecto.workflows.recipes.guard import guard_check

        return guard_check(self, client)

"""Jobs of the step "Choose": workflow calls; no Qt, no napari.

The workflows (and torch) are imported inside the jobs, so that opening the dock loads neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_connecto.core.geometry import Box, fvec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.boundary_models import load
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.workflows.adapt.params import RankParams

if TYPE_CHECKING:
    from napari_connecto.core.model import Predictor
    from napari_connecto.workflows.adapt.contrast import Contrast
    from napari_connecto.workflows.adapt.rank import Ranking


@dataclass(frozen=True)
class Source:
    """A model to start from; ``folder`` None for an untrained one. ``adabn``, ``playback``: adapted to the image."""

    name: str
    folder: Path | None
    adabn: bool = False
    playback: bool = False

    @property
    def steps(self) -> tuple[str, ...]:
        """Adaptations without labels, in order."""
        return ("playback",) * self.playback + ("adabn",) * self.adabn

    @property
    def label(self) -> str:
        """For headings and titles."""
        return self.name + " + playback" * self.playback + " + AdaBN" * self.adabn


@dataclass(frozen=True)
class Picture:
    """An image to show: array (z, y, x) of a level, kind of layer, and title (else its name)."""

    name: str
    level: Level
    kind: Literal["image", "map", "labels"] = "map"
    title: str = ""


def contrast_job(volume: Volume, folder: Path) -> Job[Contrast]:
    """Whether the volume's membranes have the contrast that a model expects."""
    yield from torch_job()
    yield Progress(0, 0, "checking the contrast")
    from napari_connecto.workflows.adapt import contrast

    return (yield from contrast.contrast_job(volume, load(folder)))


def rank_job(volume: Volume, library: Path | None, params: RankParams) -> Job[Ranking]:
    """Rank the library's models by how well they agree on the volume."""
    yield from torch_job()
    yield Progress(0, 0, "loading the library")
    from napari_connecto.workflows.adapt.rank import rank_domains_job

    return (yield from rank_domains_job(volume, library, params))


def cut(volume: Volume, card: ModelCard, box: Box) -> tuple[Level, Level]:
    """The level a model reads, and the part of it covered by ``box`` (voxels of the finest level)."""
    from napari_connecto.core.fitting import fitting_level

    level = fitting_level(volume, card)
    own = volume.levels[0].box_in(box, level).clip(level.shape)
    return level, Level(level.read(own), level.voxel_nm, fvec3(level.to_nm(own.start).tolist()))


def asked(model: Predictor, patch: Level, scaling: Scaling) -> Level:
    from napari_connecto.workflows.shared.whole import boundary_of

    return Level(boundary_of(model, scaling(np.asarray(patch.array))), patch.voxel_nm, patch.origin_nm)

"""What the step "Choose" runs off the GUI thread: workflow calls; no Qt, no napari.

The workflows (torch behind them) are imported inside the jobs, so that opening the dock loads none of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, fvec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import shipped_folder
from napari_connecto.widgets.shared.mesa import load_triton_apart, torch_job
from napari_connecto.workflows.adapt.params import RankParams, SegmentParams

if TYPE_CHECKING:
    from napari_connecto.models.inference.predictor import TorchPredictor
    from napari_connecto.workflows.adapt.contrast import Contrast
    from napari_connecto.workflows.adapt.rank import Ranking


@dataclass(frozen=True)
class Source:
    """A model to start from; ``folder`` None for an untrained one. ``adabn``, ``playback``: made used to the image."""

    name: str
    folder: Path | None
    adabn: bool = False
    playback: bool = False

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done to it before any label, in turn."""
        return ("playback",) * self.playback + ("adabn",) * self.adabn

    @property
    def label(self) -> str:
        """For a heading or a picture."""
        return self.name + " + playback" * self.playback + " + AdaBN" * self.adabn


@dataclass(frozen=True)
class Picture:
    """Something to look at: the array (z, y, x) of a level, what it is, and what is written over it (else its name)."""

    name: str
    level: Level
    kind: Literal["image", "map", "labels"] = "map"
    title: str = ""


@lru_cache(maxsize=8)
def _load(folder: Path, changed: float) -> TorchPredictor:
    from napari_connecto.models.files import load_model
    from napari_connecto.models.inference.openvino import torch_model

    return torch_model(load_model(folder, backend="torch"))


def load(folder: Path) -> TorchPredictor:
    """A model that can be trained further, kept loaded until its card changes."""
    load_triton_apart()
    card = folder / "card.json"
    return _load(folder, card.stat().st_mtime if card.exists() else 0.0)


def peek_card(folder: Path) -> ModelCard:
    """A model's card, read without loading torch."""
    try:
        card = ModelCard.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"got {folder}; a model is a folder with card.json and weights.safetensors") from error
    if card.outputs[0].name != "boundary":
        raise ModelError(f"'{card.name}' gives {card.outputs[0].name}, not boundary; choose a boundary model")
    return card


def tuned_params(folder: Path) -> SegmentParams | None:
    """The thresholds that were tuned with a model, read without loading torch; None where there are none."""
    for path, key in ((folder.parent / "segment.json", None), (folder / "domain.json", "segment")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return from_mapping(SegmentParams, document[key] if key else document)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def told_of(model: Path) -> list[str]:
    """What was done to a model before any label, in words; [] for nothing."""
    try:
        return [str(line) for line in json.loads((model.parent / "prepare.json").read_text(encoding="utf-8"))["lines"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def has_patches(folder: Path) -> bool:
    """Whether a domain comes with labelled patches of its data, which playback needs."""
    return (folder / "patches.npz").is_file()


def model_name(folder: Path) -> str:
    """What a model's folder is called: what was made lies in a folder of that name, as "model"."""
    return folder.parent.name if folder.name == "model" else folder.name


def list_job(library: Path | None) -> Job[dict[str, Path]]:
    """The domains of a library, the shipped one without a folder: folder by name."""
    yield Progress(0, 0, "listing domains")
    where = library or shipped_folder() / "domains"
    return {path.parent.name: path.parent for path in sorted(where.glob("*/domain.json"))}


def contrast_job(volume: Volume, folder: Path) -> Job[Contrast]:
    """Whether the volume's membranes are as dark, or as bright, as a model expects."""
    yield from torch_job()
    yield Progress(0, 0, "looking at the contrast")
    from napari_connecto.workflows.adapt import contrast

    return (yield from contrast.contrast_job(volume, load(folder)))


def rank_job(volume: Volume, library: Path | None, params: RankParams) -> Job[Ranking]:
    """Rank the library's domains by how near their data are to the volume."""
    yield from torch_job()
    yield Progress(0, 0, "loading the library")
    from napari_connecto.workflows.adapt.rank import rank_domains_job

    return (yield from rank_domains_job(volume, library, params))


def cut(volume: Volume, card: ModelCard, box: Box) -> tuple[Level, Level]:
    """The level a model reads, and the part of it that ``box`` (finest voxels) covers."""
    from napari_connecto.workflows.shared.fitting import fitting_level

    level = fitting_level(volume, card)
    own = volume.levels[0].box_in(box, level).clip(level.shape)
    return level, Level(level.read(own), level.voxel_nm, fvec3(level.to_nm(own.start).tolist()))


def asked(model: TorchPredictor, patch: Level, scaling: Scaling) -> Level:
    from napari_connecto.workflows.shared.whole import boundary_of

    return Level(boundary_of(model, scaling(np.asarray(patch.array))), patch.voxel_nm, patch.origin_nm)

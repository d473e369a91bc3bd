"""What the step "Choose" runs off the GUI thread: workflow calls; no Qt, no napari.

The workflows (torch behind them) are imported inside the jobs, so that opening the dock loads none of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box, fvec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Level, Volume
from napari_connecto.sample_data import shipped_folder
from napari_connecto.widgets._mesa import load_triton_apart
from napari_connecto.workflows.adapt_params import RankParams, SegmentParams

if TYPE_CHECKING:
    from napari_connecto.models.predictor import TorchPredictor
    from napari_connecto.workflows.rank import Ranking

ADABN_TILES, ADABN_BATCH = 32, 8


@dataclass(frozen=True)
class Source:
    """A model to start from; ``folder`` None for an untrained one. ``adabn``: made used to the image first."""

    name: str
    folder: Path | None
    adabn: bool = False


@dataclass(frozen=True)
class Picture:
    """Something to look at: the array (z, y, x) of a level, and what it is."""

    name: str
    level: Level
    kind: Literal["image", "map", "labels"] = "map"


@lru_cache(maxsize=8)
def _load(folder: Path, changed: float) -> TorchPredictor:
    from napari_connecto.models.files import load_model
    from napari_connecto.models.openvino import torch_model

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


def list_job(library: Path | None) -> Job[dict[str, Path]]:
    """The domains of a library, the shipped one without a folder: folder by name."""
    yield Progress(0, 0, "listing domains")
    where = library or shipped_folder() / "domains"
    return {path.parent.name: path.parent for path in sorted(where.glob("*/domain.json"))}


def rank_job(volume: Volume, library: Path | None, params: RankParams) -> Job[Ranking]:
    """Rank the library's domains by how near their data are to the volume."""
    yield Progress(0, 0, "loading the library")
    load_triton_apart()
    from napari_connecto.workflows.rank import rank_domains_job

    return (yield from rank_domains_job(volume, library, params))


def preview_job(volume: Volume, box: Box, sources: Sequence[Source], adabn: bool) -> Job[list[list[Picture | None]]]:
    """Boundary maps of several models on one patch; with ``adabn`` a second row of what it makes of them."""
    yield Progress(0, len(sources), "loading models")
    rows: list[list[Picture | None]] = [[], []]
    for n, source in enumerate(sources):
        yield Progress(n, len(sources), f"asking {source.name}")
        if source.folder is None:
            raise InputError("there is nothing to preview from scratch: an untrained model knows nothing")
        model = load(source.folder)
        level, patch = cut(volume, model.card, box)
        if n == 0:
            rows[0].append(Picture("image", patch, "image"))
            rows[1].append(None)
        rows[0].append(Picture(source.name, asked(model, patch, model.card.normalisation.resolve(volume))))
        if adabn:
            yield Progress(n, len(sources), f"making {source.name} used to the image")
            used = used_to(model, volume, level)
            picture = asked(used, patch, model.card.normalisation.resolve(volume))
            rows[1].append(Picture(f"{source.name} + AdaBN", picture))
    return rows if adabn else rows[:1]


def cut(volume: Volume, card: ModelCard, box: Box) -> tuple[Level, Level]:
    """The level a model reads, and the part of it that ``box`` (finest voxels) covers."""
    from napari_connecto.workflows.fitting import fitting_level

    level = fitting_level(volume, card)
    own = volume.levels[0].box_in(box, level).clip(level.shape)
    return level, Level(level.read(own), level.voxel_nm, fvec3(level.to_nm(own.start).tolist()))


def asked(model: TorchPredictor, patch: Level, scaling: Scaling) -> Level:
    from napari_connecto.workflows.fine_tune import boundary_of

    return Level(boundary_of(model, scaling(np.asarray(patch.array))), patch.voxel_nm, patch.origin_nm)


def used_to(model: TorchPredictor, volume: Volume, level: Level) -> TorchPredictor:
    """The model after AdaBN on tiles with tissue."""
    from napari_connecto.models.adapt import adabn
    from napari_connecto.workflows.patches import candidates

    card, scaling = model.card, model.card.normalisation.resolve(volume)
    found = candidates(level, card.tile, ADABN_TILES, 0, ()).boxes
    whole = [Box(b.start, vec3([a + n for a, n in zip(b.start, card.tile, strict=True)])) for b in found]
    tiles = [scaling(level.read_padded(box))[None] for box in whole]
    return adabn(model, [np.stack(tiles[i : i + ADABN_BATCH]) for i in range(0, len(tiles), ADABN_BATCH)])

"""Boundary models in folders: list, describe and load them; torch is imported only when a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari_connecto.core.errors import ModelError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.widgets.shared.task import until_changed
from napari_connecto.widgets.viewer.mesa import load_triton_apart
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.judged import guarded
from napari_connecto.workflows.shared.library import library_models

if TYPE_CHECKING:
    from napari_connecto.models.inference.predictor import TorchPredictor
    from napari_connecto.workflows.inspect.guard.guard import Guard


@until_changed("card.json", most=8)
def load(folder: Path) -> Predictor:
    """A model, computed by torch, cached until its card changes; an imported one cannot be trained."""
    load_triton_apart()
    from napari_connecto.models.files import load_model

    return load_model(folder, backend="torch")


def guard_for(wanted: bool, folder: Path) -> Guard | None:
    """The guard of the model in a folder, where an error map is wanted and there is a guard."""
    if not (wanted and guarded(folder)):
        return None
    from napari_connecto.workflows.inspect.guard.guard import load_guard

    return load_guard(folder, model=load(folder))


def load_trainable(folder: Path) -> TorchPredictor:
    """A model that can be trained further; raises `ModelError` for an imported one."""
    model = load(folder)
    from napari_connecto.models.inference.openvino import torch_model

    return torch_model(model)


def peek_card(folder: Path) -> ModelCard:
    """A model's card, read without loading torch."""
    try:
        card = ModelCard.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(
            f"'{folder}' is not a model; choose a folder with card.json and weights.safetensors"
        ) from error
    if card.outputs[0].name != "boundary":
        raise ModelError(f"'{card.name}' predicts {card.outputs[0].name}, not boundary; choose a boundary model")
    return card


def tuned_params(folder: Path) -> SegmentParams | None:
    """The thresholds tuned with a model, read without loading torch; None if there are none."""
    for path, key in ((folder.parent / "segment.json", None), (folder / "domain.json", "segment")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            return from_mapping(SegmentParams, document[key] if key else document)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def told_of(model: Path) -> list[str]:
    """Adaptations of a model without labels, in words; [] for none."""
    try:
        return [str(line) for line in json.loads((model.parent / "prepare.json").read_text(encoding="utf-8"))["lines"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def has_patches(folder: Path) -> bool:
    """Whether a domain has labelled patches of its data, which data playback needs."""
    return (folder / "patches.npz").is_file()


def model_name(folder: Path) -> str:
    """Display name of a model's folder; for the folder "model" of a result, the result's name."""
    return folder.parent.name if folder.name == "model" else folder.name


def list_job(library: Path | None) -> Job[dict[str, Path]]:
    """Boundary models of a library (without a folder, the shipped and the user's own): folder by name."""
    yield Progress(0, 0, "listing models")
    return library_models(library)

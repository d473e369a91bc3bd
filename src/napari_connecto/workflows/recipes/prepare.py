"""Recipe of what can be done to a model before anything is labelled; fine-tuning begins with it where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import CARD, load_model, save_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.workflows.adapt.domains import ABOUT, Domain, load_encoder
from napari_connecto.workflows.adapt.params import BEFORE_LABEL, PrepareParams
from napari_connecto.workflows.adapt.prepare import Prepared, prepare_job
from napari_connecto.workflows.recipes.parts import TUNED, model_folder, tuned_params
from napari_connecto.workflows.shared.spec import open_spec

Recipe = Mapping[str, Any]
FIGURES = "prepare.json"
"""What was done to a model before any label, in figures and in words, beside it."""
START = "start"
"""In a fine-tuning's folder: the model it began with, where that was made before any label."""


def prepare(recipe: Recipe, client: Any) -> Job[dict[str, Any]]:
    """AdaBN, playback or both on a model: ``out`` gets the model, the thresholds of the old one, and the figures."""
    params, out = from_mapping(PrepareParams, recipe.get("params") or {}), Path(recipe["out"])
    model = load_model(model_folder(recipe["model"]), device=params.device, backend="torch")
    found = yield from _prepared(recipe, model, open_spec(recipe["volume"]), str(recipe["how"]), params)
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    save_model(found.model, out / "model", overwrite=True)
    write_json(out / TUNED, asdict(tuned_params(recipe["model"])))
    write_json(out / FIGURES, {**found.figures(), "lines": found.lines()})
    return {"out": str(out), **found.figures(), "lines": found.lines()}


def before_label(recipe: Recipe) -> dict[str, Any]:
    """The entries of a fine-tuning's recipe that say what comes before any label; {} for nothing.

    Raises
    ------
    InputError
        For an unknown ``before_label``, or one of a model from scratch.
    """
    how = recipe.get("before_label", BEFORE_LABEL[0])
    if how not in BEFORE_LABEL:
        raise InputError(f"got before_label {how!r}; allowed: {', '.join(BEFORE_LABEL)}")
    if how == BEFORE_LABEL[0]:
        return {}
    if recipe.get("from_scratch"):
        raise InputError(f"got before_label '{how}' and from_scratch, which has no model to prepare; leave one out")
    return {key: recipe[key] for key in ("before_label", "source", "prepare") if key in recipe}


def start_of(recipe: Recipe, model: Predictor, volume: Volume, folder: Path) -> Job[tuple[Predictor, list[str]]]:
    """The model a fine-tuning begins with, and what was done to it; made once, then kept in the run's folder."""
    asked, kept = before_label(recipe), folder / START
    if not asked:
        return model, []
    if (kept / CARD).is_file():
        return load_model(kept, device=str(torch_model(model).device), backend="torch"), []
    params = from_mapping(PrepareParams, recipe.get("prepare") or {})
    found = yield from _prepared(recipe, model, volume, asked["before_label"], params)
    save_model(found.model, kept, overwrite=True)
    return found.model, found.lines()


def _prepared(recipe: Recipe, model: Predictor, volume: Volume, how: str, params: PrepareParams) -> Job[Prepared]:
    """Playback takes its patches from the domain ``source``, or else from the model's own."""
    if how == "adabn":
        return (yield from prepare_job(model, volume, how, params=params))
    folder = model_folder(recipe.get("source") or recipe["model"])
    if not (folder / ABOUT).is_file():
        raise InputError(
            f"playback needs patches of the data that '{recipe['model']}' learnt from, and '{folder}' is no domain; "
            "name the domain that has them as the source"
        )
    encoder = load_encoder(recipe.get("library"), device=params.device)
    return (yield from prepare_job(model, volume, how, Domain.load(folder), encoder, params))

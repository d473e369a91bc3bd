"""What prepare does: a model is adapted before anything is labelled; fine-tuning begins with it where it says so."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import CARD, load_model, save_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.workflows.adapt.domains import ABOUT, Domain, load_encoder
from napari_connecto.workflows.adapt.params import BEFORE_LABEL, PrepareParams
from napari_connecto.workflows.adapt.prepare import Prepared, prepare_job
from napari_connecto.workflows.recipes.entries.adapt import FineTune, Prepare
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import TUNED, model_folder, tuned_params
from napari_connecto.workflows.shared.spec import open_spec

FIGURES = "prepare.json"
"""What was done to a model before any label, in figures and in words, beside it."""
START = "start"
"""In a fine-tuning's folder: the model it began with, where that was made before any label."""


def prepare(run: Prepare) -> Job[Summary]:
    """AdaBN, playback or both on a model: ``out`` gets the model, the thresholds of the old one, and the figures."""
    out = Path(run.out)
    model = load_model(model_folder(run.model), device=run.params.device, backend="torch")
    found = yield from _prepared(run, model, open_spec(run.volume), run.how, run.params)
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    save_model(found.model, out / "model", overwrite=True)
    write_json(out / TUNED, asdict(tuned_params(run.model)))
    write_json(out / FIGURES, {**found.figures(), "lines": found.lines()})
    return Summary(run.out, found.lines(), found.figures())


def before_label(run: FineTune) -> dict[str, Any]:
    """What tells fine-tunings apart that begin otherwise; {} where nothing comes before any label."""
    if run.before_label == BEFORE_LABEL[0]:
        return {}
    told: dict[str, Any] = {"before_label": run.before_label}
    told |= {"source": run.source} if run.source else {}
    return told | ({"prepare": asdict(run.prepare)} if run.prepare != PrepareParams() else {})


def start_of(run: FineTune, model: Predictor, volume: Volume, folder: Path) -> Job[tuple[Predictor, list[str]]]:
    """The model a fine-tuning begins with, and what was done to it; made once, then kept in the run's folder."""
    kept = folder / START
    if run.before_label == BEFORE_LABEL[0]:
        return model, []
    if (kept / CARD).is_file():
        return load_model(kept, device=str(torch_model(model).device), backend="torch"), []
    found = yield from _prepared(run, model, volume, run.before_label, run.prepare)
    save_model(found.model, kept, overwrite=True)
    return found.model, found.lines()


def _prepared(
    run: Prepare | FineTune, model: Predictor, volume: Volume, how: str, params: PrepareParams
) -> Job[Prepared]:
    """Playback takes its patches from the domain ``source``, or else from the model's own."""
    if how == "adabn":
        return (yield from prepare_job(model, volume, how, params=params))
    folder = model_folder(run.source or run.model)
    if not (folder / ABOUT).is_file():
        raise InputError(
            f"playback needs patches of the data that '{run.model}' was trained on, and '{folder}' is not a domain; "
            "name the domain that has them as the source"
        )
    encoder = load_encoder(run.library, device=params.device)
    return (yield from prepare_job(model, volume, how, Domain.load(folder), encoder, params))

"""What concepts and probe do."""

from __future__ import annotations

import re
from pathlib import Path

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, loading
from napari_connecto.core.model import Predictor
from napari_connecto.models.files import CARD, load_model, save_model
from napari_connecto.workflows.inspect.concepts.measure import concepts_job
from napari_connecto.workflows.inspect.probe import probe_job
from napari_connecto.workflows.recipes.entries.concepts import FindConcepts, MakeProbe
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import model_folder
from napari_connecto.workflows.shared.spec import open_spec


def find_concepts(run: FindConcepts) -> Job[Summary]:
    """Read a concept from a model, its checkpoints and its other sizes."""
    yield loading("torch")
    steps = numbered_models(run.model)
    models: dict[float, Predictor] = {float(step): model for step, model in steps.items()}
    models = models or {0.0: load_model(model_folder(run.model), backend="torch")}
    sizes = numbered_models(run.sizes) if run.sizes is not None else {}
    if run.sizes is not None and not sizes:
        raise InputError(f"'{run.sizes}' holds no model in a folder whose name ends in a number, such as width-8")
    volume, masks = open_spec(run.volume), open_spec(run.masks)
    found = yield from concepts_job(models, volume, masks, run.params, sizes=sizes, region=run.region)
    found.save(run.out)
    figures = {"concepts": found.concepts, "stages": found.stages, "checkpoints": len(models), "sizes": len(sizes)}
    return Summary(run.out, list(found.lines()), figures)


def numbered_models(folder: str) -> dict[int, Predictor]:
    """Models in the folders of a folder, by the number at the end of their names; empty if it is a model itself."""
    path = Path(folder)
    if not path.is_dir() or (path / CARD).is_file():
        return {}
    inner = {int(m[1]): p for p in path.iterdir() if (p / CARD).is_file() and (m := re.search(r"(\d+)$", p.name))}
    return {number: load_model(inner[number], backend="torch") for number in sorted(inner)}


def make_probe(run: MakeProbe) -> Job[Summary]:
    """Fit a pixel classifier and save it."""
    if (Path(run.out) / CARD).exists():
        raise InputError(f"'{run.out}' holds a model already; choose another folder")
    yield loading("torch")
    model = load_model(model_folder(run.model), backend="torch")
    volume, scribbles = open_spec(run.volume), open_spec(run.scribbles)
    found = yield from probe_job(model, volume, scribbles, run.params, region=run.region)
    save_model(found, run.out)
    metrics = found.card.metrics
    lines = [f"{name}: {count} pixels" for name, count in metrics["pixels"].items()]
    lines += [f"{name}: average precision on strokes left out {ap:.2f}" for name, ap in metrics["held_out_ap"].items()]
    return Summary(run.out, lines, dict(metrics))

"""What prune does: a smaller model in a folder of its own, with the thresholds and the domain of the old one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from napari_connecto.core.jobs import Job
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import load_model, save_model
from napari_connecto.workflows.adapt.domains import ABOUT, Domain, save_about
from napari_connecto.workflows.inspect.prune.prune import prune_job
from napari_connecto.workflows.inspect.prune.result import Pruned
from napari_connecto.workflows.recipes.entries.prune import Prune
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import TUNED, model_folder, tuned_params
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.spec import open_spec

FIGURES = "prune.json"
"""What was measured, beside the model."""


def prune(run: Prune) -> Job[Summary]:
    """Prune: ``out`` gets the model, its thresholds and figures; of a domain's model, a domain that `rank` knows."""
    out, folder = Path(run.out), model_folder(run.model)
    model = load_model(folder, device=run.params.device, backend="torch")
    labels = None if run.labels is None else open_spec(run.labels)
    thresholds = tuned_params(run.model)
    found = yield from prune_job(model, open_spec(run.volume), run.params, labels=labels, segmentation=thresholds)
    save_pruned(found, folder, out, thresholds)
    return Summary(run.out, found.lines(), found.figures())


def save_pruned(found: Pruned, folder: Path, out: Path, thresholds: SegmentParams) -> None:
    """The model, its thresholds and figures in ``out``; of a domain's model in ``folder``, a domain again."""
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    save_model(found.model, out / "model", overwrite=True)
    if (folder / ABOUT).is_file():
        domain = Domain.load(folder)
        save_about(out / "model", {**domain.about, "pruned_from": domain.name}, domain.features)
    write_json(out / TUNED, asdict(thresholds))
    write_json(out / FIGURES, {**found.figures(), "lines": found.lines()})

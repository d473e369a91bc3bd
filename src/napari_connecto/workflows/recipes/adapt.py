"""What rank, suggest and train-domain do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from napari_connecto.core.jobs import Job
from napari_connecto.core.phases import Phases
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import load_model
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import suggest_job
from napari_connecto.workflows.adapt.contrast import CALLS, notices_job
from napari_connecto.workflows.adapt.domains import load_encoder
from napari_connecto.workflows.adapt.library_candidates import load_models
from napari_connecto.workflows.adapt.rank import calls, rank_domains_job
from napari_connecto.workflows.adapt.train_domain import train_domain_job
from napari_connecto.workflows.recipes.entries.adapt import Rank, Suggest, TrainDomain
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import model_folder
from napari_connecto.workflows.shared.spec import open_spec


def rank(run: Rank) -> Job[Summary]:
    """Rank models; with ``out``, ``ranking.json`` is written there."""
    volume, models = open_spec(run.volume), load_models(run.library)
    phases = Phases({"ranking": calls(len(models), run.params), "contrast": CALLS})
    ranking = yield from phases.run("ranking", rank_domains_job(volume, run.library, run.params))
    first = load_model(models[ranking.ranks[0].name].folder)
    told = yield from phases.run("contrast", notices_job(volume, first))
    if run.out:
        with storing(Path(run.out)):
            Path(run.out).mkdir(parents=True, exist_ok=True)
        write_json(Path(run.out) / "ranking.json", {**ranking.to_json(), "notices": [*ranking.notices, *told]})
    figures = {"best": ranking.best.name if ranking.best else None, "ranks": [entry.row() for entry in ranking.ranks]}
    return Summary(run.out, [*ranking.lines(), *told], figures)


def suggest(run: Suggest) -> Job[Summary]:
    """Suggest patches into a session's folder ``out``; those it has already are left out."""
    volume, model = open_spec(run.volume), load_model(model_folder(run.model))
    with closing(Session.open(run.out, volume, model.card, spec=run.volume, model=run.model)) as session:
        taken, held = ([p.box for p in session.patches if p.held_out == out] for out in (False, True))
        encoder = load_encoder(run.library)
        found = yield from suggest_job(
            volume, model, run.n, exclude=taken, held_out=held, encoder=encoder, params=run.params
        )
        added = session.add(found)
    lines = [
        f"patch {p.id}: z y x {p.box.start} to {p.box.stop}{', held out' if p.held_out else ''}: {p.reason}"
        for p in added
    ]
    lines += [found.note] if found.note else []
    return Summary(run.out, lines, {"patches": [p.id for p in added]})


def train_domain(run: TrainDomain) -> Job[Summary]:
    """Make a domain."""
    volume, labels, encoder = open_spec(run.volume), open_spec(run.labels), load_encoder(run.library)
    domain = yield from train_domain_job(run.name, volume, labels, run.out, encoder, run.params, run.about)
    figures = ", ".join(f"{name} {value:.3f}" for name, value in domain.card.metrics.items())
    return Summary(run.out, [f"{domain.name}: on the held-out block {figures}"])

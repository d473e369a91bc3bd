"""Recipes of the workflow "adapt to my data": rank, suggest, prepare, fine-tune, segment, predict, train-domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.models.files import load_model
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.annotate.suggest import suggest_job
from napari_connecto.workflows.adapt.contrast import CALLS, notices_job
from napari_connecto.workflows.adapt.domains import load_encoder, load_library
from napari_connecto.workflows.adapt.params import DomainParams, RankParams, SuggestParams
from napari_connecto.workflows.adapt.rank import rank_domains_job
from napari_connecto.workflows.adapt.train_domain import About, train_domain_job
from napari_connecto.workflows.ood.check import CALLS as OOD_CALLS
from napari_connecto.workflows.ood.check import TILES
from napari_connecto.workflows.ood.document import KEY, stated
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.recipes.parts import model_folder, region_lines, region_of, tile_of, tuned_params
from napari_connecto.workflows.recipes.prepare import prepare
from napari_connecto.workflows.recipes.tune import fine_tune
from napari_connecto.workflows.segment.estimate import SegmentEstimate, estimate_segment_job
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict_job
from napari_connecto.workflows.segment.segment import segment_job
from napari_connecto.workflows.shared.filling import tiles_in
from napari_connecto.workflows.shared.spec import open_spec

BOUNDARY = "boundary"
"""Task of the models whose membranes have a contrast to look for."""
Recipe = Mapping[str, Any]
Summary = dict[str, Any]


def rank(recipe: Recipe, client: Any) -> Job[Summary]:
    """Rank domains; with ``out``, ``ranking.json`` is written there."""
    params = from_mapping(RankParams, recipe.get("params") or {})
    volume, library = open_spec(recipe["volume"]), recipe.get("library")
    domains = load_library(library)
    # a call takes about as long as the features of eight patches
    phases = Phases({"ranking": len(domains) * params.patches / 8, "contrast": CALLS})
    ranking = yield from phases.run("ranking", rank_domains_job(volume, library, params))
    told = yield from phases.run("contrast", notices_job(volume, domains[ranking.ranks[0].name].model()))
    rows = [entry.row() for entry in ranking.ranks]
    if recipe.get("out"):
        out = _folder(recipe)
        write_json(out / "ranking.json", {**ranking.to_json(), "notices": told})
    best = ranking.best.name if ranking.best else None
    return {"out": recipe.get("out"), "best": best, "ranks": rows, "lines": [*ranking.lines(), *told]}


def suggest(recipe: Recipe, client: Any) -> Job[Summary]:
    """Suggest patches into a session's folder ``out``; those it has already are left out."""
    params, volume = from_mapping(SuggestParams, recipe.get("params") or {}), open_spec(recipe["volume"])
    model = load_model(model_folder(recipe["model"]))
    session = Session.open(recipe["out"], volume, model.card, spec=recipe["volume"], model=str(recipe["model"]))
    with closing(session):
        taken, held = ([p.box for p in session.patches if p.held_out == out] for out in (False, True))
        encoder = load_encoder(recipe.get("library"))
        found = yield from suggest_job(
            volume, model, int(recipe.get("n", 4)), exclude=taken, held_out=held, encoder=encoder, params=params
        )
        added = session.add(found)
    lines = [
        f"patch {p.id}: z y x {p.box.start} to {p.box.stop}{', held out' if p.held_out else ''}: {p.reason}"
        for p in added
    ]
    lines += [found.note] if found.note else []
    return {"out": str(recipe["out"]), "patches": [p.id for p in added], "lines": lines}


def segment(recipe: Recipe, client: Any) -> Job[Summary]:
    """Segment an image by a model, or a boundary map; thresholds not given are those tuned with the model."""
    volume, params, model = _segmenting(recipe)
    told: list[str] = []
    gate, region = None, region_of(recipe)
    phases = Phases({"contrast": 0, "segmenting": 1})
    if model is not None:
        phases = Phases({"contrast": CALLS, "segmenting": TILES * OOD_CALLS + tiles_in(volume, model, region)})
        told = yield from phases.run("contrast", notices_job(volume, model))
        gate = load_gate(model_folder(recipe["model"]))
    where: dict[str, Any] = {"out": recipe["out"], "region": region, "client": client}
    labels = yield from phases.run("segmenting", segment_job(volume, params, model=model, gate=gate, **where))
    count, level = int(labels.metadata["segments"]), labels.levels[0]
    shown = ", ".join(f"{k} {getattr(params, k)}" for k in ("boundary_threshold", "merge_threshold", "min_size"))
    voxel = " x ".join(f"{v:.4g}" for v in level.voxel_nm)
    made = f"{count} segments ({shown}) in {' x '.join(map(str, level.shape))} voxels of {voxel} nm"
    lines, seen = [*told, *region_lines(recipe, volume), made, labels.metadata["reason"]], stated(labels.metadata)
    if seen:
        lines.append(seen["sentence"])
    mode = labels.metadata["mode"]
    return {"out": str(recipe["out"]), "segments": count, "mode": mode, KEY: seen or None, "lines": lines}


def segment_cost(recipe: Recipe) -> Job[SegmentEstimate]:
    """What `segment` would cost."""
    volume, params, model = _segmenting(recipe)
    return (yield from estimate_segment_job(volume, params, model=model, region=region_of(recipe), out=recipe["out"]))


def _segmenting(recipe: Recipe) -> tuple[Volume, SegmentParams, Predictor | None]:
    volume, given = open_spec(recipe["volume"]), dict(recipe.get("params") or {})
    if not recipe.get("model"):
        return volume, from_mapping(SegmentParams, given), None
    given = {**asdict(tuned_params(recipe["model"])), "mode": SegmentParams().mode, **given}
    model = load_model(model_folder(recipe["model"]), backend=recipe.get("backend", "auto"), tile=tile_of(recipe))
    return volume, from_mapping(SegmentParams, given), model


def predict(recipe: Recipe, client: Any) -> Job[Summary]:
    """Run a model."""
    folder = model_folder(recipe["model"])
    model = load_model(folder, backend=recipe.get("backend", "auto"), tile=tile_of(recipe))
    volume, gate, region = open_spec(recipe["volume"]), load_gate(folder), region_of(recipe)
    looked = model.card.task == BOUNDARY
    work = TILES * OOD_CALLS + tiles_in(volume, model, region)
    phases = Phases({"contrast": CALLS * looked, "predicting": work})
    notices = (yield from phases.run("contrast", notices_job(volume, model))) if looked else []
    job = predict_job(volume, model, out=recipe["out"], region=region, client=client, gate=gate)
    found = yield from phases.run("predicting", job)
    told = stated(found.metadata)
    made = f"{', '.join(found.metadata['outputs'])} at {found.levels[0].shape}"
    lines = [*notices, *region_lines(recipe, volume), made, told["sentence"]]
    return {"out": str(recipe["out"]), KEY: told, "lines": lines}


def train_domain(recipe: Recipe, client: Any) -> Job[Summary]:
    """Make a domain."""
    params = from_mapping(DomainParams, recipe.get("params") or {})
    about, library = from_mapping(About, recipe.get("about") or {}), recipe.get("library")
    domain = yield from train_domain_job(
        str(recipe["name"]),
        open_spec(recipe["volume"]),
        open_spec(recipe["labels"]),
        recipe["out"],
        load_encoder(library),
        params,
        about,
    )
    figures = ", ".join(f"{name} {value:.3f}" for name, value in domain.card.metrics.items())
    return {"out": str(recipe["out"]), "lines": [f"{domain.name}: on the held-out block {figures}"]}


def _folder(recipe: Recipe) -> Path:
    out = Path(recipe["out"])
    with storing(out):
        out.mkdir(parents=True, exist_ok=True)
    return out


WORKFLOWS: dict[str, Callable[[Recipe, Any], Job[Summary]]] = {
    "rank": rank,
    "suggest": suggest,
    "fine-tune": fine_tune,
    "segment": segment,
    "predict": predict,
    "train-domain": train_domain,
    "prepare": prepare,
}
ENTRIES: dict[str, tuple[set[str], set[str]]] = {
    "rank": ({"volume"}, {"library", "params", "out"}),
    "suggest": ({"volume", "model", "out"}, {"n", "params", "library"}),
    "fine-tune": (
        {"volume", "model", "session", "out"},
        {"params", "labels", "label_kind", "from_scratch", "before_label", "source", "library", "prepare"},
    ),
    "segment": ({"volume", "out"}, {"model", "params", "region", "backend", "tile"}),
    "predict": ({"volume", "model", "out"}, {"region", "backend", "tile"}),
    "train-domain": ({"name", "volume", "labels", "out"}, {"params", "about", "library"}),
    "prepare": ({"volume", "model", "out", "how"}, {"params", "source", "library"}),
}
"""Entries that a workflow's recipe must have, and may have."""

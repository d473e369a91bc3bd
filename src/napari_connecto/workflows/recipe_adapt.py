"""Recipes of the workflow "adapt to my data": rank, suggest, prepare, fine-tune, segment, predict, train-domain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import storing, write_json
from napari_connecto.io.job_folder import JobFolder
from napari_connecto.models.adapter import save_adapter
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.predictor import TorchPredictor
from napari_connecto.workflows.adapt_params import (
    DomainParams,
    FineTuneParams,
    RankParams,
    SegmentParams,
    SuggestParams,
)
from napari_connecto.workflows.compare import Comparison, compare_job, tune
from napari_connecto.workflows.convert import open_spec
from napari_connecto.workflows.domains import load_encoder
from napari_connecto.workflows.em_labels import to_em
from napari_connecto.workflows.em_samples import Example, nearest
from napari_connecto.workflows.fine_tune import fine_tune_job, labels_hash
from napari_connecto.workflows.gate_files import load_gate
from napari_connecto.workflows.predict import predict_job
from napari_connecto.workflows.rank import rank_domains_job
from napari_connecto.workflows.recipe_parts import TUNED, model_folder, region_of, tuned_params
from napari_connecto.workflows.recipe_prepare import before_label, prepare, start_of
from napari_connecto.workflows.segment import segment_job
from napari_connecto.workflows.session import Session
from napari_connecto.workflows.suggest import suggest_job
from napari_connecto.workflows.train_domain import About, train_domain_job

Recipe = Mapping[str, Any]
Summary = dict[str, Any]
STOP = "stop"
"""A file of this name in a fine-tuning's folder stops it and keeps the best."""


def rank(recipe: Recipe, client: Any) -> Job[Summary]:
    """Rank domains; with ``out``, ``ranking.json`` is written there."""
    params = from_mapping(RankParams, recipe.get("params") or {})
    ranking = yield from rank_domains_job(open_spec(recipe["volume"]), recipe.get("library"), params)
    rows = [entry.row() for entry in ranking.ranks]
    if recipe.get("out"):
        out = _folder(recipe)
        write_json(out / "ranking.json", {"ranks": rows, "limit": ranking.limit, "encoder": ranking.space})
    best = ranking.best.name if ranking.best else None
    return {"out": recipe.get("out"), "best": best, "ranks": rows, "lines": ranking.lines()}


def suggest(recipe: Recipe, client: Any) -> Job[Summary]:
    """Suggest patches into a session's folder ``out``; those it has already are left out."""
    params, volume = from_mapping(SuggestParams, recipe.get("params") or {}), open_spec(recipe["volume"])
    model = load_model(model_folder(recipe["model"]))
    session = Session.open(recipe["out"], volume, model.card, spec=recipe["volume"], model=str(recipe["model"]))
    with closing(session):
        taken = [patch.box for patch in session.patches]
        encoder = load_encoder(recipe.get("library"))
        found = yield from suggest_job(
            volume, model, int(recipe.get("n", 4)), exclude=taken, encoder=encoder, params=params
        )
        added = session.add(found)
    lines = [
        f"patch {p.id}: z y x {p.box.start} to {p.box.stop}{', held out' if p.held_out else ''}: {p.reason}"
        for p in added
    ]
    return {"out": str(recipe["out"]), "patches": [p.id for p in added], "lines": lines}


def fine_tune(recipe: Recipe, client: Any) -> Job[Summary]:
    """Fine-tune on a session's commits, then compare on those held out; ``out`` gets model, thresholds, comparison."""
    params, volume = from_mapping(FineTuneParams, recipe.get("params") or {}), open_spec(recipe["volume"])
    prepared, device = before_label(recipe), params.device
    before = load_model(model_folder(recipe["model"]), device=device, backend="torch")
    session = Session.open(recipe["session"], volume, before.card, spec=recipe["volume"], model=str(recipe["model"]))
    with closing(session):
        if recipe.get("labels"):
            _commit_from(session, volume, open_spec(recipe["labels"]), recipe.get("label_kind", "em"))
        examples, held_out = session.examples(), session.examples(held_out=True)
    if not examples:
        raise InputError(f"the session '{recipe['session']}' has no committed patch to learn from; annotate one first")
    told = {
        "workflow": "fine-tune",
        "parent": before.card.digest,
        "labels": labels_hash(examples),
        "params": asdict(params),
        "from_scratch": bool(recipe.get("from_scratch")),
        **prepared,
    }
    with JobFolder.open(recipe["out"], told) as job:
        stop = job.path / STOP
        stop.unlink(missing_ok=True)
        start, done = yield from start_of(recipe, before, volume, job.path)
        after = yield from fine_tune_job(
            None if recipe.get("from_scratch") else start,
            examples,
            params,
            voxel_nm=before.card.voxel_nm,
            stop=stop.exists,
            checkpoint=job.path / "training.safetensors",
        )
        lines = [*done, *_keep(job.path, after)]
        summary: Summary = {"out": str(job.path), "digest": after.card.digest, "lines": lines}
        comparison = yield from _compared(before, after, held_out, examples, recipe, job.path)
        if comparison is not None:
            summary |= {"comparison": comparison.to_json(), "lines": [*lines, *comparison.lines()]}
        else:
            lines.append("No patch was held out, so whether it helped is not known; suggest some with --random-arm.")
        return summary


def _keep(out: Path, model: TorchPredictor) -> list[str]:
    save_model(model, out / "model", overwrite=True)
    lines = [f"model {model.card.digest[:12]}, from {model.card.parent[:12] or 'scratch'}"]
    if model.adapter is not None:
        save_adapter(model.adapter, out / "adapter.safetensors")
        size = (out / "adapter.safetensors").stat().st_size / 1000
        lines.append(f"adapter.safetensors ({size:.0f} kB) makes it of its base; share that file alone")
    (out / "training.safetensors").unlink(missing_ok=True)
    return lines


def _compared(
    before: Predictor, after: Predictor, held_out: list[Example], examples: list[Example], recipe: Recipe, out: Path
) -> Job[Comparison | None]:
    """On the held-out patches, if any; the thresholds are tuned, and kept, in any case."""
    prior = tuned_params(recipe["model"])
    if not held_out:
        write_json(out / TUNED, asdict(tune(after, examples, prior if after.card.parent else None)))
        return None
    comparison = yield from compare_job(before, after, held_out, examples, prior)
    write_json(out / "comparison.json", comparison.to_json())
    write_json(out / TUNED, asdict(comparison.after.params))
    return comparison


def _commit_from(session: Session, volume: Volume, labels: Volume, kind: str) -> None:
    """Label what is waiting in a session from labels that were made elsewhere."""
    truth, level = labels.levels[0], session.level
    for patch in session.patches:
        if patch.status != "waiting":
            continue
        box = volume.levels[0].box_in(patch.box, level).clip(level.shape)
        there = level.box_in(box, truth).clip(truth.shape)
        if there.size == 0:
            raise InputError(f"the labels do not cover patch {patch.id} ({patch.box.start} to {patch.box.stop})")
        found = to_em(np.asarray(truth.read(there)), kind)  # type: ignore[arg-type]
        part = replace(truth, array=found)
        own = replace(level, array=np.broadcast_to(np.uint8(0), box.shape))
        session.commit(patch.id, nearest(found, part, own).astype(np.uint32))


def segment(recipe: Recipe, client: Any) -> Job[Summary]:
    """Segment an image by a model, or a boundary map; thresholds not given are those tuned with the model."""
    volume, model = open_spec(recipe["volume"]), None
    given = dict(recipe.get("params") or {})
    if recipe.get("model"):
        given = {**asdict(tuned_params(recipe["model"])), "mode": SegmentParams().mode, **given}
        model = load_model(model_folder(recipe["model"]), backend=recipe.get("backend", "auto"))
    params = from_mapping(SegmentParams, given)
    gate = load_gate(model_folder(recipe["model"])) if model is not None else None
    labels = yield from segment_job(
        volume, params, model=model, out=recipe["out"], region=region_of(recipe), client=client, gate=gate
    )
    count = int(labels.metadata["segments"])
    shown = ", ".join(
        f"{k} {getattr(params, k)}" for k in ("mode", "boundary_threshold", "merge_threshold", "min_size")
    )
    lines, told = [f"{count} segments ({shown})"], labels.metadata.get("gate")
    if told is not None:
        lines.append(told["sentence"])
    return {"out": str(recipe["out"]), "segments": count, "gate": told, "lines": lines}


def predict(recipe: Recipe, client: Any) -> Job[Summary]:
    """Run a model."""
    folder = model_folder(recipe["model"])
    model, gate = load_model(folder, backend=recipe.get("backend", "auto")), load_gate(folder)
    found = yield from predict_job(
        open_spec(recipe["volume"]), model, out=recipe["out"], region=region_of(recipe), client=client, gate=gate
    )
    told = found.metadata["gate"]
    lines = [f"{', '.join(found.metadata['outputs'])} at {found.levels[0].shape}", told["sentence"]]
    return {"out": str(recipe["out"]), "gate": told, "lines": lines}


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
    return {"out": str(recipe["out"]), "lines": [f"{domain.name}: on the block kept apart {figures}"]}


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
    "segment": ({"volume", "out"}, {"model", "params", "region", "backend"}),
    "predict": ({"volume", "model", "out"}, {"region", "backend"}),
    "train-domain": ({"name", "volume", "labels", "out"}, {"params", "about", "library"}),
    "prepare": ({"volume", "model", "out", "how"}, {"params", "source", "library"}),
}
"""Entries that a workflow's recipe must have, and may have."""

"""What fine-tune does: learn from a session's commits, keep what came out, compare on what was held out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import write_json
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.models.files import load_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.transfer.adapter import save_adapter
from napari_connecto.workflows.adapt.annotate.proof import FILE, Annotation
from napari_connecto.workflows.adapt.annotate.session import Session
from napari_connecto.workflows.adapt.compare import Comparison, compare_job, tune
from napari_connecto.workflows.adapt.contrast import notices_job
from napari_connecto.workflows.adapt.em_samples import nearest
from napari_connecto.workflows.adapt.fine_tune import fine_tune_job, labels_hash
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.adapt.presets import PRESETS
from napari_connecto.workflows.recipes.entries.adapt import FineTune
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.recipes.parts import TUNED, model_folder, tuned_params
from napari_connecto.workflows.recipes.prepare import before_label, start_of
from napari_connecto.workflows.shared.em_labels import LabelKind, to_em
from napari_connecto.workflows.shared.spec import open_spec
from napari_connecto.workflows.shared.stop_file import STOP


def fine_tune(run: FineTune) -> Job[Summary]:
    """Fine-tune on a session's commits, then compare on those held out; ``out`` gets model, thresholds, comparison."""
    params, volume, prepared = run.params, open_spec(run.volume), before_label(run)
    before = load_model(model_folder(run.model), device=params.device, backend="torch")
    session = Session.open(run.session, volume, before.card, spec=run.volume, model=run.model)
    with closing(session):
        if run.labels is not None:
            _commit_from(session, volume, open_spec(run.labels), run.label_kind)
        annotation = Annotation.of(session, before)
    examples = annotation.examples
    if not examples:
        raise InputError(f"the session '{run.session}' has no committed patch to learn from; annotate one first")
    identity = {
        "workflow": "fine-tune",
        "parent": before.card.digest,
        "labels": labels_hash(examples),
        "params": asdict(params),
        "from_scratch": run.from_scratch,
        **prepared,
    }
    with JobFolder.open(run.out, identity) as job:
        stop = job.path / STOP
        stop.unlink(missing_ok=True)
        phases = Phases(_work(params, len(session.patches), bool(prepared)))
        told: list[str] = [] if run.from_scratch else (yield from phases.run("contrast", notices_job(volume, before)))
        start, done = yield from phases.run("before any label", start_of(run, before, volume, job.path))
        training = fine_tune_job(
            None if run.from_scratch else start,
            examples,
            params,
            stop=stop.exists,
            checkpoint=job.path / "training.safetensors",
            voxel_nm=before.card.voxel_nm,
        )
        after = yield from phases.run("training", training)
        lines = [*told, *done, *annotation.lines(), *_keep(job.path, after)]
        write_json(job.path / FILE, annotation.to_json())
        figures: dict[str, Any] = {"digest": after.card.digest}
        comparison = yield from phases.run("measuring", _compared(before, after, annotation, run.model, job.path))
        if comparison is not None:
            figures["comparison"] = comparison.to_json()
            lines += comparison.lines()
        elif annotation.unedited:
            lines.append("No held-out patch was usable, so the gain is unknown; paint and commit some.")
        else:
            lines.append("No patch was held out, so the gain is unknown; suggest some at random, which are held out.")
        return Summary(str(job.path), lines, figures)


def _work(params: FineTuneParams, patches: int, prepared: bool) -> dict[str, float]:
    """Seconds that each phase took on the sample neuropil, on two cores: they share out the bar."""
    steps = params.steps or PRESETS[params.preset].steps
    return {
        "contrast": 2.5,
        "before any label": 30.0 if prepared else 0.0,
        "training": steps * params.batch * params.crop**2 * 11e-6,
        "measuring": 0.8 * patches,
    }


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
    before: Predictor, after: Predictor, annotation: Annotation, model: str, out: Path
) -> Job[Comparison | None]:
    """On the held-out patches, if any; the thresholds are tuned, and kept, in any case."""
    prior, held_out, examples = tuned_params(model), annotation.proof, annotation.examples
    if not held_out:
        write_json(out / TUNED, asdict(tune(after, examples, prior if after.card.parent else None)))
        return None
    comparison = yield from compare_job(before, after, held_out, examples, prior)
    comparison = replace(comparison, ids=tuple(s.id for s in annotation.held_out))
    write_json(out / "comparison.json", comparison.to_json())
    write_json(out / TUNED, asdict(comparison.after.params))
    return comparison


def _commit_from(session: Session, volume: Volume, labels: Volume, kind: LabelKind) -> None:
    """Label what is waiting in a session from labels that were made elsewhere."""
    truth, level = labels.levels[0], session.level
    for patch in session.patches:
        if patch.status != "waiting":
            continue
        box = volume.levels[0].box_in(patch.box, level).clip(level.shape)
        there = level.box_in(box, truth).clip(truth.shape)
        if there.size == 0:
            raise InputError(f"the labels do not cover patch {patch.id} ({patch.box.start} to {patch.box.stop})")
        found = to_em(np.asarray(truth.read(there)), kind)
        part = replace(truth, array=found)
        own = replace(level, array=np.broadcast_to(np.uint8(0), box.shape))
        session.commit(patch.id, nearest(found, part, own).astype(np.uint32))

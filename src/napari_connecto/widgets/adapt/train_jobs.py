"""Jobs of the steps "Fine-tune" and "Compare", off the GUI thread; no Qt, no napari."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.geometry import fvec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level
from napari_connecto.widgets.adapt.annotate.session_jobs import Work
from napari_connecto.widgets.adapt.jobs import Picture, Source
from napari_connecto.widgets.shared.boundary_models import load, load_trainable, tuned_params
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.adapt.presets import PRESETS
from napari_connecto.workflows.recipes.entries.adapt import FineTune
from napari_connecto.workflows.recipes.entries.run import Summary

if TYPE_CHECKING:
    from napari_connecto.core.model import Predictor
    from napari_connecto.workflows.adapt.annotate.patch_states import PatchState
    from napari_connecto.workflows.adapt.compare import Comparison
    from napari_connecto.workflows.adapt.em_samples import Example


@dataclass(frozen=True)
class Timing:
    """Expected duration of a fine-tuning, seconds."""

    steps: int
    step_s: float
    device: str

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return self.steps * self.step_s


@dataclass(frozen=True)
class Compared:
    """Figures, two rows of images for each held-out patch, and which patches do not count."""

    comparison: Comparison
    pictures: tuple[list[list[Picture | None]], ...]
    left_out: str = ""
    mode: str = "auto"


def timing_job(work: Work, source: Source, params: FineTuneParams) -> Job[Timing]:
    """Two steps are run and discarded; the second is timed."""
    yield from torch_job()
    from napari_connecto.workflows.adapt.fine_tune import fine_tune_job

    yield Progress(0, 0, "timing two steps")
    model = load_trainable(work.base) if source.folder is not None else None
    job = fine_tune_job(model, work.session.examples(), replace(params, steps=2), voxel_nm=work.session.level.voxel_nm)
    seen, step_s = time.perf_counter(), 0.0
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            trained = end.value
            break
        step_s, seen = time.perf_counter() - seen, time.perf_counter()
        yield progress
    return Timing(params.steps or PRESETS[params.preset].steps, step_s, str(trained.device))


def tune_run(work: Work, source: Source, params: FineTuneParams, out: Path) -> FineTune:
    """Fine-tuning as a run."""
    return FineTune(
        volume=work.spec,
        model=str(work.base),
        session=str(work.session.path),
        from_scratch=source.folder is None,
        params=params,
        out=str(out),
    )


def tune_job(run: FineTune) -> Job[Summary]:
    """Fine-tune in a separate process, which is killed when this is closed; the session must be unlocked."""
    yield from torch_job()
    from napari_connecto.workflows.recipes.own_process import run_in_subprocess
    from napari_connecto.workflows.recipes.recipe import write_recipe

    out = Path(run.out)
    summary = yield from run_in_subprocess(run, out.parent / "recipes" / out.name)
    write_recipe(run, out / "recipe.yaml")
    return summary


def unfinished(folder: Path) -> FineTune | None:
    """The last fine-tuning in a project's folder, if it was interrupted and nothing was committed since."""
    from napari_connecto.workflows.recipes.recipe import read_run

    runs = sorted(folder.glob("tuned-*/job.json"), key=lambda path: path.stat().st_mtime)
    if not runs or (tuned_model(runs[-1].parent) / "card.json").exists():
        return None
    begun, out = runs[-1].stat().st_mtime, runs[-1].parent
    try:
        if (folder / "session" / "events.jsonl").stat().st_mtime > begun:
            return None
        run = read_run(folder / "recipes" / out.name / "recipe.yaml")
    except (OSError, ConnectoError):
        return None
    return run if isinstance(run, FineTune) and Path(run.out) == out.absolute() else None


def tuned_model(out: Path) -> Path:
    """Folder of the model of a fine-tuning."""
    return out / "model"


def compared_job(work: Work, before: Path, after: Path, mode: str = "auto") -> Job[Compared]:
    """Compare both models on the held-out patches, in the mode of step 5: figures, maps and segmentations."""
    yield from torch_job()
    yield Progress(0, 0, "loading models")
    from napari_connecto.workflows.adapt.annotate.proof import Annotation
    from napari_connecto.workflows.adapt.compare import compare_job

    old, new = load(before), load(after)
    annotation = Annotation.of(work.session, old)
    annotation.need_proof()
    places, held_out = annotation.held_out, annotation.proof
    phases = Phases({"measuring": 7, "drawing": 3})
    comparing = compare_job(old, new, held_out, annotation.examples, tuned_params(before), mode)
    found = yield from phases.run("measuring", comparing)
    found = replace(found, ids=tuple(s.id for s in places))
    drawing = _drawing_job(work, (old, new), found, list(zip(places, held_out, strict=True)))
    pictures = yield from phases.run("drawing", drawing)
    return Compared(found, tuple(pictures), annotation.left_out(), mode)


def _drawing_job(
    work: Work, models: Sequence[Predictor], found: Comparison, places: Sequence[tuple[PatchState, Example]]
) -> Job[list[list[list[Picture | None]]]]:
    """Two rows of images per held-out patch: the maps of both models, and their segmentations."""
    from napari_connecto.workflows.adapt.em_samples import prepared
    from napari_connecto.workflows.segment.block import segment_array
    from napari_connecto.workflows.shared.whole import boundary_of

    pictures: list[list[list[Picture | None]]] = []
    for state, example in places:
        yield Progress(len(pictures), len(places), "drawing")
        image, labels = prepared(example, models[0].card)
        corner = fvec3(work.volume.levels[0].to_nm(state.box.start).tolist())
        voxel_nm = (work.session.level.voxel_nm[0], *models[0].card.voxel_nm[1:])

        def picture(name: str, array: np.ndarray, kind: Any, place: Any = (voxel_nm, corner)) -> Picture:
            return Picture(name, Level(array, *place), kind)

        maps = [boundary_of(model, image) for model in models]
        cuts = [segment_array(m, s.params, voxel_nm) for m, s in zip(maps, (found.before, found.after), strict=True)]
        first = [picture("image", image, "image"), picture("before", maps[0], "map"), picture("after", maps[1], "map")]
        second = [
            picture("annotation", np.where(labels > 2, labels, 0) if labels.max() > 2 else labels, "labels"),
            picture("segments before", cuts[0], "labels"),
            picture("segments after", cuts[1], "labels"),
        ]
        pictures.append([list(first), list(second)])
    return pictures

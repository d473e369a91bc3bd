"""Jobs of proofreading; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.adapt.annotate.session_jobs import Work, with_thumbnails

if TYPE_CHECKING:
    from napari_connecto.workflows.segment.proofread.decisions import Decision
    from napari_connecto.workflows.segment.proofread.proofreading import Proofreading

LABELS, SUMMARY = ("labels", "labels.zarr"), "segments.json"
SUFFIXES = {".zarr": "OME-Zarr", ".tif": "OME-TIFF", ".precomputed": "neuroglancer"}
"""What labels are exported as."""


def result_of(source: str | None) -> Path | None:
    """The result folder of a finished segmentation whose labels these are; None if they are something else."""
    if not source:
        return None
    path = Path(source)
    if path.parts[-2:] != LABELS or not (path.parent.parent / SUMMARY).is_file():
        return None
    return path.parent.parent


def open_job(folder: Path) -> Job[Proofreading]:
    """Open the decisions about a result."""
    yield Progress(0, 0, "opening the segments")
    from napari_connecto.workflows.segment.proofread.proofreading import Proofreading

    return Proofreading.open(folder)


def name_job(work: Proofreading, point: Vec3) -> Job[int]:
    """Number of the segment at a voxel."""
    yield Progress(0, 0, "reading")
    return work.at(point)


def decide_job(work: Proofreading, kind: str, points: Sequence[Vec3]) -> Job[tuple[Decision, tuple[int, int]]]:
    """Merge or split at two voxels; the decision, and the segments there afterwards."""
    yield Progress(0, 0, "merging" if kind == "merge" else "splitting")
    first, second = points
    decision = work.merge(first, second) if kind == "merge" else (yield from work.split_job(first, second))
    return decision, (work.at(first), work.at(second))


def step_job(work: Proofreading, step: str) -> Job[Decision | None]:
    """Undo or redo; the decision, None if there is none."""
    yield Progress(0, 0, step)
    return work.undo() if step == "undo" else work.redo()


def train_job(session: Work, folder: Path) -> Job[tuple[Work, int]]:
    """Add the corrected places to a session; returns it with their thumbnails, and how many."""
    yield Progress(0, 0, "adding patches")
    from napari_connecto.workflows.adapt.annotate.corrected import corrected_patches_job

    added = yield from corrected_patches_job(session.session, session.volume, folder)
    return replace(with_thumbnails(session), note=""), len(added)


def export_job(folder: Path, out: Path) -> Job[Path]:
    """Write the labels as corrected: OME-Zarr, OME-TIFF or precomputed, by the suffix."""
    yield Progress(0, 0, "exporting")
    from napari_connecto.io.volumes.precomputed import save_precomputed_job
    from napari_connecto.io.volumes.tiff.write import save_tiff_job
    from napari_connecto.io.volumes.write import save_volume_job
    from napari_connecto.workflows.segment.proofread.proofreading import corrected_labels

    labels = corrected_labels(folder)[0]
    if out.suffix == ".precomputed":
        yield from save_precomputed_job(labels, str(out), kind="labels")
    elif out.suffix in (".tif", ".tiff"):
        yield from save_tiff_job(labels, str(out), kind="labels")
    else:
        yield from save_volume_job(labels, str(out), kind="labels")
    return out

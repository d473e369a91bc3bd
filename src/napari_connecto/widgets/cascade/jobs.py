"""Jobs of the dock "Cascade detection": each is one workflow call off the GUI thread; no Qt, no napari.

The workflows (and torch) are imported inside the jobs, so that opening the dock loads neither.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import SCRATCH
from napari_connecto.widgets.cascade.find.finder import Finder
from napari_connecto.widgets.cascade.training.rectangles import Rectangle, boxes_of, labelled_planes, planes_between
from napari_connecto.widgets.shared.boundary_models import guard_for
from napari_connecto.widgets.shared.task import Task, until_changed
from napari_connecto.widgets.viewer.mesa import load_triton_apart, torch_job
from napari_connecto.widgets.viewer.volumes import as_file_job
from napari_connecto.workflows.cascade.document import read_document
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.training.sections import numbered
from napari_connecto.workflows.cascade.training.unlabelled import Unlabelled
from napari_connecto.workflows.recipes.entries.cascade import Detect, TrainCascade
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.cascade import Cascade
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.estimate import Estimate
    from napari_connecto.workflows.ood.check import OodCheck

Backend = Literal["auto", "torch"]


@dataclass(frozen=True)
class Searching(Task[DetectParams]):
    """A search by the cascade ``model``.

    Parameters
    ----------
    backend
        "torch" starts at once; "auto" (OpenVINO, where it is installed) is faster once its conversion is paid for.
    finder
        The detector that ``model`` was made of, where it is one alone.
    """

    backend: Backend = "torch"
    finder: Finder | None = None

    def run(self) -> Detect:
        """The equivalent run of the shell and of recipes."""
        if self.finder is not None:
            return Detect(volume=self.file, params=self.params, out=str(self.out), **self.finder.words)
        how: dict[str, Any] = {"params": self.params, "error_map": self.error_map, "out": str(self.out)}
        return Detect(volume=self.file, cascade=str(self.model), **how)


@until_changed("cascade.json")
def load(folder: Path, backend: Backend = "torch") -> Cascade:
    """A cascade, cached until its file changes."""
    load_triton_apart()
    from napari_connecto.workflows.cascade.cascade import load_cascade

    return load_cascade(folder, backend=backend)


def estimate_job(search: Searching, region: Box | None = None) -> Job[Estimate]:
    """Cost of the search; two tiles of each level are timed. What the cascade says of itself is the first payload."""
    from napari_connecto.workflows.cascade.outlook import outlook

    soon = outlook(search.volume, search.model, search.params)
    yield Progress(0, 0, "timing the levels", payload=soon)
    yield from torch_job()
    from napari_connecto.workflows.cascade import estimate

    yield Progress(0, 0, "timing the levels")
    cascade, params = load(search.model), search.params
    return (yield from estimate.estimate_job(search.volume, cascade, params, region=region, out=search.out))


def check_job(search: Searching) -> Job[OodCheck]:
    """Out-of-distribution check of the volume for the cascade."""
    yield from torch_job()
    from napari_connecto.workflows.cascade.search.detect import check_job
    from napari_connecto.workflows.ood.check import BEFORE_BYTES

    cascade = load(search.model)
    return (yield from check_job(search.volume, cascade, search.params, most_bytes=BEFORE_BYTES))


def search_job(search: Searching, region: Box | None = None, first: Box | None = None) -> Job[Detections]:
    """Run the search here or on a cluster, and write its recipe to the result folder."""
    yield from torch_job()
    from napari_connecto.workflows.cascade.search.detect import detect_job

    yield Progress(0, 0, "loading the detector")
    cascade, params = load(search.model, search.backend), search.params
    how: dict[str, Any] = {"out": search.out, "region": region, "first": first, "live": True, "check": search.check}
    how |= {"guard": guard_for(search.error_map, search.model / "level_0")}
    found = yield from search.job(lambda client: detect_job(search.volume, cascade, params, client=client, **how))
    search.keep_recipe()
    return found


@dataclass(frozen=True)
class CascadeAbout:
    """Description of a cascade in a folder, read without loading torch."""

    name: str
    head: str
    voxel_nm: FVec3
    levels: int
    diameter_nm: float
    threshold: float
    trained_on: str
    recall: str = ""
    unit: str = "nm"
    detector: str = ""

    @property
    def line(self) -> str:
        """The description in words."""
        voxel = " × ".join(f"{v:g}" for v in self.voxel_nm) + f" {self.unit}"
        what = "masks" if self.head == "masks" else "centres"
        levels = "1 level" if self.levels == 1 else f"{self.levels} levels, finest"
        if self.detector:
            around = f"around {self.detector}, without labels" if self.levels > 1 else "nothing is trained"
            return f"Finds {self.name} as {what}; {levels} {voxel}; {around}."
        told = f"Finds {self.name} as {what}; {levels} {voxel}; trained on {self.trained_on}."
        return told + self.recall


def peek(folder: Path) -> CascadeAbout:
    """Read a cascade's description.

    Raises
    ------
    ModelError
        If the folder holds no cascade that can be read.
    """
    document = read_document(folder)
    try:
        card = ModelCard.from_json(json.loads((folder / "level_0" / "card.json").read_text(encoding="utf-8")))
        rule = document["rule"]
        return CascadeAbout(
            str(document["name"]),
            str(rule["head"]),
            card.voxel_nm,
            len(document["digests"]),
            float(rule["diameter_nm"]),
            float(rule["threshold"]),
            str(document["metadata"].get("volume", "unknown data")),
            _recall(document["calibration"].get("held_out")),
            "pixels" if document["metadata"].get("unit") == "pixel" else "nm",
            str((document["metadata"].get("detector") or {}).get("name", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"'{folder}' is not a cascade; choose a folder with cascade.json, made by training") from error


def _recall(held_out: Mapping[str, Any] | None) -> str:
    """Recall on the held-out objects, in words."""
    if held_out is None:
        return ""
    return f" It found {sum(held_out['found'])} of {len(held_out['found'])} labelled held-out objects."


def list_job() -> Job[dict[str, Path]]:
    """The shipped cascades: folder by name."""
    from napari_connecto.sample_data import list_cascades

    yield Progress(0, 0, "listing cascades")
    return list_cascades()


def live_map(out: Path) -> Volume | None:
    """The probability map of a running search; zarr arrays, None before there is one."""
    from napari_connecto.io.disk import is_folder
    from napari_connecto.io.volumes.read import open_volume

    path = out / "map" / "probability.zarr"
    return open_volume(path) if is_folder(path) else None


@dataclass(frozen=True)
class Training:
    """The inputs of one training.

    Parameters
    ----------
    labels
        A volume, or positions in nm (n, 3) of objects in the whole volume; None with a detector.
    review
        Verdicts on other places, if the labels are detections accepted in a review.
    previous
        Folder of a cascade to compare with.
    reviewed
        Where everything is labelled; empty: see ``params.unlabelled``.
    finder
        The detector to make a cascade around, without labels.
    """

    volume: Volume
    spec: VolumeSpec | None
    labels: Volume | np.ndarray | None
    labels_spec: VolumeSpec | None
    params: TrainParams
    out: Path
    review: Places | None = None
    previous: Path | None = None
    reviewed: tuple[Rectangle, ...] = ()
    finder: Finder | None = None

    def boxes(self) -> tuple[Box, ...]:
        """``reviewed`` in voxels of the labels, of the volume for points; reads all labels."""
        if not self.reviewed or self.labels is None:
            return ()
        if isinstance(self.labels, np.ndarray):
            level = self.volume.levels[0]
            return boxes_of(self.reviewed, level, planes_between(self.labels, level))
        level = self.labels.levels[0]
        return boxes_of(self.reviewed, level, labelled_planes(level))


def told_job(labels: np.ndarray, params: TrainParams) -> Job[str]:
    """How unlabelled voxels of labels (z, y, x) are treated, in words; "" where there is nothing to say."""
    yield Progress(0, 0, "looking at the labels")
    unlabelled = Unlabelled(params.unlabelled, (), params.background_label, params.object_label)
    objects = unlabelled.objects_of(labels)
    if objects.any(axis=(1, 2)).all() and not unlabelled.background:
        return ""
    ids = numbered(objects)
    return unlabelled.told(ids, unlabelled.known(labels, ids)) if ids.any() else ""


def labelled_job(labels: np.ndarray, params: TrainParams) -> Job[tuple[int, str]]:
    """How many objects labels (z, y, x) hold, and what `told_job` says of the rest."""
    told = yield from told_job(labels, params)
    unlabelled = Unlabelled(params.unlabelled, (), params.background_label, params.object_label)
    return int(numbered(unlabelled.objects_of(labels)).max(initial=0)), told


def training_job(training: Training) -> Job[Summary]:
    """Train in a separate process, killed when this is closed; inputs that are not files are written to one first."""
    yield from torch_job()
    from napari_connecto.io.tables.tables import write_table
    from napari_connecto.workflows.recipes.own_process import run_in_subprocess

    with tempfile.TemporaryDirectory(prefix=SCRATCH) as work:
        reviewed = training.boxes()
        phases = Phases({"writing the image": 1, "writing the labels": 1, "training": 100})
        writing = as_file_job(training.volume, training.spec, Path(work) / "image.ome.zarr")
        volume = yield from phases.run("writing the image", writing)
        labels, points, review = None, None, None
        if isinstance(training.labels, np.ndarray):
            points = str(Path(work) / "points.csv")
            write_table(points, _columns(training.labels, training.review))
        elif training.labels is not None:
            path = Path(work) / "labels.ome.zarr"
            writing = as_file_job(training.labels, training.labels_spec, path)
            labels = yield from phases.run("writing the labels", writing)
            if training.review is not None:
                review = str(Path(work) / "review.csv")
                write_table(review, _columns(np.empty((0, 3)), training.review))
        run = TrainCascade(
            volume=volume,
            labels=labels,
            points=points,
            review=review,
            reviewed=reviewed,
            previous=None if training.previous is None else str(training.previous),
            params=training.params,
            out=str(training.out),
            **({} if training.finder is None else training.finder.words),
        )
        return (yield from phases.run("training", run_in_subprocess(run, work)))


def _columns(points: np.ndarray, review: Places | None) -> dict[str, Any]:
    """Columns of a table of points: the accepted ones, and a review's verdicts on others if there is one."""
    if review is None:
        return {f"{axis}_nm": points[:, i] for i, axis in enumerate("zyx")}
    centres = np.concatenate([points, review.centre_nm])
    status = np.concatenate([np.full(len(points), "accepted"), review.status])
    return {f"{axis}_nm": centres[:, i] for i, axis in enumerate("zyx")} | {"status": status}

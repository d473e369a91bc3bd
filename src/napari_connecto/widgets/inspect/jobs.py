"""Jobs of the dock "Inspect a model"; no Qt, no napari. torch is imported only when a job runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.detectors import detector_of
from napari_connecto.widgets.shared.boundary_models import tuned_params
from napari_connecto.widgets.shared.task import until_changed
from napari_connecto.widgets.viewer.mesa import load_triton_apart, torch_job
from napari_connecto.widgets.viewer.volumes import as_file_job
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.core.model import Predictor
    from napari_connecto.widgets.viewer.layers import LayerImage
    from napari_connecto.workflows.adapt.annotate.places import Place
    from napari_connecto.workflows.inspect.concepts.params import ConceptParams
    from napari_connecto.workflows.inspect.concepts.result import Concepts
    from napari_connecto.workflows.inspect.guard.check import PairCheck
    from napari_connecto.workflows.inspect.prune.params import PruneParams
    from napari_connecto.workflows.inspect.prune.result import Pruned

__all__ = [
    "Peeked", "Probed", "Probing", "Queueing", "Shrinking", "Trusting", "concepts_job", "fit_job",
    "load", "peek", "probe_job", "queue_job", "shrink_job", "trust_job",
]  # fmt: skip


@dataclass(frozen=True)
class Peeked:
    """A model as its card describes it."""

    name: str
    line: str
    voxel_nm: FVec3
    pixels: bool = False
    """Trained on an image of unknown voxel size: ``voxel_nm`` is in pixels."""


def peek(folder: Path) -> Peeked:
    """A model's description, read without loading torch.

    Raises
    ------
    ModelError
        If the folder holds no model.
    """
    try:
        card = ModelCard.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"'{folder}' is not a model; choose a folder with card.json and weights") from error
    size = " × ".join(f"{v:g}" for v in card.voxel_nm)
    outputs = ", ".join(output.name for output in card.outputs)
    detector = detector_of(folder)
    name, pixels = (card.name, False) if detector is None else detector
    line = f"{outputs} at {size} {'pixels' if pixels else 'nm'}" + (f"; {card.training}" if card.training else "")
    return Peeked(name, line, card.voxel_nm, pixels)


@until_changed("card.json", most=4)
def load(folder: Path) -> Predictor:
    """A model, cached until its card changes."""
    load_triton_apart()
    from napari_connecto.models.files import load_model

    return load_model(folder, backend="torch")


@dataclass(frozen=True)
class Trusting:
    """What *Trust* was asked: image, model with a guard, part, result folder.

    ``answer`` is a described layer, None to run the model; ``spec`` names the image in a recipe, None if it is no file.
    """

    volume: Volume
    model: Path
    region: Box | None
    out: Path
    answer: LayerImage | None = None
    spec: VolumeSpec | None = None


def trust_job(asked: Trusting) -> Job[PairCheck]:
    """Run the model, unless its answer is given, then judge image and answer together."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.guard.check import check_pair_job
    from napari_connecto.workflows.inspect.guard.guard import load_guard
    from napari_connecto.workflows.segment.predict import predict_job

    yield Progress(0, 0, "loading model and guard")
    model = load(asked.model)
    guard = load_guard(asked.model, model=model)
    phases = Phases({"predicting": 1, "checking": 1})
    if asked.answer is not None:
        output = asked.answer.volume()
    else:
        predicting = predict_job(asked.volume, model, out=asked.out / "prediction", region=asked.region)
        output = yield from phases.run("predicting", predicting)
    checking = check_pair_job(asked.volume, output, guard, out=asked.out / "check", region=asked.region)
    return (yield from phases.run("checking", checking))


@dataclass(frozen=True)
class Queueing:
    """Places of a check, to be labelled."""

    asked: Trusting
    places: Sequence[Place]


def queue_job(asked: Queueing) -> Job[Path]:
    """Put places into an annotation session beside the check; its folder."""
    yield from torch_job()
    from napari_connecto.workflows.adapt.annotate.places import queue_places
    from napari_connecto.workflows.shared.spec import open_spec

    check = asked.asked
    spec = yield from as_file_job(check.volume, check.spec, check.out / "image.ome.zarr")
    volume = check.volume if check.spec is not None else open_spec(spec)
    yield Progress(0, 0, "queueing places")
    folder, card = check.out / "annotate" / "session", load(check.model).card
    return queue_places(folder, asked.places, volume, card, spec=spec, model=str(check.model))


def fit_job(volume: Volume, labels: Volume, folder: Path) -> Job[list[str]]:
    """Fit a guard from a labelled image, and save it beside the model; what it reached, in words."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.guard.fit import fit_guard_job

    guard = yield from fit_guard_job(load(folder), [(volume, labels)], segment=tuned_params(folder))
    guard.save(folder)
    return guard.lines()


@dataclass(frozen=True)
class Probing:
    """What *Knows* was asked: image, model, scribbles (1 background, 2 what is wanted), part to score."""

    volume: Volume
    model: Path
    scribbles: Volume
    region: Box | None


class Probed(NamedTuple):
    """Probability in a part of the image, and the average precision on strokes left out; None with too few."""

    score: Volume
    held_out: float | None


def probe_job(asked: Probing) -> Job[Probed]:
    """Learn a pixel classifier on the model's features, and score a part of the image."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.probe import probe_job as learn_job
    from napari_connecto.workflows.segment.predict import predict_job

    phases = Phases({"learning": 1, "scoring": 2})
    learning = learn_job(load(asked.model), asked.volume, asked.scribbles)
    classifier = yield from phases.run("learning", learning)
    scoring = predict_job(asked.volume, classifier, region=asked.region)
    score = yield from phases.run("scoring", scoring)
    held_out = dict(classifier.card.metrics.get("held_out_ap") or {})
    return Probed(score, next(iter(held_out.values()), None))


def concepts_job(
    volume: Volume, model: Path, name: str, mask: Volume, params: ConceptParams, checkpoints: Path | None = None
) -> Job[Concepts]:
    """In which stages of the model, or of the ``checkpoints`` in a folder, a mask can be read, with its controls.

    Raises
    ------
    InputError
        If the folder holds no checkpoints.
    """
    yield from torch_job()
    from napari_connecto.workflows.inspect.concepts.measure import concepts_job as measure_job

    if checkpoints is None:
        return (yield from measure_job(load(model), volume, {name: mask}, params))
    from napari_connecto.workflows.recipes.concepts import numbered_models

    yield Progress(0, 0, "loading checkpoints")
    steps = numbered_models(str(checkpoints))
    if not steps:
        raise InputError(
            f"'{checkpoints}' holds no model in a folder whose name ends in a number, such as step-10; choose another"
        )
    found: dict[float, Predictor] = {float(step): model for step, model in steps.items()}
    return (yield from measure_job(found, volume, {name: mask}, params))


@dataclass(frozen=True)
class Shrinking:
    """What *Smaller* was asked: image to learn from and measure on, model, result folder."""

    volume: Volume
    model: Path
    params: PruneParams
    out: Path


def shrink_job(asked: Shrinking) -> Job[Pruned]:
    """Make a smaller model, and save it with its thresholds."""
    yield from torch_job()
    from napari_connecto.workflows.inspect.prune.prune import prune_job
    from napari_connecto.workflows.recipes.prune import save_pruned
    from napari_connecto.workflows.segment.params import SegmentParams

    thresholds = tuned_params(asked.model) or SegmentParams()
    found = yield from prune_job(load(asked.model), asked.volume, asked.params, segmentation=thresholds)
    save_pruned(found, asked.model, asked.out, thresholds)
    return found

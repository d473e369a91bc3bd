"""Make a model smaller: remove channels and retrain on the original's answers, or set weights to zero in one pass.

Channels (structured pruning, then distillation: Hinton et al., arXiv 1503.02531) give a model that is faster on any
machine; Roels et al. (arXiv 1810.09735) did so for membranes in EM. Weights set to zero in one pass, with experts by
clusters of inputs, are those of Sparse Expansion (Sawmya et al., arXiv 2405.15756): a measure of how entangled a
network's units are, and no gain in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from numbers import Real
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.params import from_mapping
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.inspect.oneshot import OneShot, Way, one_shot
from napari_connecto.models.inspect.thin import thinned
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.workflows.inspect.prune.measure import agreement_job, gap_job, times_job
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.inspect.prune.places import Places, answers_job, lessons_job, places_of
from napari_connecto.workflows.inspect.prune.result import Control, Pruned
from napari_connecto.workflows.segment.params import SegmentParams

GATED = 8
"""Places on which the effect of channels is measured."""
CALIBRATED = 16
"""Places on which weights are pruned."""
TIMING, ANSWERING, COMPARING = "timing both models", "the smaller model's answers", "comparing segments"
"""Steps of the measurement, as users read them."""
FIRST, SECOND = "tiles of the original", "tiles of the smaller model"


def prune(
    model: Predictor,
    volume: Volume,
    params: PruneParams | float | None = None,
    *,
    labels: Volume | None = None,
    segmentation: SegmentParams | None = None,
    **fields: Any,
) -> Pruned:
    """Make a smaller model of a model, and measure what is lost and gained on a volume of yours.

    Parameters
    ----------
    model
        A native model of probabilities at the image's resolution, such as a boundary model. It is not changed.
    volume
        Image with a voxel size. Places of its first part are learned from, without labels: the target is the original's
        answer. Its last part (along z, or along the longer side of a thin volume) is held out and measured.
    params
        See `PruneParams`; a number is the sparsity.
    labels
        EM labels on the grid of the volume (0 not labelled, 1 boundary, 2 inside, 3 and more instances). Where there
        are some, half of the target is the truth, and VI to the truth is measured on the held-out part.
    segmentation
        Thresholds of VI and of masks; default: `SegmentParams()`. The same for both models.
    **fields
        Fields of the params by name, such as ``sparsity=0.5``, ``experts=4``; they override ``params``.

    Returns
    -------
    Pruned
        ``model``, ``speedup``, ``agreement``, ``vi``, ``tiles``, ``controls``, ``lines()``.

    Raises
    ------
    InputError
        If a value is out of range, or a part of the volume holds no tissue.
    ModelError
        If the model is not native, or its outputs are no probabilities of stride 1.
    VoxelSizeError
        If the volume does not fit the model.

    Notes
    -----
    Sparsity 0 returns the model's own weights, without retraining.

    Examples
    --------
    >>> image = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> small = nc.prune(model, image, sparsity=0.5, places=2, size=64, steps=2)
    >>> small.weights[1] < 0.3 * small.weights[0]
    True
    >>> small.model.card.parent == model.card.digest
    True
    """
    return run(prune_job(model, volume, params, labels=labels, segmentation=segmentation, **fields))


def prune_job(
    model: Predictor,
    volume: Volume,
    params: PruneParams | float | None = None,
    *,
    labels: Volume | None = None,
    segmentation: SegmentParams | None = None,
    **fields: Any,
) -> Job[Pruned]:
    """`prune` as a job; arguments and errors are the same."""
    params = _params(params, fields)
    if params.how == "channels" and params.experts is not None:
        raise InputError(f"got experts={params.experts} with how='channels'; experts are for how='weights'")
    original = _suitable(model, params)
    channels = params.chosen == "channels"
    phases = Phases(_work(params, original.card))
    finding = partial(places_of, volume, labels, original.card, params)
    learn, held = yield from phases.call("reading places", finding)
    segmentation = segmentation or SegmentParams()
    before = yield from phases.run("original's answers", answers_job(original, held))
    measure = partial(agreement_job, before, places=held, card=original.card, params=segmentation)
    controls: Mapping[str, Control] = {}
    if channels:
        new = yield from phases.run("retraining", _smaller(original, learn, params))
    else:
        new, controls = yield from phases.run("pruning", _zeroed(original, learn, held, measure, params))

    def measured() -> Job[Pruned]:
        steps = Phases({TIMING: 1, ANSWERING: 2, COMPARING: 3, FIRST: 5, SECOND: 5})
        seconds = yield from steps.run(TIMING, times_job([original, new]))
        after = yield from steps.run(ANSWERING, answers_job(new, held))
        agreed = yield from steps.run(COMPARING, measure(after))
        gap = partial(gap_job, places=held, threshold=segmentation.boundary_threshold)
        first = yield from steps.run(FIRST, gap(original))
        gaps = first, (yield from steps.run(SECOND, gap(new)))
        weights, stored = (_nonzero(original), _nonzero(new)), (len(original.weights), len(new.weights))
        places = len(learn.images), len(held.images)
        return Pruned(new, params, weights, stored, _pair(seconds), places, agreed, gaps, controls)

    found = yield from phases.run("measuring", measured())
    return replace(found, model=_signed(found, original))


def _params(params: PruneParams | float | None, fields: Mapping[str, Any]) -> PruneParams:
    if isinstance(params, float | Real):
        params = PruneParams(sparsity=float(params))
    return from_mapping(PruneParams, {**asdict(params or PruneParams()), **fields})


def _suitable(model: Predictor, params: PruneParams) -> TorchPredictor:
    original = torch_model(model)
    card = original.card
    if card.network.get("activation", "sigmoid") != "sigmoid" or any(o.stride != (1, 1, 1) for o in card.outputs):
        raise ModelError(
            f"'{card.name}' ({card.task}) gives no probabilities at the image's resolution; prune a boundary model or "
            "another model of masks"
        )
    return original if params.device == "auto" else TorchPredictor(card, original.net, params.device)


def _smaller(original: TorchPredictor, learn: Places, params: PruneParams) -> Job[TorchPredictor]:
    """Fewer channels, retrained on the original's answers."""
    small = thinned(
        original,
        params.sparsity,
        [learn.images[i : i + 1] for i in range(min(GATED, len(learn.images)))],
        order=params.order,  # type: ignore[arg-type]
        seed=params.seed,
    )
    if params.from_scratch:
        small = new_model(small.card, params.seed, device=str(original.device))
    if params.steps == 0 or (params.sparsity == 0 and not params.from_scratch):
        return small
    settings = FitParams(
        steps=params.steps,
        learning_rate=params.learning_rate,
        dice=0.0,  # soft Dice is not least at a soft target
        validate_every=params.steps,
        seed=params.seed,
    )
    lessons = yield from lessons_job(original, learn, params)
    return (yield from fit(small, lessons.from_step, settings))


def _zeroed(
    original: TorchPredictor, learn: Places, held: Places, measure: Any, params: PruneParams
) -> Job[tuple[TorchPredictor, dict[str, Control]]]:
    """Weights set to zero in one pass, and the controls; the model that was asked for is the last of them."""
    found: dict[str, Control] = {}
    chosen: OneShot | None = None
    ways = _ways(params)
    phases = Phases({name: float(copies) for name, (_, copies, _) in ways.items()})
    for name, (way, copies, sparsity) in ways.items():
        batch = learn.images[:CALIBRATED]
        job = one_shot(original, batch, sparsity, way, experts=copies, seed=params.seed)
        chosen = yield from phases.run(name, job)
        after = yield from _logits_job(chosen, held, name)
        agreed = yield from measure(1 / (1 + np.exp(-after.astype(np.float64))))
        found[name] = Control(sparsity, copies, chosen.mean_error, agreed, chosen.errors)
    if chosen is None:
        raise InputError("got nothing to prune")
    return chosen.model(original), found


def _logits_job(chosen: OneShot, held: Places, name: str) -> Job[np.ndarray]:
    found = []
    for n, image in enumerate(held.images):
        found.append(chosen.logits(image[None]))
        yield Progress(n + 1, len(held.images), f"measuring ({name})")
    return np.concatenate(found)


def _ways(params: PruneParams) -> dict[str, tuple[Way, int, float]]:
    """Way, copies and sparsity by name; what was asked for comes last."""
    copies, sparsity = params.experts or 1, params.sparsity
    ways: dict[str, tuple[Way, int, float]] = {}
    if params.controls:
        ways["magnitude"] = ("magnitude", 1, sparsity)
    if copies > 1 and params.controls:
        ways["one mask"] = ("obs", 1, sparsity)
        ways["one mask, equal storage"] = ("obs", 1, max(0.0, 1 - copies * (1 - sparsity)))
        ways["random experts"] = ("random", copies, sparsity)
    last: tuple[Way, int, float] = ("clusters", copies, sparsity) if copies > 1 else ("obs", 1, sparsity)
    return ways | {"clusters" if copies > 1 else "one mask": last}


def _nonzero(model: TorchPredictor) -> int:
    return sum(int((p != 0).sum()) for p in model.net.parameters())


def _pair(values: Any) -> tuple[float, float]:
    first, second = values
    return float(first), float(second)


def _signed(found: Pruned, original: TorchPredictor) -> TorchPredictor:
    """The model with its provenance on its card."""
    skipped = ("controls", "digest", "parent")
    figures = {key: value for key, value in found.figures().items() if key not in skipped}
    metrics = {"prune": figures} | ({"vi": found.vi[1]} if found.vi else {})
    card = replace(found.model.card, parent=original.card.digest, metrics=metrics)
    return TorchPredictor(card, found.model.net, str(found.model.device))


def _work(params: PruneParams, card: ModelCard) -> dict[str, float]:
    """Seconds that each phase took on two cores."""
    copies = params.experts or 1
    removal = params.steps * params.batch * params.size**2 * 3e-6 * (1.3 - params.sparsity)
    one_pass = 20.0 * (copies * (3 if params.controls else 1))
    return {
        "reading places": 0.02 * params.places,
        "original's answers": 3.0,
        ("retraining" if params.chosen == "channels" else "pruning"): max(
            1.0, removal if params.chosen == "channels" else one_pass
        ),
        "measuring": 10.0,
    }

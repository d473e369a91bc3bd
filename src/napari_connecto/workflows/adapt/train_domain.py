"""Make a domain from a labelled volume: train, measure on a held-out block, keep features and an OOD detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.metrics import count
from napari_connecto.core.model import ModelCard
from napari_connecto.core.phases import Phases
from napari_connecto.core.volume import Level, Volume
from napari_connecto.core.whole import new_folder
from napari_connecto.io.disk import storing
from napari_connecto.models.files import new_model, save_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.adapt.compare import score, tune
from napari_connecto.workflows.adapt.domains import Domain, save_about, save_own_features
from napari_connecto.workflows.adapt.em_samples import EmSamples, Example, prepared
from napari_connecto.workflows.adapt.feature_sample import sample_features
from napari_connecto.workflows.adapt.fine_tune import BoundaryLoss, boundary_card
from napari_connecto.workflows.adapt.own_sample import own_sample_job
from napari_connecto.workflows.adapt.params import About, DomainParams
from napari_connecto.workflows.ood.check import FITTING, SOURCE_TILES, source_gate_job
from napari_connecto.workflows.ood.files import save_gate
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.shared.em_labels import boundary_target, to_em
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.shared.whole import boundary_of

GAP_NM = 200.0
"""Gap to the held-out block, which is not used for training, because neighbouring sections are near copies."""
ROOM, FEWEST = 0.5, 8
"""A block is split along z if at least this share of sections, and this many, remain beside the gap."""
CROPS, CROP = 24, 160
"""Patches stored at most for data playback, and their extent along y and x, voxels."""
OWN_FEATURES = "sampling the model's own features"
SECTIONS = 12
"""Largest number of sections for tuning and measuring."""


def train_domain_job(
    name: str,
    volume: Volume,
    labels: Volume,
    out: str | Path,
    encoder: TorchEncoder | None,
    params: DomainParams | None = None,
    about: About | None = None,
) -> Job[Domain]:
    """Train a domain.

    Parameters
    ----------
    name
        Of the domain.
    volume
        Image with a voxel size; its finest level is learnt from.
    labels
        On the same grid; what they mean is ``params.label_kind``.
    out
        New folder of the domain.
    encoder
        Of the library; None makes the domain's own model the encoder (the first of a new library).
    params, about
        See `DomainParams` and `About`.

    Raises
    ------
    InputError
        If grids differ, or the labelled part has fewer than 2 sections' worth of rows to keep apart.
    StoreError
        If ``out`` exists.
    """
    params, about, out = params or DomainParams(), about or About(), Path(out)
    if out.exists():
        raise StoreError(f"'{out}' exists; choose a new folder for the domain")
    train, held_out = split(volume, labels, params)
    card = boundary_card(name, volume.levels[0].voxel_nm, encoder=params.encoder, depth=params.depth)
    samples = EmSamples([train], card, params.crop, params.batch, params.seed, Augment())
    settings = FitParams(steps=params.steps, learning_rate=3e-3, validate_every=max(10, params.steps // 10))
    start = new_model(card, params.seed, device=params.device)
    phases = Phases(_work(params))
    training = fit(start, samples.from_step, settings, validate=BoundaryLoss.of([_few(held_out)], card))
    model = yield from phases.run("training", training)
    tuned = yield from phases.call("choosing thresholds", lambda: tune(model, [_few(train)], mode="2d"))
    measuring = partial(score, model, [_few(held_out)], tuned)
    scored = yield from phases.call("measuring on the held-out block", measuring)
    metrics = {**_measured(model, _few(held_out)), "vi": scored.total.total}
    model = TorchPredictor(
        replace(card, training=about.data, licence=about.licence, metrics=metrics), model.net, str(model.device)
    )
    space = encoder or TorchEncoder(model)
    size = min(128, *volume.levels[0].shape[1:])
    sampling = partial(sample_features, volume, card, space, patches=params.patches, size=size, seed=params.seed)
    sample = yield from phases.call("sampling features", sampling)
    own = yield from phases.run(OWN_FEATURES, own_sample_job(volume, model, params.seed))
    told = {
        **about.to_json(),
        "encoder": space.card.digest,
        "patch": size,
        "segment": asdict(tuned),
        "params": asdict(params),
        "version": __version__,
    }
    gate = yield from phases.run(FITTING, _gate(volume, model, params.seed))
    crops = _crops(train, card, params.seed) if params.keep_patches else None
    return _written(out, model, told, sample.vectors, crops, gate, own)


def _work(params: DomainParams) -> dict[str, float]:
    """Seconds that each phase took on two cores, for progress."""
    return {
        "training": params.steps * params.batch * params.crop**2 * 11e-6,
        "choosing thresholds": 3.0,
        "measuring on the held-out block": 2.0,
        "sampling features": params.patches * 0.03,
        OWN_FEATURES: 2.0,
        FITTING: SOURCE_TILES * 0.15,
    }


def _gate(volume: Volume, model: TorchPredictor, seed: int) -> Job[Gate | None]:
    """From all of the volume, as the sample of features; None where it holds too little tissue."""
    scaling = model.card.normalisation.resolve(volume)
    try:
        return (yield from source_gate_job(fitting_level(volume, model.card), scaling, model, seed=seed))
    except InputError:
        return None


def _written(
    out: Path,
    model: TorchPredictor,
    about: Mapping[str, Any],
    features: np.ndarray,
    patches: tuple[np.ndarray, np.ndarray] | None,
    gate: Gate | None,
    own: Mapping[str, np.ndarray] | None,
) -> Domain:
    """Written under another name first, so that a domain's folder is whole."""
    with storing(out), new_folder(out) as partial:
        save_model(model, partial)
        if gate is not None:
            save_gate(gate, partial)
        save_about(partial, about, features, patches)
        if own is not None:
            save_own_features(partial, own)
    return Domain.load(out)


def split(volume: Volume, labels: Volume, params: DomainParams) -> tuple[Example, Example]:
    """Split the labelled block in two with a gap: along z if there is room, else along the roomiest axis.

    Raises
    ------
    InputError
        If image and labels are on different grids, or too small to be split.
    """
    level, truth = volume.levels[0], labels.levels[0]
    if level.shape != truth.shape:
        raise InputError(f"got an image of {level.shape} and labels of {truth.shape} voxels; they must share one grid")
    cuts = [_cut(level, axis, params.held_out) for axis in range(3)]
    kept = [0.0 if cut is None else 1 - (cut[1] - cut[0]) / n for cut, n in zip(cuts, level.shape, strict=True)]
    axis = 0 if kept[0] >= ROOM and level.shape[0] >= FEWEST else int(np.argmax([0.0, *kept[1:]]))
    cut = cuts[axis]
    if cut is None:
        raise InputError(
            f"the labelled block of {level.shape} voxels is too small to hold out {percent(params.held_out)} with a "
            f"gap of {GAP_NM:g} nm along any axis; label a larger block"
        )
    low, high = level.shape, [0, 0, 0]
    high[axis] = cut[1]
    first = Box.of([cut[0] if a == axis else n for a, n in enumerate(low)])
    return _example(level, truth, first, params), _example(level, truth, Box(vec3(high), level.shape), params)


def _cut(level: Level, axis: int, held_out: float) -> tuple[int, int] | None:
    """End of the training part and start of the held-out part; None if there is no room for both."""
    size = level.shape[axis]
    gap = max(1, round(GAP_NM / level.voxel_nm[axis]))
    middle = round(size * (1 - held_out))
    first, last = middle - gap // 2, middle + gap - gap // 2
    return (first, last) if first >= 1 and last < size else None


def _example(level: Level, truth: Level, box: Box, params: DomainParams) -> Example:
    labels = to_em(np.asarray(truth.read(box)), params.label_kind)  # type: ignore[arg-type]
    return Example(np.asarray(level.read(box)), labels, level.voxel_nm)


def _few(example: Example) -> Example:
    """Evenly spaced sections of a block."""
    step = np.unique(np.linspace(0, len(example.image) - 1, SECTIONS).astype(int))
    return replace(example, image=example.image[step], labels=example.labels[step])


def _measured(model: TorchPredictor, example: Example) -> dict[str, float]:
    """F1 of boundary voxels at threshold 0.5, where labelled."""
    image, labels = prepared(example, model.card)
    target, weight = boundary_target(labels)
    known = weight > 0
    return {"boundary_f1": count(boundary_of(model, image)[known] >= 0.5, target[known] > 0).f1}


def _crops(train: Example, card: ModelCard, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, y, x) uint8, scaled by the card unless they are uint8, and labels, of up to 24 crops."""
    image, size = train.image, [min(CROP, n) for n in train.image.shape[1:]]
    if image.dtype != np.uint8:
        scaling = card.normalisation.resolve(Volume((Level(image, card.voxel_nm),)))
        image = np.rint(np.clip(scaling(image), 0, 1) * 255).astype(np.uint8)
    level = Level(np.where(train.labels > 0, image, 0), card.voxel_nm)  # unlabelled voxels count as padding
    boxes = candidates(level, (1, size[0], size[1]), CROPS, seed, ()).boxes
    if not boxes:
        raise InputError(f"found no labelled patch of {size[0]} x {size[1]} voxels with tissue to store; label more")
    images, labels = (np.stack([array[box.slices][0] for box in boxes]) for array in (image, train.labels))
    return images, labels

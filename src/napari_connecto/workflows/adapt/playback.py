"""Data playback: retrain a model on its own source's patches, restyled to look like a new volume.

No label of the volume is used. For restyling see `degrade`; retraining is allowed only if it brings the source nearer
to
the volume by maximum mean discrepancy (Gretton et al., JMLR 2012; between domains: Sawmya et al., arXiv 2503.06196) in
the feature space of an encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.models.transfer.mmd import median_distance, mmd2, mmd_test
from napari_connecto.workflows.adapt.domains import Domain
from napari_connecto.workflows.adapt.em_samples import Example, unscaled
from napari_connecto.workflows.adapt.feature_sample import FEW, sample_features
from napari_connecto.workflows.adapt.fine_tune import fine_tune_job
from napari_connecto.workflows.adapt.params import FineTuneParams, PrepareParams
from napari_connecto.workflows.shared.degrade import Style, degrade_all

PERMUTATIONS, ALIKE = 1000, 0.05
"""Permutations of the test whether source and volume differ, and the p from which they do not."""


@shown
@dataclass(frozen=True)
class Playback:
    """Result of data playback.

    Parameters
    ----------
    model
        Trained on the restyled patches; None if not allowed.
    mmd2_before, mmd2_after
        Squared discrepancy of source and volume, before and after restyling the source; with one bandwidth.
    allowed
        Whether restyling lowered it enough.
    reason
        Why, in words.
    """

    model: TorchPredictor | None
    mmd2_before: float
    mmd2_after: float
    allowed: bool
    reason: str

    def figures(self) -> dict[str, Any]:
        """JSON."""
        return {"mmd2_before": self.mmd2_before, "mmd2_after": self.mmd2_after, "allowed": self.allowed}


def playback_job(
    model: Predictor,
    source: Domain | Sequence[Any],
    volume: Volume,
    encoder: TorchEncoder,
    params: PrepareParams | None = None,
) -> Job[Playback]:
    """Degrade a source's labelled patches to a volume's style and, if that brings them nearer, train on them.

    Parameters
    ----------
    model
        A native 2-D boundary model.
    source
        The model's domain, with patches; or patches of the source, as `fine_tune_job` takes them.
    volume
        Of which no label is known.
    encoder
        In whose space the discrepancy is measured.
    params
        See `PrepareParams`.

    Yields
    ------
    Progress
        As `fine_tune_job`, where it comes to that.

    Raises
    ------
    InputError
        If the source has no patches, or one of both has too few.
    VoxelSizeError
        If the volume is too coarse or too fine for the model.
    """
    params = params or PrepareParams()
    examples = source.patches() if isinstance(source, Domain) else [Example.of(e) for e in source]
    raw = [unscaled(e, model.card) for e in examples]
    images = [image for image, _ in raw]
    phases = Phases({"restyling the source's patches": 1, "training": params.steps / 20})
    restyling = partial(_degraded, images, volume, model.card, params)
    degraded = yield from phases.call("restyling the source's patches", restyling)
    found = _compared(images, degraded, volume, model.card, encoder, params)
    if not found.allowed:
        return found
    scaling = model.card.normalisation.resolve(volume)
    learnt = [Example(image, labels, None, scaling) for image, (_, labels) in zip(degraded, raw, strict=True)]
    tuned = yield from phases.run("training", fine_tune_job(model, learnt, _training(params)))
    note = f"{tuned.card.training}; playback of {len(learnt)} restyled source patches".lstrip("; ")
    card = replace(tuned.card, training=note, metrics={**tuned.card.metrics, "playback": found.figures()})
    return replace(found, model=TorchPredictor(card, tuned.net, str(tuned.device)))


def _training(params: PrepareParams) -> FineTuneParams:
    return FineTuneParams(
        preset="standard",
        steps=params.steps,
        crop=params.crop,
        batch=params.batch,
        seed=params.seed,
        device=params.device,
    )


def _degraded(images: Sequence[np.ndarray], volume: Volume, card: ModelCard, params: PrepareParams) -> list[np.ndarray]:
    """In the volume's intensities; both styles from windows of one size."""
    target = Style.of_level(fitting_level(volume, card), patches=params.patches, size=params.patch, seed=params.seed)
    return degrade_all(images, Style.of(_windows(images, params.patch)), target, params.seed)


def _compared(
    images: Sequence[np.ndarray],
    degraded: Sequence[np.ndarray],
    volume: Volume,
    card: ModelCard,
    encoder: TorchEncoder,
    params: PrepareParams,
) -> Playback:
    """MMD^2 to the volume of the source, original and restyled, with one bandwidth: the median of all distances."""
    sample = sample_features(volume, card, encoder, patches=params.patches, size=params.patch, seed=params.seed)
    wanted = encoder.card.normalisation
    pooled = np.concatenate([image.ravel() for image in images])[None, None]
    own, there = wanted.resolve(Volume((Level(pooled, card.voxel_nm),))), wanted.resolve(volume)
    rows = _vectors(images, own, encoder, params.patch), _vectors(degraded, there, encoder, params.patch)
    width = median_distance(np.concatenate([*rows, sample.vectors]))
    test = mmd_test(rows[0], sample.vectors, PERMUTATIONS, params.seed, bandwidth=width)
    after = mmd2(rows[1], sample.vectors, bandwidth=width)
    return Playback(None, test.mmd2, after, *judged(test.mmd2, after, test.p, params.gain, volume.name))


def _vectors(images: Sequence[np.ndarray], scaling: Scaling, encoder: TorchEncoder, size: int) -> np.ndarray:
    return np.concatenate([encoder(scaling(window)[None, None]) for window in _windows(images, size)])


def _windows(images: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Single sections (1, size, size) without overlap."""
    found = [
        image[z : z + 1, y : y + size, x : x + size]
        for image in images
        for z in range(image.shape[0])
        for y in range(0, image.shape[1] - size + 1, size)
        for x in range(0, image.shape[2] - size + 1, size)
    ]
    if len(found) < FEW:
        raise InputError(
            f"found {len(found)} windows of {size} x {size} voxels in the source's {len(images)} patches; playback "
            f"needs {FEW}: give more or larger patches, or a smaller window (patch)"
        )
    return found


def judged(before: float, after: float, p: float, gain: float, name: str) -> tuple[bool, str]:
    """Whether training may follow, and why.

    Parameters
    ----------
    before, after, p
        MMD^2 of the source to the volume, before and after restyling, and p of the permutation test before.
    gain
        Share by which it must fall.
    name
        Of the volume.
    """
    if p >= ALIKE:
        return False, f"the source already looks like '{name}' (MMD^2 {before:.4f}, p {p:.2f}): nothing to restyle"
    figures = f"restyling the source changes its MMD^2 to '{name}' from {before:.4f} to {after:.4f}"
    if after > (1 - gain) * before:
        return False, f"{figures}; playback needs a decrease of {percent(gain)} or more"
    return True, figures

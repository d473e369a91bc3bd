"""A sample of a model's own features on an image, and how far a volume is from the training data in them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.transfer.own import has_own_features, own_features, patch_mmd2
from napari_connecto.workflows.adapt.agreement.rule import Score
from napari_connecto.workflows.shared.patches import candidates

PATCHES, SIDE, STEP = 40, 128, 32
"""Patches of a sample, their extent in y and x, and what that is a multiple of."""
FEW = 4
"""Patches without which there is no comparison."""


def own_sample(volume: Volume, model: Predictor, seed: int = 0) -> Mapping[str, np.ndarray] | None:
    """`own_sample_job`, run to its end."""
    return run(own_sample_job(volume, model, seed))


def own_sample_job(volume: Volume, model: Predictor, seed: int = 0) -> Job[Mapping[str, np.ndarray] | None]:
    """Activations of a model at positions of tissue patches of a volume, with a report per patch.

    Returns
    -------
    mapping or None
        See `napari_connecto.models.transfer.own.own_features`; None for models of other kinds, and for volumes that
        are too small or hold too little tissue.
    """
    if not has_own_features(model.card):
        return None
    level = fitting_level(volume, model.card)
    side = min(SIDE, *(n // STEP * STEP for n in level.shape[1:]))
    deep = model.card.tile[0] + 2 * model.card.halo[0]
    if side < 2 * STEP or level.shape[0] < deep:
        return None
    boxes = candidates(level, (deep, side, side), PATCHES, seed, ()).boxes
    if len(boxes) < FEW:
        return None
    net, scaling = torch_model(model), model.card.normalisation.resolve(volume)
    found = []
    for n, box in enumerate(boxes):
        yield Progress(n, len(boxes), f"features of {model.card.name}")
        found.append(own_features(net, scaling(level.read(box))[None, None], seed))
    return {place: np.concatenate([one[place] for one in found]) for place in found[0]}


def own_distance_job(
    volume: Volume, model: Predictor, learnt: Mapping[str, np.ndarray] | None, seed: int = 0
) -> Job[dict[str, Score]]:
    """MMD^2 between a volume and a model's training data in its own features, with 95 % intervals over patches.

    Parameters
    ----------
    volume, model
        What is asked about, and for which model.
    learnt
        Sample of the training data, as `own_sample` gives it; None gives an empty answer.
    seed
        Random seed of patches, positions and the bootstrap.
    """
    if learnt is None:
        return {}
    try:
        seen = yield from own_sample_job(volume, model, seed)
    except ConnectoError:
        return {}
    shared = [place for place in seen or {} if place in learnt]
    if seen is None or any(learnt[place].shape[2] != seen[place].shape[2] for place in shared):
        return {}
    return {place: Score.of(patch_mmd2(seen[place], learnt[place], seed)) for place in shared}

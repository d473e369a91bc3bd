"""The object rule of a detector, from its card and from what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_connecto.core.model import ModelCard
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.training.distil.looks import Look
from napari_connecto.workflows.cascade.training.labelled_region import Examples
from napari_connecto.workflows.cascade.training.least_size import least_voxels

THRESHOLD = 0.5


def rule_of(card: ModelCard, params: TrainParams) -> ObjectRule:
    """Before anything was found: centres for a detector that gives points, masks for others, all sizes.

    ``head`` of the params counts for other models, whose map may be of either.
    """
    answers, stated = card.network.get("answers"), float(card.network.get("diameter_nm") or 0)
    head = {"points": "centres", "labels": "masks", "probability": "masks"}.get(str(answers), params.head)
    return ObjectRule(head, THRESHOLD, params.diameter_nm or stated, 1)  # type: ignore[arg-type]


def measured_rule(looks: Sequence[Look], rule: ObjectRule, level: Level, params: TrainParams) -> ObjectRule:
    """With the diameter and the smallest size of what was found; instances stay as the detector gives them."""
    flat = level.shape[0] == 1 or params.dims == "2d"
    whole = np.concatenate([np.empty(0, bool), *(look.whole for look in looks)])
    use = whole if whole.any() else ~whole  # cut by their chunks, where objects are larger than these
    sizes = np.concatenate([np.empty(0), *(look.sizes for look in looks)])[use]
    centres = np.concatenate([np.empty((0, 3)), *(look.centres for look in looks)])[use]
    across = rule.diameter_nm or (_diameter(sizes, level, True) if len(sizes) else np.inf)
    flat = flat or level.voxel_nm[0] >= across  # the next section shows other objects
    if rule.head == "centres" or not len(sizes):
        return replace(rule, flat=flat and level.shape[0] > 1)
    diameter = rule.diameter_nm or _diameter(sizes, level, flat)
    found = Examples(level, level.to_nm(centres), diameter, flat, voxels=sizes)
    return replace(
        rule, diameter_nm=diameter, flat=flat and level.shape[0] > 1, min_voxels=least_voxels(found, level.box, level)
    )


def _diameter(sizes: np.ndarray, level: Level, flat: bool) -> float:
    """Of the object that holds the median voxel, so that specks do not count."""
    ranked = np.sort(sizes)
    typical = ranked[np.searchsorted(np.cumsum(ranked), ranked.sum() / 2)]
    if flat:
        return float(2 * np.sqrt(typical * level.voxel_nm[1] * level.voxel_nm[2] / np.pi))
    return float((6 * typical * np.prod(level.voxel_nm) / np.pi) ** (1 / 3))

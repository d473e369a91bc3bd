"""Initial labels of a patch: a model's prediction, to be corrected."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.model import Predictor
from napari_connecto.workflows.adapt.em_samples import Example, prepared
from napari_connecto.workflows.adapt.params import PREFILLS
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.whole import boundary_of

CLASSES, NEURITES, _ = PREFILLS


def prefilled(boundary: np.ndarray, how: str) -> np.ndarray:
    """Labels (z, y, x) uint32 of a boundary map: 1 membrane, and 2 inside or, for `NEURITES`, numbers from 3 on."""
    membrane = boundary >= 0.5
    if how == CLASSES:
        return np.where(membrane, 1, 2).astype(np.uint32)
    found = segment_array(boundary, SegmentParams(mode="2d"))
    return np.where(membrane, 1, found.astype(np.int64) + 2).astype(np.uint32)


def is_own_output(model: Predictor, example: Example) -> bool:
    """Whether an example's labels equal what this model would pre-fill, voxel by voxel."""
    image, labels = prepared(example, model.card)
    boundary = boundary_of(model, image)
    return any(np.array_equal(labels, prefilled(boundary, how)) for how in (CLASSES, NEURITES))

"""Uncertainty of a boundary model on patches at any position. docs/science.md section 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.workflows.shared.uncertainty_kinds import BOUNDARY, kind_of


def check_boundary(card: ModelCard) -> None:
    """Raise `ModelError` unless a model gives a boundary probability for every voxel."""
    output = card.output(BOUNDARY)
    if output.stride != (1, 1, 1):
        raise ModelError(f"the boundary output of '{card.name}' has stride {output.stride}; (1, 1, 1) is needed")


def patch_uncertainty(
    level: Level, boxes: Sequence[Box], model: Predictor, scaling: Scaling, kind: str = "entropy"
) -> Iterator[np.ndarray]:
    """Uncertainty of every voxel of each patch, in the order of ``boxes``.

    Parameters
    ----------
    level
        At the model's voxel size.
    boxes
        Patches inside the level, of any shape: a patch larger than the card's tile is assembled from several, a smaller
        one is centred in a tile, so that all of it has at least the card's halo.
    model
        With an output "boundary" at stride 1.
    scaling
        From ``card.normalisation.resolve(volume)``.
    kind
        One of `KINDS`: "entropy" (bits) or "flips" (variance over four flips).

    Raises
    ------
    InputError
        If there is no such kind.

    Yields
    ------
    numpy.ndarray
        (z, y, x), float64.
    """
    how = kind_of(kind)
    plans = [TilePlan(box.shape, model.card.tile) for box in boxes]
    results = execute(level, _tiles(boxes, plans, model.card), how.asked(model), options=ExecuteOptions(scaling))
    with closing(results):
        for box, plan in zip(boxes, plans, strict=True):
            patch = np.empty(box.shape)
            for _ in range(len(plan)):
                tile, blocks = next(results)
                patch[tile.write.shift([-a for a in box.start]).slices] = blocks[BOUNDARY]
            yield how.value(patch)


def _tiles(boxes: Sequence[Box], plans: Sequence[TilePlan], card: ModelCard) -> Iterator[Tile]:
    index = 0
    for box, plan in zip(boxes, plans, strict=True):
        for part in plan:
            write = part.write.shift(box.start)
            spare = [(t - n) // 2 for t, n in zip(card.tile, write.shape, strict=True)]
            start = [a - s - h for a, s, h in zip(write.start, spare, card.halo, strict=True)]
            shape = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
            yield Tile(index, write, Box(vec3(start), vec3([a + n for a, n in zip(start, shape, strict=True)])))
            index += 1

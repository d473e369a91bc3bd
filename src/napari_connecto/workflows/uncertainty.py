"""How unsure a boundary model is of patches, wherever they lie. science.md section 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level

BOUNDARY = "boundary"
UNITS: Mapping[str, str] = {"entropy": "bit", "flips": "in variance over flips"}
FLIPS = ((), (-1,), (-2,), (-2, -1))


def entropy(probability: np.ndarray) -> np.ndarray:
    """Binary entropy of probabilities, bits, of the same shape: 0 at 0 and 1, 1 at one half."""
    p = np.clip(np.asarray(probability, np.float64), 0, 1)
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -(p * np.log2(p) + q * np.log2(q))
    return np.where((p == 0) | (q == 0), 0.0, bits)


class FlipVariance:
    """A predictor whose boundary is the variance of another's over its four flips in plane. Ours.

    A model that was trained on all orientations is as sure of a patch as of its mirror image; where its answers
    disagree, it does not know. Costs four passes.
    """

    def __init__(self, model: Predictor) -> None:
        self.model = model
        self.card: ModelCard = replace(model.card, outputs=(model.card.output(BOUNDARY),))

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """Variance (population, over 4) of each voxel's probability, float32."""
        answers = [
            np.flip(self.model(np.ascontiguousarray(np.flip(batch, axes)), seeds)[BOUNDARY], axes) for axes in FLIPS
        ]
        return {BOUNDARY: np.var(answers, axis=0, dtype=np.float64).astype(np.float32)}


def check_boundary(card: ModelCard) -> None:
    """Raise `ModelError` unless a model gives a boundary probability for every voxel."""
    output = card.output(BOUNDARY)
    if output.stride != (1, 1, 1):
        raise ModelError(f"model '{card.name}' gives its boundary at a stride of {output.stride}; need (1, 1, 1)")


def patch_uncertainty(
    level: Level, boxes: Sequence[Box], model: Predictor, scaling: Scaling, kind: str = "entropy"
) -> Iterator[np.ndarray]:
    """Uncertainty of every voxel of each patch, in the order of ``boxes``.

    Parameters
    ----------
    level
        At the model's voxel size.
    boxes
        Patches, inside the level, of any shape: a patch larger than the card's tile is put together from several, a
        smaller one lies in the middle of one, so that all of it sees at least the card's halo.
    model
        With an output "boundary" at stride 1.
    scaling
        From ``card.normalisation.resolve(volume)``.
    kind
        "entropy" (bits) or "flips" (variance over four flips).

    Yields
    ------
    numpy.ndarray
        (z, y, x), float64.
    """
    predictor = FlipVariance(model) if kind == "flips" else model
    plans = [TilePlan(box.shape, model.card.tile) for box in boxes]
    results = execute(level, _tiles(boxes, plans, model.card), predictor, options=ExecuteOptions(scaling))
    with closing(results):
        for box, plan in zip(boxes, plans, strict=True):
            patch = np.empty(box.shape)
            for _ in range(len(plan)):
                tile, blocks = next(results)
                patch[tile.write.shift([-a for a in box.start]).slices] = blocks[BOUNDARY]
            yield entropy(patch) if kind == "entropy" else patch


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

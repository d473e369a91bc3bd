"""Measures of a boundary model's uncertainty by name; in a module without networks, so that forms can import it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import ModelCard, Predictor

T = TypeVar("T")
BOUNDARY = "boundary"
FLIPS = ((), (-1,), (-2,), (-2, -1))


def entropy(probability: np.ndarray) -> np.ndarray:
    """Binary entropy of probabilities, bits, of the same shape: 0 at 0 and 1, 1 at one half."""
    p = np.clip(np.asarray(probability, np.float64), 0, 1)
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = -(p * np.log2(p) + q * np.log2(q))
    return np.where((p == 0) | (q == 0), 0.0, bits)


class FlipVariance:
    """A predictor whose boundary is the variance of another's over its four flips in plane.

    A model trained on all orientations should predict the same for a patch and its mirror image; disagreement indicates
    uncertainty. Costs four passes.
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


class Kind(NamedTuple):
    """One measure: the predictor to run, the function applied to its boundary (z, y, x), and the unit."""

    asked: Callable[[Predictor], Predictor]
    value: Callable[[np.ndarray], np.ndarray]
    unit: str


def _as_it_is(it: T) -> T:
    return it


KINDS: Mapping[str, Kind] = {
    "entropy": Kind(_as_it_is, entropy, "bit"),
    "flips": Kind(FlipVariance, _as_it_is, "in variance over flips"),
}


def kind_of(name: str) -> Kind:
    """The measure of this name; `InputError` if there is none."""
    if name not in KINDS:
        raise InputError(f"got uncertainty {name!r}; allowed: {', '.join(KINDS)}")
    return KINDS[name]

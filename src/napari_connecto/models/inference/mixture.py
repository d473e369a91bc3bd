"""Combined predictors: ensembles, flips and Monte-Carlo dropout, with aleatoric and epistemic uncertainty.

Of M passes with means mu_m and variances s_m^2: the mean of mu_m; aleatoric variance, the mean of s_m^2; epistemic
variance, the (population) variance of mu_m; their sum is the total. Deep ensembles: Lakshminarayanan et al.,
arXiv 1612.01474; the split into both: Kendall and Gal, arXiv 1703.04977. docs/science.md section 3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy.special import expit

from napari_connecto.core.errors import ModelError
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.training.losses import LOG_VARIANCE_RANGE

MEAN, LOG_VARIANCE, LOG_EPISTEMIC, MEMBRANE = "mean", "log_variance", "log_epistemic", "membrane"
OUTPUTS = ("mean", "aleatoric", "epistemic")
FLIPS = ((), (-1,), (-2,), (-2, -1), (-3,), (-3, -1), (-3, -2), (-3, -2, -1))


@dataclass(frozen=True)
class Seen:
    """What one pass says of a batch; arrays (n, z, y, x) float32.

    Parameters
    ----------
    mean, variance
        Of the brightness.
    epistemic
        Variance that the model says an ensemble would have (of a model that was taught by one).
    membrane
        Probability of membrane, of a model with that output.
    """

    mean: np.ndarray
    variance: np.ndarray
    epistemic: np.ndarray | None = None
    membrane: np.ndarray | None = None

    def flipped(self, axes: tuple[int, ...]) -> Seen:
        """All of it mirrored."""
        parts = (self.mean, self.variance, self.epistemic, self.membrane)
        return Seen(*(None if a is None else np.flip(a, axes) for a in parts))  # type: ignore[arg-type]


class Pass(Protocol):
    """One look at a batch."""

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Seen:
        """What it sees."""


@dataclass(frozen=True)
class Plain:
    """A regression model as it is: outputs "mean" and, where it has one, "log_variance" (else the variance is 0)."""

    model: Predictor

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Seen:
        """See `Pass`."""
        answer = self.model(batch, seeds)
        mean = answer[MEAN]
        variance = _variance(answer[LOG_VARIANCE]) if LOG_VARIANCE in answer else np.zeros_like(mean)
        epistemic = _variance(answer[LOG_EPISTEMIC]) if LOG_EPISTEMIC in answer else None
        if epistemic is not None:
            variance = np.maximum(variance - epistemic, np.float32(np.exp(LOG_VARIANCE_RANGE[0])))
        return Seen(mean, variance, epistemic, expit(answer[MEMBRANE]) if MEMBRANE in answer else None)


def _variance(logarithm: np.ndarray) -> np.ndarray:
    return np.exp(np.clip(logarithm, *LOG_VARIANCE_RANGE))


@dataclass(frozen=True)
class Flipped:
    """A pass over the mirrored batch, mirrored back."""

    look: Pass
    axes: tuple[int, ...]

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Seen:
        """See `Pass`."""
        return self.look(np.ascontiguousarray(np.flip(batch, self.axes)), seeds).flipped(self.axes)


@dataclass(frozen=True)
class Dropped:
    """A pass with channels dropped, the same of a tile whenever it is computed."""

    model: Predictor
    number: int

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Seen:
        """See `Pass`."""
        return Plain(self.model)(batch, [seed * 101 + self.number + 1 for seed in seeds])


class Mixture:
    """Passes as one predictor with outputs "mean", "aleatoric" and "epistemic" (standard deviations).

    Of models with an output "membrane" there is a fourth, "membrane": the mean probability of the passes. Where a model
    estimates the variance of an ensemble ("log_epistemic"), its mean is part of the epistemic variance, and not of the
    aleatoric one.

    Parameters
    ----------
    card
        Of one of the models: grid, normalisation; its outputs are replaced.
    passes
        At least one. They are summed up as they come (Welford 1962), never stacked.
    digest
        Of everything the answer depends on.
    calls, any_tile
        See `TorchPredictor`.
    """

    def __init__(
        self, card: ModelCard, passes: Sequence[Pass], digest: str, calls: int = 1, any_tile: bool = False
    ) -> None:
        grid = card.output(MEAN)
        names = [*OUTPUTS, *([MEMBRANE] if any(o.name == MEMBRANE for o in card.outputs) else [])]
        self.card = replace(card, outputs=tuple(replace(grid, name=name) for name in names), digest=digest)
        self.passes = tuple(passes)
        self.calls = calls
        self.any_tile = any_tile

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        mean: np.ndarray = np.zeros((), np.float32)
        spread, noise, told, membrane = mean, mean, mean, mean
        for count, look in enumerate(self.passes, start=1):
            seen = look(batch, seeds)
            step = seen.mean - mean
            mean = mean + step / count
            spread = spread + step * (seen.mean - mean)
            noise = noise + (seen.variance - noise) / count
            told = told if seen.epistemic is None else told + (seen.epistemic - told) / count
            membrane = membrane if seen.membrane is None else membrane + (seen.membrane - membrane) / count
        values = (mean, np.sqrt(noise), np.sqrt(np.maximum(spread, 0) / len(self.passes) + told), membrane)
        names = [output.name for output in self.card.outputs]
        return dict(zip(names, (v.astype(np.float32, copy=False) for v in values), strict=False))

    def first(self, count: int) -> Mixture:
        """Of the first passes alone: as fast for each, to be timed."""
        few = copy(self)
        few.passes = self.passes[:count]
        return few

    def looks(self) -> list[Look]:
        """Each pass by itself."""
        return [Look(self, number) for number in range(len(self.passes))]


class Look:
    """One pass of a mixture as a predictor of its mean alone."""

    def __init__(self, mixture: Mixture, number: int) -> None:
        told = f"{mixture.card.digest} pass {number}"
        outputs = (mixture.card.output(MEAN),)
        self.card: ModelCard = replace(mixture.card, outputs=outputs, digest=hashlib.sha256(told.encode()).hexdigest())
        self.look = mixture.passes[number]
        self.calls = mixture.calls
        self.any_tile = mixture.any_tile

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        return {MEAN: self.look(batch, seeds).mean}


def ensemble(models: Sequence[Predictor]) -> Mixture:
    """Several models of one card: each is a pass.

    Raises
    ------
    ModelError
        If there is none, or their grids or normalisations differ.
    """
    if not models:
        raise ModelError("got no model for an ensemble; give at least one")
    first = models[0].card
    for other in (model.card for model in models[1:]):
        if replace(other, name=first.name, digest=first.digest, metrics=first.metrics) != first:
            raise ModelError(f"'{first.name}' and '{other.name}' differ in more than their weights; train them alike")
    return _mixture(models, [Plain(model) for model in models], "ensemble")


def flips(model: Predictor) -> Mixture:
    """One model over the eight mirror images of a batch (four of a flat model)."""
    axes = FLIPS if model.card.tile[0] > 1 else FLIPS[:4]
    return _mixture([model], [Flipped(Plain(model), a) for a in axes], "flips")


def mc_dropout(model: Predictor, n: int = 8) -> Mixture:
    """``n`` passes of one native network with its dropout active; always by torch.

    Raises
    ------
    ModelError
        If the network was built without dropout.
    """
    if not model.card.network.get("dropout"):
        raise ModelError(f"model '{model.card.name}' has no dropout; use an ensemble or flips")
    dropping = torch_model(model).with_dropout()
    return _mixture([dropping], [Dropped(dropping, i) for i in range(n)], f"dropout {n}")


def _mixture(models: Sequence[Predictor], passes: Sequence[Pass], kind: str) -> Mixture:
    digest = hashlib.sha256(" ".join([kind, *(model.card.digest for model in models)]).encode()).hexdigest()
    any_tile = all(getattr(model, "any_tile", False) for model in models)
    return Mixture(models[0].card, passes, digest, int(getattr(models[0], "calls", 1)), any_tile)


def regression_outputs(*, variance: bool = True, epistemic: bool = False, membrane: bool = False) -> tuple[Output, ...]:
    """Outputs of a model that can be a pass."""
    wanted = {MEAN: True, LOG_VARIANCE: variance, LOG_EPISTEMIC: epistemic, MEMBRANE: membrane}
    return tuple(Output(name) for name, there in wanted.items() if there)

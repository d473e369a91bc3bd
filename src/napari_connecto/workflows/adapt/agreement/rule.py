"""The rule that ranks models by agreement, in one function; measured in docs/benchmarks/ranking.md."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from napari_connecto.workflows.adapt.agreement.calibration import WITHIN, predicted

NEAREST = 2
"""Other models whose segmentations count for the consensus."""
RESAMPLES = 2000


@dataclass(frozen=True)
class Score:
    """A score with its 95 % interval (bootstrap over places), NaN for one place; bits, or a share; lower is better."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> Score:
        """From resamples, of which the first is the sample itself."""
        low, high = np.quantile(values[1:], [0.025, 0.975]) if len(values) > 1 else (np.nan, np.nan)
        return cls(float(values[0]), float(low), float(high))


@dataclass(frozen=True)
class Decision:
    """What the rule says of k models.

    Parameters
    ----------
    order
        Indices of the models, best first.
    consensus, consistency
        Of each model; the consensus is NaN if there is no other model.
    instability
        Of each model: inconsistency as a share of the entropy of its segments.
    better
        For each model, the chance that another one is better: share of the resamples of the places in which another one
        has a lower VI, drawn around the VI that its agreement predicts (`calibration.predicted`); NaN for one model.
    """

    order: tuple[int, ...]
    consensus: tuple[Score, ...]
    consistency: tuple[Score, ...]
    instability: tuple[Score, ...]
    better: tuple[float, ...]


def decide(inconsistency: np.ndarray, between: np.ndarray, entropy: np.ndarray, seed: int = 0) -> Decision:
    """Rank models by the sum of two ranks, consensus and consistency; ties by the sum of the two in bits.

    Parameters
    ----------
    inconsistency
        (places, k) mean VI in bits between a model's segmentation of the image and those of the perturbed image.
    between
        (places, k, k) VI in bits between the segmentations of two models. Models whose answers are degenerate must be
        left out beforehand: they agree with each other for no good reason.
    entropy
        (places, k) entropy of the segments, bits.
    seed
        Random seed of the bootstrap over places.

    Notes
    -----
    *Consistency* of a model is its mean inconsistency over places. *Consensus* is the mean of the two smallest of its
    mean VI to each other model: a model far from all others is wrong, but not all others have to be right. With one
    model only, there is no consensus; with two, it is the same for both, and consistency decides.

    Whether a model *fits* is another question, for the first of a list need not be good: see `calibration.LIMIT` of the
    instability, which knows no scale. Consistency in bits does not answer it: an answer of few segments changes by few.
    """
    inconsistency, between, entropy = (np.asarray(a, float) for a in (inconsistency, between, entropy))
    places = len(inconsistency)
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, places, (RESAMPLES, places)) if places > 1 else np.empty((0, 1), int)
    drawn = np.concatenate([np.arange(places)[None], drawn])
    consistency = inconsistency[drawn].mean(axis=1)
    consensus = nearest_two(between[drawn].mean(axis=1))
    instability = consistency / np.maximum(entropy[drawn].mean(axis=1), 1e-9)
    points = rank_sum(consensus[0], consistency[0])
    order = np.argsort(points, kind="stable")
    better = chances(consensus[1:], consistency[1:], rng) if places > 1 else np.full(len(points), np.nan)
    first, second, third = (tuple(map(Score.of, table.T)) for table in (consensus, consistency, instability))
    return Decision(tuple(order.tolist()), first, second, third, tuple(better.tolist()))


def chances(consensus: np.ndarray, consistency: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """See `Decision.better`, from the scores of each resample, (resamples, k)."""
    if consensus.shape[1] == 1:
        return np.full(1, np.nan)
    logs = predicted(consensus, consistency) + rng.normal(0, WITHIN, consensus.shape)
    best = logs.argmin(axis=1)
    return np.array([float((best != i).mean()) for i in range(consensus.shape[1])])


def nearest_two(between: np.ndarray) -> np.ndarray:
    """Mean of the smallest two off-diagonal entries of each row, (..., k, k) to (..., k); NaN without another model."""
    k = between.shape[-1]
    if k == 1:
        return np.full(between.shape[:-1], np.nan)
    others = np.where(np.eye(k, dtype=bool), np.inf, between)
    return np.sort(others, axis=-1)[..., : min(NEAREST, k - 1)].mean(axis=-1)


def rank_sum(consensus: np.ndarray, consistency: np.ndarray) -> np.ndarray:
    """Sum of the two ranks of k models, 1 is best; the sum of the scores settles ties. Without a consensus, its own."""
    if np.isnan(consensus).any():
        return np.asarray(rankdata(consistency))
    bits = rankdata(consensus + consistency)
    return np.asarray(rankdata(consensus) + rankdata(consistency) + bits / (2 * len(bits) + 1))

"""Evaluate all combinations of levels and candidate thresholds at once, by cumulative histograms of scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta

from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.prices import Price, Prices, calibrated

_MIN_TAIL = 5  # object-holding chunks below which no tail is fitted
_MIN_SCALE = 0.5  # logits; saturated scores would fit a tail of no width
_SATURATED = 1e-3  # beyond this and its complement, differences between a network's probabilities are meaningless
_LOWEST = 1 / 510  # searches store scores in steps of 1 / 255: below half a step everything passes


@dataclass(frozen=True, eq=False)
class Candidates:
    """Candidate thresholds of one coarse level.

    Parameters
    ----------
    thresholds
        (c,) ascending; the first, minus infinity, leaves the level out.
    unseen
        (c,) share of objects expected to be lost beyond those lost in the sample.
    fitted
        (c,) whether it is below all objects of the sample, so that its loss follows from the fitted tail alone.
    holders
        Number of chunks of the level that hold an object; of unequal ones, how many equal ones they are worth.
    """

    thresholds: np.ndarray
    unseen: np.ndarray
    fitted: np.ndarray
    holders: int


@dataclass(frozen=True, eq=False)
class Cheapest:
    """The cheapest real cascade that keeps the target; ``cost_s`` is infinite if there is none.

    ``thresholds`` starts at level 1 and has None for levels left out; ``miss`` is the expected share of objects lost,
    ``fitted`` whether a threshold depends on a fitted tail, ``holders`` the fewest object-holding chunks of a level
    used.
    """

    thresholds: tuple[float | None, ...]
    cost_s: float
    miss: float
    fitted: bool
    holders: int


def below(scores: np.ndarray, score: float) -> float:
    """A threshold midway between a score and the next lower one: the same chunks pass, without ties."""
    lower = scores[scores < score]
    middle = np.float32((float(lower.max()) + score) / 2) if lower.size else np.float32(score / 2)
    return float(middle) if not lower.size or middle > lower.max() else float(score)


def cheapest(
    calibration: Calibration,
    found: np.ndarray,
    allowed: float,
    confidence: float | None,
    prices: Prices | None = None,
    extra_s: float = 0.0,
) -> Cheapest:
    """Search all combinations.

    Parameters
    ----------
    calibration
        See there.
    found
        (m,) level-0 chunks of the objects that level 0 finds, at least one.
    allowed
        Share of them that may be lost.
    confidence
        Confidence of the bound on that share, by counting; None for its expectation.
    prices
        Ways to run each stage, of which each combination takes the cheapest. Default: those of the calibration.
    extra_s
        Seconds per level-0 chunk that a cascade takes beside its calls.
    """
    coarse = range(1, len(calibration.scores))
    per_level = {1: 40, 2: 24, 3: 18}.get(len(coarse), 8)
    sets = [candidates(calibration, found, k, allowed, per_level) for k in coarse]
    shape = tuple(len(c.thresholds) for c in sets)
    cost = _costs(calibration, sets, shape, prices or calibrated(calibration)) + extra_s
    bins = [_bins(calibration, sets, calibration.ancestors(found, 0, k), k) for k in coarse]
    weights = calibration.weight(0, found)
    missed = len(found) * (1 - _passing(bins, shape, weights) / weights.sum())
    miss, bound = _losses(sets, missed, len(found), confidence)
    cost[bound > allowed + 1e-9] = np.inf
    cost[(0,) * len(shape)] = np.inf
    at = np.unravel_index(int(np.argmin(cost)), shape)
    picked = [float(c.thresholds[i]) if i else None for c, i in zip(sets, at, strict=True)]
    used = [(c, i) for c, i in zip(sets, at, strict=True) if i]
    return Cheapest(
        tuple(picked),
        float(cost[at]),
        float(miss[at]),
        any(bool(c.fitted[i]) for c, i in used),
        min((c.holders for c, _ in used), default=min((c.holders for c in sets), default=0)),
    )


def candidates(calibration: Calibration, found: np.ndarray, level: int, allowed: float, count: int) -> Candidates:
    """Thresholds between the lowest that the tail requires and the highest that loses no more than allowed."""
    scores = calibration.scores[level]
    chunks = calibration.ancestors(found, 0, level)
    order = np.argsort(scores[chunks], kind="stable")
    per_object, weights = scores[chunks][order], calibration.weight(0, found[order])
    holders = np.unique(chunks)
    count_of = _effective(calibration.weight(level, holders))
    chance = 1 / (count_of + 1)
    lost = (np.cumsum(weights) - weights) / weights.sum()  # by a threshold just at each
    reach = per_object[lost <= allowed + 1e-9]
    counted = np.unique(reach[np.linspace(0, len(reach) - 1, min(count, len(reach))).round().astype(int)])
    rows = [(below(scores, float(s)), chance, False) for s in counted]
    if count_of >= _MIN_TAIL:
        shares = [allowed * part for part in (1, 0.7, 0.5, 0.35, 0.25, 0.1) if allowed * part < chance]
        rows += [(tail_threshold(scores[holders], share), share, True) for share in shares]
    rows = sorted((row for row in rows if row[0] > scores.min()), key=lambda row: row[0])
    table = [(-np.inf, 0.0, False), *rows]
    return Candidates(
        np.array([t for t, _, _ in table]),
        np.array([u for _, u, _ in table]),
        np.array([f for _, _, f in table]),
        count_of,
    )


def _effective(weights: np.ndarray) -> int:
    """How many equal ones are worth as much as these (Kish): all, where the weights are equal."""
    return int(round(float(weights.sum() ** 2 / (weights**2).sum()), 6))


def tail_threshold(scores: np.ndarray, share: float) -> float:
    """The score below which a share of 1 / n of the population lies, by an exponential tail of the lowest logits.

    References
    ----------
    Weissman, J. Am. Stat. Assoc. 73 (1978) 812, for the estimator of extreme quantiles.
    """
    x = np.sort(logit(np.clip(scores.astype(float), _SATURATED, 1 - _SATURATED)))
    k = int(np.clip(round(np.sqrt(len(x))), 2, len(x) - 1))
    scale = max(_MIN_SCALE, float((x[k] - x[:k]).mean()))
    score = np.float32(expit(x[k] - scale * np.log(k / (len(x) * share))))
    return float(max(min(score, scores.min()), np.float32(_LOWEST)))


def _losses(
    sets: list[Candidates], missed: np.ndarray, objects: int, confidence: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Expected loss, and the value that must not exceed the allowed share, for every combination."""
    shape, used = missed.shape, np.zeros(missed.shape)
    miss, fitted, holders = missed / (objects + 1), np.zeros(missed.shape, bool), np.full(missed.shape, float(objects))
    for axis, c in enumerate(sets):
        along = [1] * len(shape)
        along[axis] = -1
        real = (np.arange(shape[axis]) > 0).reshape(along)
        used = used + real
        miss = miss + c.unseen.reshape(along)
        fitted = fitted | c.fitted.reshape(along)
        holders = np.where(real, np.minimum(holders, c.holders), holders)
    if confidence is None:
        return miss, miss
    rank = missed * (holders / objects) + used
    with np.errstate(invalid="ignore"):
        bound = beta.ppf(confidence, rank, np.maximum(holders - rank + 1, 0))
    return miss, np.where(fitted | ~np.isfinite(bound), 1.0, bound)


def _costs(calibration: Calibration, sets: list[Candidates], shape: tuple[int, ...], prices: Prices) -> np.ndarray:
    """Seconds per level-0 chunk of every combination."""
    cost = np.zeros(shape)
    for level, ways in enumerate(prices):
        chunks = np.arange(len(calibration.scores[level]))
        above = range(level + 1, len(calibration.scores))
        bins = [_bins(calibration, sets, calibration.ancestors(chunks, level, k), k) for k in above]
        each = [_calls(calibration, level, price, bins, shape[level:]) * price.seconds for price in ways]
        least = np.min(each, axis=0) / calibration.size[level]
        least = least.reshape((1,) * level + least.shape)
        if level:
            along = [1] * len(shape)
            along[level - 1] = -1
            least = least * (np.arange(shape[level - 1]) > 0).reshape(along)
        cost = cost + least
    return cost


def _calls(
    calibration: Calibration, level: int, price: Price, bins: list[np.ndarray], shape: tuple[int, ...]
) -> np.ndarray:
    """Calls per chunk of a level at every combination of the levels above it; see `prices.called`.

    A call that covers children of several parents is counted where one of its parents passes on each level above,
    though it may not be the same one: at most too many.
    """
    if not bins:
        return np.array(price.calls)
    groups = calibration.groups(level, price.group)
    if groups is None:
        weights = calibration.weight(level)
        return np.minimum(price.calls, _passing(bins, shape, weights) / weights.sum())
    highest = [np.zeros(groups.max() + 1, np.int64) for _ in bins]
    for best, own in zip(highest, bins, strict=True):
        np.maximum.at(best, groups, own)
    weights = calibration.group_weight(level, groups)
    return np.asarray(price.calls * _passing(highest, shape, weights) / weights.sum())


def _bins(calibration: Calibration, sets: list[Candidates], chunks: np.ndarray, level: int) -> np.ndarray:
    """Number of thresholds of its level that each chunk passes; it passes number i if that is at least i."""
    return np.searchsorted(sets[level - 1].thresholds[1:], calibration.scores[level][chunks], side="right")


def _passing(bins: list[np.ndarray], shape: tuple[int, ...], weights: np.ndarray) -> np.ndarray:
    """Total weight of those that pass at every combination of thresholds."""
    flat = np.ravel_multi_index(bins, shape)
    grid = np.bincount(flat, weights, minlength=int(np.prod(shape))).reshape(shape)
    for axis in range(len(shape)):
        grid = np.flip(np.cumsum(np.flip(grid, axis), axis=axis), axis)
    return grid

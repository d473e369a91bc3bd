"""Recall and cost of a cascade of chunk classifiers from its levels' rates: formulas and a simulator.

Level 0 is the finest. A chunk is truly positive if any of its level-0 chunks holds an object; a level-0 chunk is found
if it and all its ancestors are called positive. All sequences go from the finest level to the coarsest.

References
----------
Athey, Sawmya, Shavit, arXiv 2504.21598 (the cascade); the formulas are re-derived here and extended by variances,
two sensitivities and cost weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError


@dataclass(frozen=True)
class CascadeExpectation:
    """What a cascade finds, and how often it calls each level's classifier.

    Parameters
    ----------
    tpr, fpr
        Of the whole cascade, on level-0 chunks; NaN where a simulation drew no positive (negative) chunk.
    calls
        Classifier calls at each level per level-0 chunk of the volume; one-level detection is (1,).
    variance
        Of ``calls``, times the number n of level-0 chunks: the calls at level k have variance ``n * variance[k]``.
        None for measured prevalences, where it depends on how objects cluster.
    total_variance
        The same for calls of all levels together.
    """

    tpr: float
    fpr: float
    calls: tuple[float, ...]
    variance: tuple[float, ...] | None = None
    total_variance: float | None = None

    @property
    def total_calls(self) -> float:
        """Calls of all levels per level-0 chunk."""
        return sum(self.calls)

    @property
    def saving(self) -> float:
        """Share of the one-level detector's calls that is saved; negative where the cascade calls more."""
        return 1 - self.total_calls

    def cost(self, weights: Sequence[float]) -> float:
        """Expected cost per level-0 chunk, for a cost per call at each level (seconds, say)."""
        cost = _numbers("cost", weights, len(self.calls), 0, np.inf)
        return float(np.dot(self.calls, cost))


def expected_cascade(
    prevalence: float | Sequence[float],
    tpr: Sequence[float],
    fpr: Sequence[float],
    branching: float | Sequence[float] = (),
    tpr_chunk: Sequence[float] | None = None,
) -> CascadeExpectation:
    """Expected recall, false positives and calls of a cascade.

    Parameters
    ----------
    prevalence
        Share of level-0 chunks that are positive, independently of each other; or the measured share at each level
        (of level-0 chunks whose ancestor at that level is positive), which tells how objects cluster.
    tpr, fpr
        True and false positive rate of each level's classifier; errors are independent given the truth.
    branching
        Children per parent: one number, or one per step from the finest up. Need not be whole (ragged grids).
    tpr_chunk
        Same as ``tpr`` by default. But a coarse chunk with many objects is easier to see than one with a single object:
        then ``tpr``, per object, gives the cascade's ``tpr``, and ``tpr_chunk``, per positive chunk, calls and ``fpr``.

    Raises
    ------
    InputError
        For rates outside 0..1, lengths that differ, or prevalences that fall from fine to coarse.
    """
    beta = _rates("tpr", tpr)
    levels = len(beta)
    alpha = _rates("fpr", fpr, levels)
    chunk = beta if tpr_chunk is None else _rates("tpr_chunk", tpr_chunk, levels)
    steps = _steps(branching, levels)
    iid = np.ndim(prevalence) == 0
    share = _iid_prevalence(prevalence, steps) if iid else _measured_prevalence(prevalence, levels)
    size = np.concatenate([[1.0], np.cumprod(steps)])
    calls = tuple(float(_pass_rate(share, alpha, chunk, k) / size[k]) for k in range(levels))
    variance = tuple(_variance(share, alpha, chunk, steps, np.eye(levels)[k]) for k in range(levels)) if iid else None
    total = _variance(share, alpha, chunk, steps, np.ones(levels)) if iid else None
    return CascadeExpectation(float(np.prod(beta)), _false_positive_rate(share, alpha, chunk), calls, variance, total)


def simulate_cascade(
    prevalence: float | Sequence[float],
    tpr: Sequence[float],
    fpr: Sequence[float],
    branching: int | Sequence[int],
    chunks: int,
    seed: int = 0,
) -> CascadeExpectation:
    """The quantities of `expected_cascade`, sampled.

    Parameters
    ----------
    prevalence, tpr, fpr, branching
        As there; branching in whole numbers.
    chunks
        Level-0 chunks to draw, rounded up to whole coarsest chunks.
    seed
        Same seed, same result.
    """
    beta = _rates("tpr", tpr)
    alpha = _rates("fpr", fpr, len(beta))
    steps = _steps(branching, len(beta))
    if (steps != np.floor(steps)).any() or chunks < 1:
        raise InputError(f"got branching {branching}, {chunks} chunks; a simulation needs whole numbers, 1 or more")
    rng = np.random.default_rng(seed)
    whole = steps.astype(int)
    tops = -(-int(chunks) // int(whole.prod()))
    if np.ndim(prevalence) == 0:
        truth = _draw_iid(rng, float(_iid_prevalence(prevalence, steps)[0]), whole, tops)
    else:
        truth = _draw_clustered(rng, _measured_prevalence(prevalence, len(beta)), whole, tops)
    called = [np.ones(tops, bool)]  # coarsest first while descending
    for level in range(len(beta) - 1, -1, -1):
        positive = called[-1] & (rng.random(truth[level].size) < np.where(truth[level], beta[level], alpha[level]))
        called.append(np.repeat(positive, whole[level - 1]) if level else positive)
    *called, found = called
    per_top = np.stack([c.reshape(tops, -1).sum(axis=1) for c in called[::-1]])
    n = truth[0].size
    return CascadeExpectation(
        float(found[truth[0]].mean()) if truth[0].any() else float("nan"),
        float(found[~truth[0]].mean()) if not truth[0].all() else float("nan"),
        tuple(float(c) for c in per_top.sum(axis=1) / n),
        tuple(float(v) for v in per_top.var(axis=1) * tops / n),
        float(per_top.sum(axis=0).var() * tops / n),
    )


def break_even(
    tpr: Sequence[float],
    fpr: Sequence[float],
    branching: float | Sequence[float],
    cost: Sequence[float] | None = None,
) -> float:
    """Prevalence (of level-0 chunks, independent) below which the cascade costs less than one level.

    Parameters
    ----------
    tpr, fpr, branching
        As in `expected_cascade`; each level above the finest must be better than chance, ``tpr >= fpr``.
    cost
        Per call at each level; all equal without it.

    Returns
    -------
    float
        0 where the cascade never gains, 1 where it always does. With two levels: where the share of coarse chunks that
        are called positive reaches ``1 - cost[1] / (branching * cost[0])``.
    """
    beta, weights = _rates("tpr", tpr), [1.0] * len(tpr) if cost is None else cost
    if (beta[1:] < _rates("fpr", fpr, len(beta))[1:]).any():
        raise InputError(
            f"got tpr {list(tpr)} below fpr {list(fpr)} at a coarse level; that level is worse than chance"
        )

    def gains(prevalence: float) -> bool:
        return expected_cascade(prevalence, tpr, fpr, branching).cost(weights) < float(weights[0])

    if gains(1.0):
        return 1.0
    low, high = 0.0, 1.0
    if not gains(low):
        return 0.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gains(middle) else (low, middle)
    return low


def _numbers(
    name: str, values: float | Sequence[float] | np.ndarray, length: int, low: float, high: float
) -> np.ndarray:
    array = np.atleast_1d(np.asarray(values, float))
    if array.ndim != 1 or array.size != length:
        raise InputError(f"got {array.size} values of {name}; need {length}, from the finest level to the coarsest")
    if not ((array >= low) & (array <= high) & np.isfinite(array)).all():
        raise InputError(f"got {name} {array.tolist()}; allowed: {low:g} to {high:g}")
    return array


def _rates(name: str, values: Sequence[float], length: int | None = None) -> np.ndarray:
    size = np.atleast_1d(np.asarray(values, float)).size if length is None else length
    if size == 0:
        raise InputError(f"got no {name}; need one per level, at least one")
    return _numbers(name, values, size, 0, 1)


def _steps(branching: float | Sequence[float], levels: int) -> np.ndarray:
    each = np.asarray(branching, float)
    return _numbers("branching", np.repeat(each, levels - 1) if each.ndim == 0 else each, levels - 1, 1, np.inf)


def _iid_prevalence(prevalence: float | Sequence[float], steps: np.ndarray) -> np.ndarray:
    """``1 - (1 - p) ** (b ** k)``, exact also for tiny p."""
    p = float(_numbers("prevalence", prevalence, 1, 0, 1)[0])
    size = np.concatenate([[1.0], np.cumprod(steps)])
    return np.ones(len(size)) if p == 1 else -np.expm1(size * np.log1p(-p))


def _measured_prevalence(prevalence: float | Sequence[float], levels: int) -> np.ndarray:
    share = _numbers("prevalence", prevalence, levels, 0, 1)
    if (np.diff(share) < -1e-12).any():
        raise InputError(f"got prevalences {share.tolist()}; they cannot fall from the finest level to the coarsest")
    return share


def _pass_rate(share: np.ndarray, alpha: np.ndarray, chunk: np.ndarray, level: int) -> float:
    """Probability that all ancestors of a chunk at ``level`` are called positive: by its lowest positive ancestor."""
    edges = np.concatenate([[0.0], share[level + 1 :], [1.0]])
    return float(np.dot(np.diff(edges), _by_lowest_positive(alpha[level + 1 :], chunk[level + 1 :])))


def _by_lowest_positive(alpha: np.ndarray, chunk: np.ndarray) -> np.ndarray:
    """P(all called positive) if the lowest truly positive one is the 1st, 2nd, ..., or none (last entry)."""
    below = np.concatenate([[1.0], np.cumprod(alpha)])
    above = np.concatenate([np.cumprod(chunk[::-1])[::-1], [1.0]])
    return below * above


def _false_positive_rate(share: np.ndarray, alpha: np.ndarray, chunk: np.ndarray) -> float:
    weights = np.diff(np.concatenate([share, [1.0]]))
    negative = weights.sum()
    if negative <= 0:  # every chunk is positive: what a negative one among them would meet
        weights, negative = np.eye(len(share))[0], 1.0
    return float(alpha[0] * np.dot(weights / negative, _by_lowest_positive(alpha[1:], chunk[1:])))


def _variance(share: np.ndarray, alpha: np.ndarray, chunk: np.ndarray, steps: np.ndarray, weights: np.ndarray) -> float:
    """Variance of the weighted calls below one coarsest chunk, per level-0 chunk; exact for independent chunks.

    Goes up the tree with the first two moments of a called chunk's subtree, given that it is negative or positive.
    A positive parent's children are independent given that not all are negative.
    """
    mean = np.full(2, weights[0])  # given negative, given positive
    square = mean**2
    for level, b in enumerate(steps, start=1):
        p = share[level - 1]
        one, two = (1 - p) * mean[0] + p * mean[1], (1 - p) * square[0] + p * square[1]
        firsts = np.array([b * mean[0], b * one])  # of the children together: all negative; any
        seconds = np.array([b * (square[0] - mean[0] ** 2), b * (two - one**2)]) + firsts**2
        if share[level] > 0:
            firsts[1], seconds[1] = ((m[1] - (1 - share[level]) * m[0]) / share[level] for m in (firsts, seconds))
        rate = np.array([alpha[level], chunk[level]])
        mean = weights[level] + rate * firsts
        square = weights[level] ** 2 + 2 * weights[level] * rate * firsts + rate * seconds
    p = share[-1]
    one, two = (1 - p) * mean[0] + p * mean[1], (1 - p) * square[0] + p * square[1]
    return float(max(0.0, two - one**2) / steps.prod())


def _draw_iid(rng: np.random.Generator, p: float, steps: np.ndarray, tops: int) -> list[np.ndarray]:
    truth = [rng.random(tops * int(steps.prod())) < p]
    for b in steps:
        truth.append(np.any(truth[-1].reshape(-1, b), axis=1))
    return truth


def _draw_clustered(rng: np.random.Generator, share: np.ndarray, steps: np.ndarray, tops: int) -> list[np.ndarray]:
    """Each positive parent has one child that is positive for certain, the others fill up to the measured share."""
    truth = [rng.random(tops) < share[-1]]
    for level in range(len(steps) - 1, -1, -1):
        b, parent = int(steps[level]), truth[-1]
        wanted = b * share[level] / share[level + 1] if share[level + 1] > 0 else 1.0
        if wanted < 1 - 1e-9:
            raise InputError(
                f"got prevalences {share.tolist()} for {b} children; a level can be at most {b} times the finer"
            )
        others = (wanted - 1) / (b - 1) if b > 1 else 0.0
        positive = rng.random((parent.size, b)) < others
        positive[np.arange(parent.size), rng.integers(b, size=parent.size)] = True
        truth.append((positive & parent[:, None]).ravel())
    return truth[::-1]

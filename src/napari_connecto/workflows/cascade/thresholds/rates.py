"""Rates of a cascade with given thresholds on the validation blocks: measured, by the formulas, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import beta

from napari_connecto.core.rates import CascadeExpectation, expected_cascade
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.prices import Price, Prices, called


@dataclass(frozen=True)
class LevelRates:
    """Rates of one level on the validation blocks at its threshold; None if the level is not used.

    Parameters
    ----------
    prevalence
        Share of level-0 chunks inside a positive chunk of this level; also known if the level is not used.
    tpr_object, tpr_chunk
        Share of objects whose chunk is called positive, and of positive chunks.
    fpr
        Share of empty chunks that are called positive; chunks that are not labelled throughout do not count.
    """

    prevalence: float
    tpr_object: float | None
    tpr_chunk: float | None
    fpr: float | None


@dataclass(frozen=True, eq=False)
class Measured:
    """Result of a cascade on the validation blocks.

    Parameters
    ----------
    thresholds
        Per level, finest first; None if not used.
    called
        Per level, (n_k,) which chunks are called.
    positive
        (n_0,) which level-0 chunks are called positive.
    found, kept
        (m,) level-0 chunks of the objects that level 0 alone finds, and which of them the cascade finds.
    """

    thresholds: tuple[float | None, ...]
    called: tuple[np.ndarray, ...]
    positive: np.ndarray
    found: np.ndarray
    kept: np.ndarray


@dataclass(frozen=True)
class Intervals:
    """95 % intervals of relative recall and of the saving, and the number of resampled blocks."""

    recall: tuple[float, float]
    saving: tuple[float, float]
    blocks: int


def measure(calibration: Calibration, thresholds: tuple[float | None, ...], found: np.ndarray) -> Measured:
    """Run the gating rule on the scores; ``found`` as in `Measured`."""
    called: list[np.ndarray] = []
    passed = np.ones(len(calibration.scores[-1]), bool)
    for level in range(len(thresholds) - 1, -1, -1):
        if level < len(thresholds) - 1:
            passed = passed[calibration.parents[level]]
        limit = thresholds[level]
        called.append(passed if limit is not None else np.zeros_like(passed))
        if limit is not None:
            passed = passed & (calibration.scores[level] >= limit)
    return Measured(thresholds, tuple(called[::-1]), passed, found, passed[found])


def calls_per_chunk(calibration: Calibration, measured: Measured) -> tuple[float, ...]:
    """Calls at each level per level-0 chunk, as if all parents had all their children."""
    shares = (calibration.share(called, k) for k, called in enumerate(measured.called))
    return tuple(float(share / size) for share, size in zip(shares, calibration.size, strict=True))


def cheapest_ways(calibration: Calibration, measured: Measured, prices: Prices) -> tuple[tuple[Price, float], ...]:
    """Per level, the price of least cost for the chunks that are classified, and that cost per level-0 chunk."""
    found = []
    for k, (chunks, size) in enumerate(zip(measured.called, calibration.size, strict=True)):
        costs = [called(calibration, k, price, chunks) * price.seconds / float(size) for price in prices[k]]
        least = int(np.argmin(costs))
        found.append((prices[k][least], costs[least]))
    return tuple(found)


def level_rates(calibration: Calibration, level: int, threshold: float | None) -> LevelRates:
    """Rates of one level by itself, over all its chunks."""
    truth, empty, n = calibration.chunk_truth(level), calibration.chunk_empty(level), len(calibration.truth)
    within = calibration.ancestors(np.arange(n), 0, level)
    judged = (truth | empty)[within] & (True if calibration.judged is None else calibration.judged)
    counted = np.flatnonzero(judged) if judged.any() else np.arange(n)
    prevalence = calibration.share(truth[within][counted], 0, counted)
    if threshold is None:
        return LevelRates(prevalence, None, None, None)
    passed = calibration.scores[level] >= threshold
    objects = calibration.ancestors(calibration.objects, 0, level)
    return LevelRates(
        prevalence,
        calibration.share(passed[objects], level, objects) if objects.size else 1.0,
        calibration.share(passed[truth], level, np.flatnonzero(truth)) if truth.any() else 1.0,
        calibration.share(passed[empty], level, np.flatnonzero(empty)) if empty.any() else 0.0,
    )


def predict(calibration: Calibration, rates: tuple[LevelRates, ...]) -> CascadeExpectation:
    """Rates of the cascade by the formulas, from the levels' rates; calls are 0 at levels that are not used."""
    used = [k for k, r in enumerate(rates) if r.fpr is not None]
    expected = expected_cascade(
        [rates[k].prevalence for k in used],
        [rates[k].tpr_object or 0.0 for k in used],
        [rates[k].fpr or 0.0 for k in used],
        list(calibration.size[used][1:] / calibration.size[used][:-1]),
        [rates[k].tpr_chunk or 0.0 for k in used],
    )
    calls = dict(zip(used, expected.calls, strict=True))
    return replace(expected, calls=tuple(calls.get(k, 0.0) for k in range(len(rates))))


def intervals(
    calibration: Calibration,
    measured: Measured,
    chunk_s: Sequence[float],
    holders: int,
    rng: np.random.Generator,
    resamples: int,
) -> Intervals:
    """Resample blocks, because neighbours are correlated: chunks of the coarsest level that has at least ten.

    A sample without misses resamples to no misses, so the lower end of recall is at most the Clopper-Pearson bound
    on ``holders``, the coarse chunks that hold objects. ``chunk_s`` are the seconds per classified chunk of each level,
    relative to those of an exhaustive search, and last those of what a cascade takes beside its calls.
    """
    sizes = [len(s) for s in calibration.scores]
    block_level = max((k for k, n in enumerate(sizes) if n >= 10), default=0)
    blocks = sizes[block_level]
    if all(limit is None for limit in measured.thresholds[1:]):
        return Intervals((1.0, 1.0), (0.0, 0.0), blocks)
    drawn = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples)

    def resampled(chunks: np.ndarray, level: int, values: np.ndarray) -> np.ndarray:
        place, weight = calibration.ancestors(chunks, level, block_level), calibration.weight(level, chunks)
        total = drawn @ np.bincount(place, weight, minlength=blocks)
        return (drawn @ np.bincount(place, weight * values, blocks))[total > 0] / total[total > 0]

    saved = np.full(resamples, 1.0 - chunk_s[-1])
    for k, chunks in enumerate(measured.called):
        share = resampled(np.arange(sizes[k]), k, chunks) if k <= block_level else calibration.share(chunks, k)
        saved -= share / calibration.size[k] * chunk_s[k]
    kept = resampled(measured.found, 0, measured.kept)
    lost = (1 - calibration.share(measured.kept, 0, measured.found)) * holders
    counted = float(beta.ppf(0.025, holders - lost, lost + 1)) if lost < holders else 0.0
    low, high = (float(v) for v in np.quantile(kept, [0.025, 0.975]))
    cheap, dear = (float(v) for v in np.quantile(saved, [0.025, 0.975]))
    return Intervals((min(low, counted), high), (cheap, dear), blocks)

"""Choose levels and thresholds: lowest expected cost for a target recall.

Recall is relative to an exhaustive search: of the objects that level 0 alone finds, the share whose ancestors all pass.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.amounts import counted, percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.rates import CascadeExpectation
from napari_connecto.core.shown import shown
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.combinations import Cheapest, below, cheapest
from napari_connecto.workflows.cascade.thresholds.held_out import LabelledRecall
from napari_connecto.workflows.cascade.thresholds.prices import Price, Prices, calibrated, exhaustive_price
from napari_connecto.workflows.cascade.thresholds.rates import (
    LevelRates,
    Measured,
    calls_per_chunk,
    cheapest_ways,
    intervals,
    level_rates,
    measure,
    predict,
)

CROWDED = 0.5
"""Share of chunks with an object from which on there is little to rule out, whatever a coarse level can tell."""


@shown
@dataclass(frozen=True)
class Choice:
    """The chosen cascade; sequences go from the finest level to the coarsest, intervals are 95 %.

    Parameters
    ----------
    thresholds
        A chunk is called positive at ``score >= threshold``; None if the level is not used.
    recall
        Measured on the validation blocks, relative to an exhaustive search.
    expected_recall
        Expected on new data: includes misses that a sample of this size cannot show.
    recall_interval
        Bootstrap over blocks or Clopper-Pearson on the coarse chunks that hold objects, whichever is wider.
    calls
        Chunks classified at each level per level-0 chunk, measured; 0 if the level is not used.
    ways
        How each level runs at least cost: chunks per call, seconds per call.
    level_s
        Expected seconds of each level per level-0 chunk.
    cost_s, one_level_cost_s, saving, saving_interval
        Expected seconds per level-0 chunk, of this choice and of the best exhaustive search, which takes the tile of
        least cost; share saved, bootstrapped over blocks.
    tpr, fpr
        Measured, of the whole cascade: share of all objects found, share of empty level-0 chunks called positive.
    predicted
        ``tpr``, ``fpr`` and ``calls`` by `expected_cascade` from ``rates``, for comparison with the measured ones.
    rates
        See `LevelRates`.
    objects, blocks
        Sample size: objects that level 0 finds, blocks that were resampled.
    held_out
        Recall of the labelled held-out objects; None for cascades measured without.
    reason
        Why this cascade, or why none, in words.
    """

    thresholds: tuple[float | None, ...]
    recall: float
    expected_recall: float
    recall_interval: tuple[float, float]
    calls: tuple[float, ...]
    ways: tuple[Price, ...]
    level_s: tuple[float, ...]
    cost_s: float
    one_level_cost_s: float
    saving: float
    saving_interval: tuple[float, float]
    tpr: float
    fpr: float
    predicted: CascadeExpectation
    rates: tuple[LevelRates, ...]
    objects: int
    blocks: int
    reason: str
    held_out: LabelledRecall | None = None

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels that are used, finest first; (0,) is no cascade."""
        return tuple(k for k, t in enumerate(self.thresholds) if t is not None)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def choose_thresholds(
    calibration: Calibration,
    target_recall: float = 0.99,
    *,
    threshold: float | None = None,
    confidence: float | None = None,
    finder: str = "level 0",
    resamples: int = 1000,
    seed: int = 0,
    prices: Prices | None = None,
    extra_s: float = 0.0,
    always: bool = False,
) -> Choice:
    """Choose the levels and thresholds of lowest expected cost.

    Parameters
    ----------
    calibration
        Measured on labelled blocks that no level was trained on.
    target_recall
        Of the one-level detector's recall, between 0 and 1.
    threshold
        Of level 0; without it the one of best F1 on level-0 chunks.
    confidence
        Without it the *expected* recall on new data reaches the target. With it (0.95, say), the lower bound of this
        confidence does, by counting alone: that takes about ``3 / (1 - target_recall)`` objects per level used.
    finder
        What finds the objects that recall refers to, for `Choice.reason`.
    resamples, seed
        Of the bootstrap.
    prices
        Ways to run each stage on this machine. Default: the seconds per call of the calibration.
    extra_s
        Seconds per level-0 chunk that a cascade takes beside its calls: its audit, and making coarse levels.
    always
        Choose the cheapest cascade also where an exhaustive search costs less.

    Notes
    -----
    The lowest of n exchangeable scores is undercut by a new one with probability 1 / (n + 1), so each level is charged
    this much on top of what it misses in the sample, with n the chunks of that level that hold an object (objects in
    one chunk share its score). Where n is too small for the target, thresholds are lowered further by fitting an
    exponential to the lower tail of the scores' logits; `Choice.reason` says so.

    Raises
    ------
    InputError
        For a target outside (0, 1), or a calibration without any positive chunk.
    """
    if not 0 < target_recall < 1 or not (confidence is None or 0 < confidence < 1):
        raise InputError(f"got target_recall={target_recall}, confidence={confidence}; allowed: between 0 and 1")
    if threshold is None:
        known = calibration.truth | calibration.chunk_empty(0)
        threshold = best_threshold(calibration.scores[0][known], calibration.truth[known])
    prices = prices or calibrated(calibration)
    found = calibration.objects[calibration.scores[0][calibration.objects] >= threshold]
    best = Cheapest((None,) * (len(calibration.scores) - 1), np.inf, 0.0, False, 0)
    if len(found) and len(calibration.scores) > 1:
        best = cheapest(calibration, found, 1 - target_recall, confidence, prices, extra_s)
    gains = best.cost_s < (np.inf if always else exhaustive_price(prices).chunk_s)
    coarse = best.thresholds if gains else (None,) * len(best.thresholds)
    measured = measure(calibration, (threshold, *coarse), found)
    choice = _choice(calibration, measured, prices, extra_s if gains else 0.0, 1 - best.miss if gains else 1.0)
    choice = _with_intervals(choice, calibration, measured, best.holders, (seed, resamples))
    reason = _why(choice, best, finder) if gains else _why_none(best, calibration, prices, len(found), target_recall)
    return replace(choice, reason=reason)


def exhaustive_choice(calibration: Calibration, threshold: float, prices: Prices | None = None) -> Choice:
    """The finest level alone: nothing is gated, so no recall of a gating is stated."""
    found = calibration.objects[calibration.scores[0][calibration.objects] >= threshold]
    measured = measure(calibration, (threshold, *(None,) * (len(calibration.scores) - 1)), found)
    choice = _choice(calibration, measured, prices or calibrated(calibration), 0.0, 1.0)
    choice = _with_intervals(choice, calibration, measured, 0, (0, 1))
    return replace(choice, reason="Exhaustive search requested.")


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> float:
    """The threshold of best F1 for scores (n,) and truth (n,), midway between two scores."""
    if not truth.any():
        raise InputError("the validation blocks hold no object; label some there, or give the threshold of level 0")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    f1 = 2 * np.cumsum(truth[order]) / (np.arange(1, len(ranked) + 1) + np.count_nonzero(truth))
    f1[np.append(ranked[1:] == ranked[:-1], False)] = -1  # equal scores pass together
    return below(scores, float(ranked[np.argmax(f1)]))


def _choice(calibration: Calibration, m: Measured, prices: Prices, extra_s: float, expected: float) -> Choice:
    """The choice without its intervals."""
    ways = cheapest_ways(calibration, m, prices)
    cost, one_level = sum(seconds for _, seconds in ways) + extra_s, exhaustive_price(prices).chunk_s
    rates = tuple(level_rates(calibration, k, limit) for k, limit in enumerate(m.thresholds))
    objects, empty = calibration.objects, np.flatnonzero(calibration.chunk_empty(0))
    return Choice(
        thresholds=m.thresholds,
        recall=calibration.share(m.kept, 0, m.found) if m.kept.size else 1.0,
        expected_recall=max(0.0, expected),
        recall_interval=(0.0, 1.0),
        calls=calls_per_chunk(calibration, m),
        ways=tuple(price for price, _ in ways),
        level_s=tuple(seconds for _, seconds in ways),
        cost_s=cost,
        one_level_cost_s=one_level,
        saving=1 - cost / one_level,
        saving_interval=(0.0, 0.0),
        tpr=calibration.share(m.positive[objects], 0, objects) if objects.size else 1.0,
        fpr=calibration.share(m.positive[empty], 0, empty) if empty.size else 0.0,
        predicted=predict(calibration, rates),
        rates=rates,
        objects=len(m.found),
        blocks=0,
        reason="",
        held_out=_labelled(calibration, m),
    )


def _with_intervals(
    choice: Choice, calibration: Calibration, m: Measured, holders: int, draws: tuple[int, int]
) -> Choice:
    """``draws``: the bootstrap's seed, and its number of resamples."""
    one_level, (seed, resamples) = choice.one_level_cost_s, draws
    chunk_s = [s / calls / one_level if calls else 0.0 for s, calls in zip(choice.level_s, choice.calls, strict=True)]
    extra = (choice.cost_s - sum(choice.level_s)) / one_level
    spread = intervals(calibration, m, [*chunk_s, extra], holders, np.random.default_rng(seed), resamples)
    return replace(choice, recall_interval=spread.recall, saving_interval=spread.saving, blocks=spread.blocks)


def _labelled(calibration: Calibration, m: Measured) -> LabelledRecall | None:
    held_out = calibration.held_out
    if held_out is None:
        return None
    gated = held_out.found & m.called[0][calibration.objects]
    return LabelledRecall(len(gated), int(gated.sum()), int(held_out.found.sum()))


def _why(choice: Choice, best: Cheapest, finder: str) -> str:
    names = " and ".join(f"level {k}" for k in choice.levels[:0:-1])
    low, high = map(percent, choice.saving_interval)
    kept, new, least = (percent(r, 1) for r in (choice.recall, choice.expected_recall, choice.recall_interval[0]))
    text = (
        f"{names.capitalize()} before level 0: saves {percent(choice.saving)} of the cost ({low} to {high}), keeps "
        f"{kept} of what {finder} finds; on new data expect {new}, at least {least}. "
        f"This rests on {choice.objects} objects in {best.holders} coarse chunks"
    )
    if best.fitted:
        text += ": too few to measure so small a loss, so a threshold was extrapolated below all of them "
        text += "from the tail of the scores"
    return text + "." + (f" Overall, {choice.held_out.sentence}" if choice.held_out is not None else "")


def _why_none(best: Cheapest, calibration: Calibration, prices: Prices, found: int, target: float) -> str:
    if len(calibration.scores) == 1:
        return "No cascade: there is only one level."
    if found == 0:
        return f"No cascade: level 0 finds none of the {len(calibration.objects)} validation objects at its threshold."
    if not np.isfinite(best.cost_s):
        crowded = float(calibration.truth.mean())
        if crowded >= CROWDED:
            return f"No cascade: {percent(crowded)} of the validation chunks hold objects; there is little to rule out."
        return (
            f"No cascade: {found} validation objects in {counted(best.holders, 'coarse chunk')} are too few, or score "
            f"too low there, to keep {percent(target, 1)} of them; label more, or lower the target recall."
        )
    ratio = best.cost_s / exhaustive_price(prices).chunk_s
    return (
        f"No cascade: the fastest cascade that keeps {percent(target, 1)} would take {ratio:.2f} times as long, audit "
        "included, as the best exhaustive search."
    )

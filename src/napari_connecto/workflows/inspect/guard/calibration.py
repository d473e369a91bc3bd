"""Several checks of a tile as one score, with a limit calibrated to a stated false-alarm rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.shown import shown

FOLDS = 5
Rule: TypeAlias = Literal["sum", "max"]


@shown
@dataclass(frozen=True)
class Calibration:
    """Statistics of a tile to one score; above ``limit`` a tile is flagged.

    Parameters
    ----------
    names
        Of the statistics, k of them; larger is worse.
    mean, scale
        (k,) of good tiles, by which statistics are standardised.
    weights
        (k,) of the standardised statistics in the score: those of a logistic regression of bad against good tiles.
    limit
        Split conformal quantile of the score over good held-out tiles.
    false_alarm
        Stated share of good tiles above it.
    alarms, tiles
        Measured: good held-out tiles above the limit chosen without their own fold, of how many.
    rule
        Whether the score is the weighted sum of the standardised statistics, or the largest of them.

    References
    ----------
    Bates, Candes, Lei, Romano, Sesia, Ann. Statist. 51 (2023) 149, arXiv 2104.08279 (conformal limits of outliers).
    """

    names: tuple[str, ...]
    mean: np.ndarray = field(repr=False)
    scale: np.ndarray = field(repr=False)
    weights: np.ndarray
    limit: float
    false_alarm: float
    alarms: int
    tiles: int
    rule: Rule = "sum"

    @classmethod
    def either(cls, names: Sequence[str], good: np.ndarray, false_alarm: float) -> Calibration:
        """As `fit`, with the largest of the standardised statistics as score: each alone may flag a tile.

        For checks of which one falls where the other rises: of a blurred image an answer is consistent, and wrong.
        """
        return cls.fit(names, good, good[:0], np.zeros(0, bool), false_alarm, rule="max")

    @classmethod
    def fit(
        cls,
        names: Sequence[str],
        good: np.ndarray,
        learning: np.ndarray,
        bad: np.ndarray,
        false_alarm: float,
        *,
        rule: Rule = "sum",
    ) -> Calibration:
        """Fit to statistics of tiles.

        Parameters
        ----------
        names
            Of the k statistics.
        good
            (n, k) of good held-out tiles; those that follow each other are in one fold. They set the limit.
        learning, bad
            (m, k) of other tiles, and (m,) bool whether each is bad. They set the weights; if all are of one sort,
            statistics count alike.
        false_alarm
            Share of good tiles that may be flagged.
        rule
            See `Calibration`; "max" has no weights to learn.

        Raises
        ------
        InputError
            If there are too few good tiles for this rate.
        """
        needed = max(FOLDS, ceil(1 / false_alarm) - 1)
        if len(good) < needed:
            raise InputError(
                f"got {len(good)} good held-out tiles; a false-alarm rate of {percent(false_alarm)} needs {needed} or "
                "more: give more held-out examples, or a higher rate"
            )
        mean, scale = good.mean(axis=0), np.maximum(good.std(axis=0), 1e-6)
        weights = _logistic((learning - mean) / scale, bad) if rule == "sum" else np.ones(len(mean))
        made = cls(tuple(names), mean, scale, weights, 0.0, false_alarm, 0, len(good), rule)
        scores = made.score(good)
        alarms = 0
        for fold in np.array_split(np.arange(len(scores)), FOLDS):
            alarms += int((scores[fold] > _quantile(np.delete(scores, fold), false_alarm)).sum())
        return replace(made, limit=_quantile(scores, false_alarm), alarms=alarms)

    def score(self, statistics: np.ndarray) -> np.ndarray:
        """Scores (n,) of statistics (n, k)."""
        weighted = (np.asarray(statistics, np.float64) - self.mean) / self.scale * self.weights
        return weighted.sum(axis=1) if self.rule == "sum" else weighted.max(axis=1)

    @property
    def measured(self) -> float:
        """Measured false-alarm rate."""
        return self.alarms / self.tiles

    def to_json(self) -> dict[str, Any]:
        """Plain types; inverse of `from_json`."""
        return {key: v.tolist() if isinstance(v, np.ndarray) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Calibration:
        """From JSON; raises `ModelError` if it is damaged."""
        try:
            arrays = {key: np.array(told[key], np.float64) for key in ("mean", "scale", "weights")}
            made = cls(**{**told, **arrays, "names": tuple(map(str, told["names"]))})
            shapes = {a.shape for a in arrays.values()}
            if shapes != {(len(made.names),)} or not all(np.isfinite(a).all() for a in arrays.values()):
                raise ValueError(f"arrays of shapes {shapes} for {len(made.names)} statistics")
            if made.rule not in get_args(Rule):
                raise ValueError(f"rule {made.rule!r}")
            if not (np.isfinite(made.limit) and (made.scale > 0).all() and 0 <= made.alarms <= made.tiles > 0):
                raise ValueError(f"limit {made.limit}, {made.alarms} alarms of {made.tiles} tiles")
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the calibration of a guard is damaged ({error}); fit the guard again") from error
        return made


def _quantile(scores: np.ndarray, false_alarm: float) -> float:
    """The k-th smallest of n, k = ceil((n + 1) (1 - rate)): at most that share of new tiles exceeds it."""
    k = min(len(scores), ceil((len(scores) + 1) * (1 - false_alarm)))
    return float(np.sort(scores)[k - 1])


def _logistic(x: np.ndarray, bad: np.ndarray, penalty: float = 1.0, rounds: int = 50) -> np.ndarray:
    """Weights (k,), none below 0, of a ridge-penalised logistic regression with intercept, by Newton's method.

    A statistic with a negative weight is left out and the rest is fitted again.
    """
    kept = np.ones(x.shape[1], bool)
    if bad.all() or not bad.any():
        return kept / kept.sum()
    x = np.clip(x, -20, 20)
    while kept.any():
        design = np.column_stack([np.ones(len(x)), x[:, kept]])
        ridge = penalty * np.diag([0.0, *np.ones(int(kept.sum()))])
        beta = np.zeros(design.shape[1])
        for _ in range(rounds):
            p = 1 / (1 + np.exp(-np.clip(design @ beta, -30, 30)))
            slope = design.T @ (bad - p) - ridge @ beta
            curve = (design * (p * (1 - p))[:, None]).T @ design + ridge + 1e-9 * np.eye(len(beta))
            beta += np.clip(np.linalg.solve(curve, slope), -5, 5)
        if (beta[1:] >= 0).all():
            break
        kept[np.flatnonzero(kept)[int(np.argmin(beta[1:]))]] = False
    found = np.zeros(x.shape[1])
    found[kept] = beta[1:]
    return found if found.any() else np.ones(x.shape[1]) / x.shape[1]

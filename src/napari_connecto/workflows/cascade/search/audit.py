"""Audit: re-examine a random sample of the rejected chunks at full resolution, to bound what a cascade missed."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from scipy.stats import beta

from napari_connecto.core.errors import InputError

EVERYTHING = "what an exhaustive search finds"


@dataclass(frozen=True)
class Audit:
    """Result of an audit; everything is relative to an exhaustive search.

    Parameters
    ----------
    positives, sampled, rejected
        Level-0 chunks that the finest level calls positive, among those sampled, of all that were rejected.
    found
        Level-0 chunks that the cascade found positive.
    confidence
        Confidence level of the upper bounds.
    missed, missed_upper
        Positive chunks among the rejected: estimate (None if none was sampled), and upper bound.
    lost, lost_upper
        Share of the positive chunks of an exhaustive search that the cascade lost: estimate, and upper bound.
    """

    positives: int
    sampled: int
    rejected: int
    found: int
    confidence: float
    missed: float | None
    missed_upper: float
    lost: float | None
    lost_upper: float

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.rejected == 0:
            return "No chunk was rejected: nothing that an exhaustive search finds can be missed."
        if self.sampled == 0:
            return f"None of the {self.rejected} rejected chunks was re-examined: the share missed is unknown."
        seen = f"the finest level finds an object in {self.positives} of {self.sampled} rejected chunks re-examined"
        sure = f"{self.confidence:.0%} confidence"
        if self.sampled == self.rejected:
            return f"{_percent(self.lost_upper)} of {EVERYTHING} was missed: {seen}, which were all."
        if self.found == 0:
            most = floor(self.missed_upper)
            hold = f"at most {most} of {self.rejected} rejected chunks hold an object"
            return f"Nothing was found; {hold} ({sure}: {seen})."
        return f"At most {_percent(self.lost_upper)} of {EVERYTHING} was missed ({sure}: {seen})."


def audit_plan(rejected: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Rejected level-0 chunks to re-examine.

    Parameters
    ----------
    rejected
        (m,) chunk indices.
    n
        Number of chunks; all if there are fewer.
    seed
        Same seed, same chunks.

    Returns
    -------
    ndarray
        Ascending, without repeats, each chunk equally likely.
    """
    if n < 0:
        raise InputError(f"got an audit of {n} chunks; allowed: 0 or more")
    rejected = np.unique(np.asarray(rejected, np.int64))
    chosen = np.random.default_rng(seed).choice(len(rejected), min(n, len(rejected)), replace=False)
    return np.sort(rejected[chosen])


def audit_bound(positives: int, sampled: int, rejected: int, found: int, confidence: float = 0.95) -> Audit:
    """Bound the loss from a random sample of the rejected chunks.

    Parameters
    ----------
    positives, sampled, rejected, found, confidence
        See `Audit`.

    Returns
    -------
    Audit
        The one-sided Clopper-Pearson bound on the share of positives among the rejected (conservative, because the
        sample
        is drawn without replacement), never more than the chunks that were not re-examined.

    Raises
    ------
    InputError
        Unless 0 <= positives <= sampled <= rejected, found >= 0 and 0 < confidence < 1.
    """
    if not 0 <= positives <= sampled <= rejected or found < 0 or not 0 < confidence < 1:
        raise InputError(
            f"got {positives} positive of {sampled} sampled of {rejected} rejected, {found} found, confidence "
            f"{confidence}; need 0 <= positive <= sampled <= rejected, found >= 0, confidence between 0 and 1"
        )
    share = 1.0 if positives == sampled else float(beta.ppf(confidence, positives + 1, sampled - positives))
    missed = positives / sampled * rejected if sampled else (None if rejected else 0.0)
    missed_upper = min(share * rejected, float(positives + rejected - sampled))
    lost = None if missed is None else _lost(missed, found)
    lost_upper = _lost(missed_upper, found)
    return Audit(positives, sampled, rejected, found, confidence, missed, missed_upper, lost, lost_upper)


def best_possible_bound(sampled: int, rejected: int, found: int, confidence: float = 0.95) -> float:
    """Bound on the lost share from an audit of this size that finds nothing: what can be expected of it."""
    return audit_bound(0, sampled, rejected, found, confidence).lost_upper


def _lost(missed: float, found: int) -> float:
    return missed / (missed + found) if missed > 0 else 0.0


def _percent(share: float) -> str:
    """Rounded up to two digits, so that it stays a bound."""
    percent = 100 * share
    digits = 0 if percent >= 10 else 1
    step = 10.0**-digits
    return f"{min(100.0, max(0.0, np.ceil(percent / step - 1e-9) * step)):.{digits}f} %"

"""What a cascade may have missed: look again, closely, at a random sample of what it rejected."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from scipy.stats import beta

from napari_connecto.core.errors import InputError

EVERYTHING = "what an exhaustive search finds"


@dataclass(frozen=True)
class Audit:
    """The result of looking again at rejected chunks; everything is relative to one-level detection.

    Parameters
    ----------
    positives, sampled, rejected
        Level-0 chunks that the finest level calls positive, among those sampled, out of all that were rejected.
    found
        Level-0 chunks that the cascade found positive.
    confidence
        Of the upper bounds.
    missed, missed_upper
        Positive chunks among the rejected: estimate (None where none was sampled), and at most.
    lost, lost_upper
        Share of the one-level detector's positive chunks that the cascade lost: estimate, and at most.
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
        """In words a user reads."""
        if self.rejected == 0:
            return "No chunk was rejected: nothing can be missed that the finest level alone would have found."
        if self.sampled == 0:
            return f"None of the {self.rejected} rejected chunks was looked at again: how much was missed is not known."
        seen = f"the finest level finds an object in {self.positives} of {self.sampled} rejected chunks looked at again"
        if self.sampled == self.rejected:
            return f"{_percent(self.lost_upper)} of {EVERYTHING} was missed: {seen}, and those were all."
        if self.found == 0:
            most = floor(self.missed_upper)
            hold = f"at most {most} of {self.rejected} rejected chunks hold an object, {self.confidence:.0%}"
            return f"Nothing was found; {hold} ({seen})."
        return f"At most {_percent(self.lost_upper)} of {EVERYTHING} was missed, {self.confidence:.0%} ({seen})."


def audit_plan(rejected: np.ndarray, n: int, seed: int = 0) -> np.ndarray:
    """Which rejected level-0 chunks to look at again.

    Parameters
    ----------
    rejected
        (m,) chunk indices.
    n
        How many; all of them where there are fewer.
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
    """Bound what was lost, from a random sample of the rejected chunks.

    Parameters
    ----------
    positives, sampled, rejected, found, confidence
        See `Audit`.

    Returns
    -------
    Audit
        The one-sided Clopper-Pearson bound on the share of positives among the rejected (on the safe side, as the
        sample is drawn without replacement), never more than what was not looked at.

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
    """The bound on the lost share that an audit of this size gives if it finds nothing: what to expect of it."""
    return audit_bound(0, sampled, rejected, found, confidence).lost_upper


def _lost(missed: float, found: int) -> float:
    return missed / (missed + found) if missed > 0 else 0.0


def _percent(share: float) -> str:
    """Rounded up to two figures, so that the bound stays one."""
    percent = 100 * share
    digits = 0 if percent >= 10 else 1
    step = 10.0**-digits
    return f"{min(100.0, max(0.0, np.ceil(percent / step - 1e-9) * step)):.{digits}f} %"

"""Audit: re-examine a sample of the rejected chunks at the finest level, to bound what a cascade missed.

A tenth of the sample are the rejected chunks that came closest to passing, the rest is drawn at random from all others.
What the first hold is known, and the bound on the others takes nothing for granted about scores: it holds whatever they
have to do with the objects. A sample that follows the scores more closely cannot do better where it finds nothing. To
rule out T missed chunks at 95 % confidence, one of any T chunks must be sampled with that probability, so each chunk
with a probability of about 3 / T: 3 / T of the rejected chunks altogether, as many as a random sample takes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor

import numpy as np
from scipy.stats import beta

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError

EVERYTHING = "what an exhaustive search finds"
NEAR = 0.1
"""Share of the sample that came closest to passing."""


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
    near, near_positives
        Those of the sample that are no random ones, but came closest to passing; 0 in results of older versions.
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
    near: int = 0
    near_positives: int = 0

    @property
    def sentence(self) -> str:
        """The result in words."""
        if self.rejected == 0:
            return "No chunk was rejected: nothing that an exhaustive search finds can be missed."
        if self.sampled == 0:
            return f"None of the {self.rejected} rejected chunks was re-examined: the share missed is unknown."
        seen = f"the finest level finds an object in {self.positives} of {self.sampled} rejected chunks re-examined"
        if self.near_positives:
            seen += f", {self.near_positives} of them among the {self.near} that came closest to passing"
        sure = f"{percent(self.confidence)} confidence"
        if self.sampled == self.rejected:
            return f"{_percent(self.lost_upper)} of {EVERYTHING} was missed: {seen}, which were all."
        if self.found == 0:
            most = floor(self.missed_upper)
            hold = f"at most {most} of {self.rejected} rejected chunks hold an object"
            return f"Nothing was found; {hold} ({sure}: {seen})."
        return f"At most {_percent(self.lost_upper)} of {EVERYTHING} was missed ({sure}: {seen})."


@dataclass(frozen=True, eq=False)
class AuditSample:
    """Rejected level-0 chunks to re-examine, ascending, without repeats.

    Parameters
    ----------
    near
        (k,) chunks that came closest to passing.
    random
        (l,) of the others, each equally likely.
    """

    near: np.ndarray
    random: np.ndarray

    @property
    def chunks(self) -> np.ndarray:
        """All of them."""
        return np.sort(np.concatenate([self.near, self.random]))


def audit_sample(rejected: np.ndarray, closeness: np.ndarray, n: int, seed: int = 0) -> AuditSample:
    """Choose rejected chunks.

    Parameters
    ----------
    rejected
        (m,) chunk indices, without repeats, in any order.
    closeness
        (m,) how close each came to passing: larger is closer. All equal: the whole sample is random.
    n
        Number of chunks; all if there are fewer.
    seed
        Same seed, same chunks.
    """
    if n < 0:
        raise InputError(f"got an audit of {n} chunks; allowed: 0 or more")
    order = np.argsort(np.asarray(rejected, np.int64))
    rejected, closeness = np.asarray(rejected, np.int64)[order], np.asarray(closeness, float)[order]
    n = min(n, len(rejected))
    tell = len(rejected) > 0 and closeness.min() < closeness.max()
    first = np.sort(np.argsort(-closeness, kind="stable")[: int(NEAR * n) if tell else 0])
    rest = np.delete(rejected, first)
    chosen = np.random.default_rng(seed).choice(len(rest), n - len(first), replace=False)
    return AuditSample(rejected[first], np.sort(rest[chosen]))


def audit_bound(
    positives: int,
    sampled: int,
    rejected: int,
    found: int,
    confidence: float = 0.95,
    *,
    near: int = 0,
    near_positives: int = 0,
) -> Audit:
    """Bound the loss from a sample of the rejected chunks.

    Parameters
    ----------
    positives, sampled, rejected, found, confidence, near, near_positives
        See `Audit`; ``positives`` and ``sampled`` include the near ones.

    Returns
    -------
    Audit
        The positives among the near chunks, and of the others the one-sided Clopper-Pearson bound on their share
        (conservative, because the sample is drawn without replacement), never more than were not re-examined.

    Raises
    ------
    InputError
        Unless 0 <= positives <= sampled <= rejected, the same of the near ones and of the others, found >= 0 and
        0 < confidence < 1.
    """
    k, n, others = positives - near_positives, sampled - near, rejected - near
    sound = 0 <= near_positives <= near and 0 <= k <= n <= others
    if not sound or found < 0 or not 0 < confidence < 1:
        raise InputError(
            f"got {positives} positive of {sampled} sampled of {rejected} rejected, {found} found, confidence "
            f"{confidence}, {near_positives} positive of {near} near; need 0 <= positive <= sampled <= rejected, found "
            ">= 0, confidence between 0 and 1"
        )
    share = 1.0 if k == n else float(beta.ppf(confidence, k + 1, n - k))
    missed = near_positives + k / n * others if n else (None if others else float(near_positives))
    missed_upper = near_positives + min(share * others, float(k + others - n))
    lost = None if missed is None else _lost(missed, found)
    rates = (missed, missed_upper, lost, _lost(missed_upper, found))
    return Audit(positives, sampled, rejected, found, confidence, *rates, near, near_positives)


def best_possible_bound(sampled: int, rejected: int, found: int, confidence: float = 0.95) -> float:
    """Bound on the lost share from an audit of this size that finds nothing: what can be expected of it."""
    sampled = min(sampled, rejected)
    return audit_bound(0, sampled, rejected, found, confidence, near=int(NEAR * sampled)).lost_upper


def chunks_for(bound: float, rejected: int, found: int, confidence: float = 0.95) -> int:
    """Fewest chunks of an audit that shows a lost share of at most ``bound`` if it finds nothing.

    About ``3 * rejected * (1 - bound) / (bound * found)``; all that were rejected if nothing was found.
    """
    low, high = 0, rejected  # the bound holds with `high`
    while low < high:
        middle = (low + high) // 2
        if best_possible_bound(middle, rejected, found, confidence) <= bound:
            high = middle
        else:
            low = middle + 1
    return high


def _lost(missed: float, found: int) -> float:
    return missed / (missed + found) if missed > 0 else 0.0


def _percent(share: float) -> str:
    """Rounded up to two digits, so that it stays a bound."""
    percent = 100 * share
    digits = 0 if percent >= 10 else 1
    step = 10.0**-digits
    return f"{min(100.0, max(0.0, np.ceil(percent / step - 1e-9) * step)):.{digits}f} %"

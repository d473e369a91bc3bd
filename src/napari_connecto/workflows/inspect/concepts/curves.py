"""Thresholds in time and size, and what comes back in depth: pure functions of scores above chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HALF = 0.5
DEVIATIONS = 3.0
FALL = 0.3


def bar(scores: Sequence[float], random: Sequence[float]) -> float:
    """What a score must exceed to count as there: half of the largest, and untrained networks' mean + 3 sd.

    Parameters
    ----------
    scores
        Of one concept, over checkpoints or sizes.
    random
        Of untrained networks; at least two have a spread, none at all leaves half of the largest.
    """
    values = np.asarray(random, float)
    control = float(values.mean() + DEVIATIONS * (values.std(ddof=1) if len(values) > 1 else 0.0)) if len(values) else 0
    return max(HALF * max(scores), control)


def threshold(scores: Sequence[float], random: Sequence[Sequence[float]]) -> int | None:
    """Index of the first score above its `bar`, in the order given; None where none is.

    ``random`` has for each score those of untrained networks of the same architecture.

    After Sawmya, Adler, Shavit, arXiv 2505.19440, who see such thresholds in time and in size; the rule is chosen here.
    """
    pairs = enumerate(zip(scores, random, strict=True))
    return next((i for i, (score, control) in pairs if score > bar(scores, control)), None)


def reactivation(scores: Sequence[float]) -> tuple[int, int, int] | None:
    """Where, in the order of depth, a score falls by more than 30 % of its peak and comes back to over 70 % of it.

    Returns
    -------
    tuple or None
        Indices of the peak, of the lowest place after it, and of the return; None where there is none. Of several, the
        one with the deepest fall.
    """
    found: tuple[float, tuple[int, int, int]] | None = None
    for back in range(2, len(scores)):
        for low in range(1, back):
            peak = int(np.argmax(scores[:low]))
            kept = 1 - FALL
            if scores[peak] > 0 and scores[low] < kept * scores[peak] < scores[back]:
                depth = scores[peak] - scores[low]
                if found is None or depth > found[0]:
                    found = (depth, (peak, low, back))
    return None if found is None else found[1]

"""How well scores put what is true before what is not."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.errors import InputError


def average_precision(score: np.ndarray, truth: np.ndarray) -> float:
    """Mean precision over the true elements, in descending order of score; random scores give the prevalence.

    Parameters
    ----------
    score, truth
        (n,) numbers, and whether each is true. Equal scores are one step of the ranking, so that their order does not
        matter.

    Raises
    ------
    InputError
        If the shapes differ, or nothing is true.
    """
    if score.shape != truth.shape or score.ndim != 1 or not score.size:
        raise InputError(f"got scores of shape {score.shape} and truth of {truth.shape}; both must be (n,), n > 0")
    order = np.argsort(-score, kind="stable")
    ranked, true = score[order], truth[order].astype(bool)
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the end of each run of equal scores
    hits = np.cumsum(true)[last]
    if hits[-1] == 0:
        raise InputError(f"nothing is true among {len(truth)}; average precision needs at least one")
    gained = np.diff(hits, prepend=0)
    return float((gained * hits / (last + 1)).sum() / hits[-1])

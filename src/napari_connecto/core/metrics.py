"""Precision, recall and F1 from counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError


@dataclass(frozen=True)
class Counts:
    """Objects (or chunks) found correctly, found wrongly and missed; counts of several images add up.

    Where nothing was found precision is 1, where nothing is to be found recall is 1.
    """

    tp: int
    fp: int
    fn: int

    def __post_init__(self) -> None:
        if min(self.tp, self.fp, self.fn) < 0:
            raise InputError(f"got {self.tp} true, {self.fp} false, {self.fn} missed; counts cannot be negative")

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def precision(self) -> float:
        """Share of the detections that are correct."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 1.0

    @property
    def recall(self) -> float:
        """Share of the objects that were found."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there is nothing and nothing was found."""
        all_three = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / all_three if all_three else 1.0


def count(found: np.ndarray, truth: np.ndarray) -> Counts:
    """Counts of two boolean arrays of one shape: voxels of masks, or chunks.

    The F1 of voxels is the Dice coefficient.
    """
    if found.shape != truth.shape:
        raise InputError(f"got shapes {found.shape} and {truth.shape}; they must be equal")
    found, truth = found.astype(bool), truth.astype(bool)
    both = int(np.count_nonzero(found & truth))
    return Counts(both, int(np.count_nonzero(found)) - both, int(np.count_nonzero(truth)) - both)


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Dice coefficient of two masks of one shape, ``2 |A and B| / (|A| + |B|)``; 1 where both are empty."""
    return count(found, truth).f1


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    """Area under the ROC curve of detecting errors by a score: chance that a wrong one scores higher, ties half.

    Mann and Whitney (1947). NaN if all or none are wrong.
    """
    score, wrong = np.ravel(score), np.ravel(wrong).astype(bool)
    if score.shape != wrong.shape:
        raise InputError(f"got {score.size} scores and {wrong.size} verdicts; each score needs one")
    n, m = int(wrong.sum()), int((~wrong).sum())
    if n == 0 or m == 0:
        return float("nan")
    _, at, sizes = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(sizes) - (sizes - 1) / 2
    return float((rank[at.ravel()][wrong].sum() - n * (n + 1) / 2) / (n * m))

"""Coverage of recalibrated intervals, and how far that may be trusted: cross-conformal prediction by parts of a block.

Voxels beside each other err alike, so a quarter of a million of them are no such number of independent observations:
what varies is counted by parts. Each is left out of the recalibration once and covered by that of the others (Vovk,
arXiv 1208.0806); the spread of those shares gives the interval of the next block of tissue like this.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import pairwise, product
from typing import Any

import numpy as np
from scipy.stats import t

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.workflows.xray.reliability import NOMINAL, Recalibration, quantile

CONFIDENCE = 0.95
LEAST = 3
"""Parts without which nothing is said."""


@shown
@dataclass(frozen=True)
class Coverage:
    """Share of voxels inside their 90 % intervals, in parts that were left out of the recalibration.

    Parameters
    ----------
    share
        Mean over parts.
    low, high
        Prediction interval (95 %) of the share in another part of this size of the same tissue, by Student's t over
        parts.
    before
        Mean share with the standard deviations as given.
    parts
        Number of parts.
    """

    share: float
    low: float
    high: float
    before: float
    parts: int

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """In words."""
        before, after, low, high = (percent(share, 1) for share in (self.before, self.share, self.low, self.high))
        return (
            f"90 % intervals covered {before} before and {after} after recalibration, on {self.parts} parts, each left "
            f"out once; expect {low} to {high} in tissue like this"
        )


def cross_coverage(
    mean: np.ndarray, sd: np.ndarray, truth: np.ndarray, *, valid: np.ndarray | None = None, cuts: int = 2
) -> Coverage:
    """What recalibration on a block reaches elsewhere.

    Parameters
    ----------
    mean, sd, truth, valid
        As for `reliability.calibration`, (z, y, x).
    cuts
        Parts along each axis: 2 gives eight.

    Raises
    ------
    InputError
        If fewer than `LEAST` parts have valid voxels with a standard deviation.
    """
    known = (np.ones(mean.shape, bool) if valid is None else valid) & (sd > 0)
    parts = [p for p in _parts(mean.shape, cuts) if known[p].any()]
    if len(parts) < LEAST:
        raise InputError(f"got {len(parts)} parts with valid voxels; at least {LEAST} are needed: use a larger block")
    shares, before = [], []
    for part in parts:
        others = known.copy()
        others[part] = False
        fitted = Recalibration.fit(mean, sd, truth, valid=others)
        here = known[part]
        error = np.abs(mean - truth)[part][here]
        shares.append(float(np.mean(error <= quantile(NOMINAL) * fitted(sd[part][here]))))
        before.append(float(np.mean(error <= quantile(NOMINAL) * sd[part][here])))
    n, share = len(shares), float(np.mean(shares))
    spread = float(t.ppf(0.5 + CONFIDENCE / 2, n - 1) * np.std(shares, ddof=1) * np.sqrt(1 + 1 / n))
    return Coverage(share, max(0.0, share - spread), min(1.0, share + spread), float(np.mean(before)), n)


def _parts(shape: tuple[int, ...], cuts: int) -> list[tuple[slice, ...]]:
    edges = [np.linspace(0, n, cuts + 1).astype(int) for n in shape]
    along = [[slice(int(a), int(b)) for a, b in pairwise(e) if b > a] for e in edges]
    return list(product(*along))

"""Evaluate and recalibrate an uncertainty: coverage, ranking of errors, recalibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import spearmanr

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.shown import shown

LEVELS = (0.5, 0.8, 0.9, 0.95)
RANKED = 1_000_000
"""Largest number of voxels to sort, evenly spaced."""
NOMINAL = 0.9
"""Target coverage of recalibration."""
BINS, PER_BIN = 24, 500
"""Largest number of bins of a recalibration, and fewest voxels per bin."""


@shown
@dataclass(frozen=True)
class Calibration:
    """Quality of an uncertainty.

    Parameters
    ----------
    coverage
        Measured share of voxels within the central interval of each nominal share.
    ause
        Area between the sparsification curves by uncertainty and by true error (Ilg et al., arXiv 1802.07095), of the
        mean absolute error relative to that of all voxels; 0 is the best, random order gives about the oracle's gain.
    spearman
        Rank correlation of \\|error\\| with sd; NaN if one of them is constant.
    removed, by_sd, by_error
        The curves: share of voxels removed, and relative error of the rest, most uncertain (largest error) first.
    """

    coverage: Mapping[float, float]
    ause: float
    spearman: float
    removed: np.ndarray = field(repr=False)
    by_sd: np.ndarray = field(repr=False)
    by_error: np.ndarray = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        curves = {name: np.round(getattr(self, name), 4).tolist() for name in ("removed", "by_sd", "by_error")}
        coverage = {f"{level:g}": share for level, share in self.coverage.items()}
        return {"coverage": coverage, "ause": self.ause, "spearman": self.spearman, **curves}


def calibration(
    mean: np.ndarray,
    sd: np.ndarray,
    truth: np.ndarray,
    *,
    valid: np.ndarray | None = None,
    levels: Sequence[float] = LEVELS,
) -> Calibration:
    """Compare an uncertainty with the true error.

    Parameters
    ----------
    mean, sd, truth
        Of one shape and scale; ``sd`` is the standard deviation of a Gaussian, at least 0.
    valid
        Boolean, of that shape: the voxels to use.
    levels
        Nominal shares of the central intervals.

    Raises
    ------
    InputError
        If shapes differ, values are not finite, sd is negative, a level is outside (0, 1), or nothing is valid.
    """
    error, sd = _errors(mean, sd, truth, valid)
    if not all(0 < level < 1 for level in levels):
        raise InputError(f"got levels {tuple(levels)}; allowed: between 0 and 1, both excluded")
    coverage = {float(q): float(np.mean(error <= quantile(q) * sd)) for q in levels}
    step = -(-len(error) // RANKED)
    error, sd = error[::step], sd[::step]
    removed = np.linspace(0, 0.99, 100)
    by_sd, by_error = _sparsified(error, sd, removed), _sparsified(error, error, removed)
    constant = np.ptp(error) == 0 or np.ptp(sd) == 0
    rho = float("nan") if constant else float(spearmanr(error, sd).statistic)
    return Calibration(coverage, float(np.trapezoid(by_sd - by_error, removed)), rho, removed, by_sd, by_error)


def quantile(share: float) -> float:
    """Half-width, in standard deviations, of the interval that holds this share of a Gaussian."""
    return NormalDist().inv_cdf(0.5 + share / 2)


@dataclass(frozen=True)
class Recalibration:
    """A rising map of standard deviations: linear between knots, proportional beyond them.

    Voxels are sorted by stated sd into bins of equal count; each bin gives the sd whose 90 % interval would hold 90 %;
    isotonic regression (Barlow et al. 1972) makes these monotone. Only the calibration blocks are used, so that
    coverage elsewhere is a prediction.
    """

    stated: tuple[float, ...]
    right: tuple[float, ...]

    def __post_init__(self) -> None:
        values = np.array([self.stated, self.right]) if len(self.stated) == len(self.right) else np.empty((0, 0))
        if values.size == 0 or not np.isfinite(values).all() or (values <= 0).any() or (np.diff(values) < 0).any():
            raise ModelError(f"got a recalibration {self.stated} -> {self.right}; both must rise and be above 0")

    @classmethod
    def fit(
        cls, mean: np.ndarray, sd: np.ndarray, truth: np.ndarray, *, valid: np.ndarray | None = None
    ) -> Recalibration:
        """From blocks not used for training; see `calibration` for the arrays.

        Raises
        ------
        InputError
            As `calibration`; and if no voxel has an sd above 0.
        """
        error, sd = _errors(mean, sd, truth, valid)
        error, sd = error[sd > 0], sd[sd > 0]
        if not len(sd):
            raise InputError("the standard deviation is 0 everywhere; there is nothing to recalibrate")
        parts = np.array_split(np.argsort(sd, kind="stable"), int(np.clip(len(sd) // PER_BIN, 1, BINS)))
        stated = np.maximum.accumulate([np.median(sd[part]) for part in parts])
        right = np.array([np.quantile(error[part], NOMINAL) for part in parts]) / quantile(NOMINAL)
        right = np.maximum(isotonic_regression(right).x, 1e-6)
        return cls(tuple(stated.tolist()), tuple(right.tolist()))

    def __call__(self, sd: np.ndarray) -> np.ndarray:
        """Recalibrated standard deviations, the shape and type of ``sd``."""
        x, y = np.array(self.stated), np.array(self.right)
        inside = np.interp(sd, x, y)
        out = np.where(sd < x[0], sd * (y[0] / x[0]), np.where(sd > x[-1], sd * (y[-1] / x[-1]), inside))
        return out.astype(sd.dtype, copy=False)


def _errors(
    mean: np.ndarray, sd: np.ndarray, truth: np.ndarray, valid: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Absolute errors and standard deviations of the valid voxels, flat."""
    mean, sd, truth = (np.asarray(a, np.float64) for a in (mean, sd, truth))
    where = np.ones(mean.shape, bool) if valid is None else np.asarray(valid, bool)
    shapes = {mean.shape, sd.shape, truth.shape, where.shape}
    if len(shapes) != 1:
        raise InputError(f"got arrays of shapes {sorted(shapes)}; mean, sd, truth and valid must be of one shape")
    error, sd = np.abs(mean - truth)[where], sd[where]
    if not len(error):
        raise InputError("no voxel is valid; at least one is needed")
    if not np.isfinite(error).all() or not np.isfinite(sd).all() or sd.min() < 0:
        raise InputError("got values that are not finite, or a negative standard deviation; mask them out (valid)")
    return error, sd


def _sparsified(error: np.ndarray, score: np.ndarray, removed: np.ndarray) -> np.ndarray:
    """Mean error of the rest, relative to all, after removing shares with the highest scores."""
    ordered = error[np.argsort(score, kind="stable")]
    means = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    left = np.maximum(1, np.rint((1 - removed) * len(ordered)).astype(int))
    return means[left - 1] / means[-1] if means[-1] > 0 else np.zeros(len(removed))

"""A low-rank Gaussian for feature vectors with more dimensions than samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EXPLAINED = 0.9
"""Share of the variance that the kept axes explain, as far as `PER_DIRECTION` allows."""
PER_DIRECTION = 5
"""Samples needed per axis."""
LEAST_SCALE = 0.1
"""Smallest scale of a feature, as a share of the root mean square scale: nearly constant features are not blown up."""


@dataclass(frozen=True)
class Gaussian:
    """Probabilistic PCA of standardised vectors.

    Parameters
    ----------
    mean, scale
        (d,) per feature; vectors are standardised as ``(vector - mean) / scale``.
    directions
        (k, d) principal axes, orthonormal rows.
    variances
        (k,) along the axes, largest first.
    residual
        Variance along each of the other d - k axes.

    References
    ----------
    Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611: covariance ``W W' + s^2 I``, s^2 the mean of the discarded
    eigenvalues.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    residual: float

    @classmethod
    def fit(cls, vectors: np.ndarray) -> Gaussian:
        """Fit to vectors (n, d), n >= 2."""
        mean, spread = vectors.mean(axis=0), vectors.std(axis=0, ddof=1)
        typical = float(np.sqrt(np.mean(spread**2))) or 1.0
        scale = np.maximum(spread, LEAST_SCALE * typical)
        _, singular, axes = np.linalg.svd((vectors - mean) / scale, full_matrices=False)
        eigenvalues = singular**2 / (len(vectors) - 1)
        share = np.cumsum(eigenvalues) / max(float(eigenvalues.sum()), 1e-12)
        wanted = int(np.searchsorted(share, EXPLAINED)) + 1
        k = max(1, min(wanted, len(vectors) // PER_DIRECTION, vectors.shape[1]))
        rest = float(eigenvalues[k:].sum()) / max(1, vectors.shape[1] - k)
        least = 1e-6 * max(float(eigenvalues[0]), 1e-12)
        return cls(mean, scale, axes[:k], np.maximum(eigenvalues[:k], least), max(rest, least))

    def distance(self, vectors: np.ndarray) -> np.ndarray:
        """Mahalanobis distance (n,) of vectors (n, d) from the mean, divided by sqrt(d): typically about 1."""
        z = (vectors - self.mean) / self.scale
        along = z @ self.directions.T
        beyond = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        squared = (along**2 / self.variances).sum(axis=1) + beyond / self.residual
        return np.sqrt(squared / z.shape[1])

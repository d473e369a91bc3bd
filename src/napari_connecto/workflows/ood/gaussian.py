"""A Gaussian of few directions, for vectors of which there are fewer than they have numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EXPLAINED = 0.9
"""Share of the variance that the directions hold, unless too few vectors are there to know so many."""
PER_DIRECTION = 5
"""Vectors needed for each direction."""
LEAST_SCALE = 0.1
"""A feature that hardly varies counts as varying by a tenth of what features do on average."""


@dataclass(frozen=True)
class Gaussian:
    """Probabilistic PCA of standardised vectors.

    Parameters
    ----------
    mean, scale
        (d,) of each feature; vectors are compared as ``(vector - mean) / scale``.
    directions
        (k, d) orthonormal rows: the principal axes.
    variances
        (k,) along them, the largest first.
    residual
        Variance along each of the other d - k axes.

    References
    ----------
    Tipping & Bishop, J. R. Stat. Soc. B 61 (1999) 611: covariance ``W W' + s^2 I``, s^2 the mean of the discarded
    eigenvalues. Standardising, and how many directions are kept, are ours.
    """

    mean: np.ndarray
    scale: np.ndarray
    directions: np.ndarray
    variances: np.ndarray
    residual: float

    @classmethod
    def fit(cls, vectors: np.ndarray) -> Gaussian:
        """Of vectors (n, d), n >= 2."""
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
        """Mahalanobis distance (n,) of vectors (n, d) from the mean, over sqrt(d): about 1 is usual."""
        z = (vectors - self.mean) / self.scale
        along = z @ self.directions.T
        beyond = np.maximum((z**2).sum(axis=1) - (along**2).sum(axis=1), 0)
        squared = (along**2 / self.variances).sum(axis=1) + beyond / self.residual
        return np.sqrt(squared / z.shape[1])

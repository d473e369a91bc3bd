"""How far a unit's pre-activations are from a normal distribution, and how hard its mapping is.

Sawmya et al., arXiv 2405.15756: units far from normal ("Wasserstein neurons") map alike inputs to unlike outputs. The
effect is bound to smooth activations (arXiv 2509.24198). Measured on segmentation networks in docs/benchmarks/prune.md.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from napari_connecto.core.errors import InputError


def wasserstein_to_normal(values: np.ndarray) -> float:
    """Wasserstein-1 distance of standardised values to a standard normal distribution.

    Parameters
    ----------
    values
        (n,) pre-activations of one unit, at least 2.

    Returns
    -------
    float
        Mean |sorted((y - mean) / sd) - normal quantiles|; 0 for a constant.

    Raises
    ------
    InputError
        If there are fewer than 2 values, or some are not finite.
    """
    y = np.asarray(values, np.float64).ravel()
    if y.size < 2 or not np.isfinite(y).all():
        raise InputError(f"got {y.size} values; needed are 2 or more, all finite")
    spread = y.std()
    if spread == 0:
        return 0.0
    quantiles = ndtri((np.arange(y.size) + 0.5) / y.size)
    return float(np.abs(np.sort((y - y.mean()) / spread) - quantiles).mean())


def mapping_difficulty(inputs: np.ndarray, values: np.ndarray, *, pairs: int = 20_000, seed: int = 0) -> float:
    """How far a unit takes apart inputs that are close to each other.

    Parameters
    ----------
    inputs
        (n, d) inputs of the unit.
    values
        (n,) its pre-activations.
    pairs, seed
        Number of random pairs, and their seed.

    Returns
    -------
    float
        Mean of (|y_i - y_j| / N_y) / (|x_i - x_j| / N_x), with N_x the largest and N_y the median distance of a pair;
        pairs of equal inputs do not count; 0 if all values are equal.

    Raises
    ------
    InputError
        If numbers of inputs and values differ, or there are fewer than 2.
    """
    x, y = np.asarray(inputs, np.float64), np.asarray(values, np.float64).ravel()
    if len(x) != len(y) or len(y) < 2:
        raise InputError(f"got {len(x)} inputs and {len(y)} values; needed is one value per input, 2 or more")
    a, b = np.random.default_rng(seed).integers(0, len(y), (2, pairs))
    apart = np.linalg.norm(x[a] - x[b], axis=1)
    there, taken = np.abs(y[a] - y[b])[apart > 0], apart[apart > 0]
    middle = float(np.median(there)) if there.size else 0.0
    return float(np.mean((there / middle) / (taken / taken.max()))) if middle > 0 else 0.0

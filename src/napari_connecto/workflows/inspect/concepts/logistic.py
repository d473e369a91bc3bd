"""A class-balanced logistic classifier of activations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from napari_connecto.core.errors import InputError

RIDGE = 1e-3
"""Penalty on the squared weights, of standardised channels; the mean loss of an ignorant classifier is 0.69."""
ITERATIONS = 60


@dataclass(frozen=True)
class Linear:
    """``score = activations @ weights + bias``; the logit of a class-balanced probability.

    Parameters
    ----------
    weights, bias
        (channels,) and a number, of activations as they are.
    mean, scale
        (channels,) of the activations it was fitted to.
    """

    weights: np.ndarray
    bias: float
    mean: np.ndarray
    scale: np.ndarray

    def __call__(self, activations: np.ndarray) -> np.ndarray:
        """Scores (n,) of activations (n, channels)."""
        return activations @ self.weights + np.float32(self.bias)

    @property
    def direction(self) -> np.ndarray:
        """Unit vector (channels,) along which the score rises, in standardised channels."""
        along = self.weights * self.scale
        return along / max(float(np.linalg.norm(along)), 1e-12)


def fit_linear(activations: np.ndarray, truth: np.ndarray, ridge: float = RIDGE) -> Linear:
    """Logistic regression on standardised channels, both classes weighing the same.

    Parameters
    ----------
    activations, truth
        (n, channels), and (n,) whether the concept is there.
    ridge
        Penalty on the squared weights.

    Raises
    ------
    InputError
        If a class is missing.

    References
    ----------
    Alain and Bengio, arXiv 1610.01644 (linear probes of layers).
    """
    truth = truth.astype(bool)
    count = np.array([np.count_nonzero(~truth), np.count_nonzero(truth)])
    if count.min() == 0:
        raise InputError(f"got {count[1]} pixels of a class and {count[0]} of the rest; both need at least one")
    mean, spread = activations.mean(axis=0), activations.std(axis=0)
    scale = np.where(spread > 1e-6 * max(float(spread.max()), 1e-30), spread, 1.0)
    x = ((activations - mean) / scale).astype(np.float32)
    sign = np.where(truth, 1.0, -1.0).astype(np.float32)
    share = (0.5 / count[truth.astype(int)]).astype(np.float32)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ w[:-1].astype(np.float32) + np.float32(w[-1]))
        slope = -sign * share * _falling(margin)
        grad = np.append(x.T @ slope + ridge * w[:-1], slope.sum())
        value = float((share * np.logaddexp(0, -margin)).sum() + 0.5 * ridge * (w[:-1] ** 2).sum())
        return value, grad.astype(np.float64)

    start = np.zeros(x.shape[1] + 1)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": ITERATIONS}).x
    weights = (found[:-1] / scale).astype(np.float32)
    return Linear(weights, float(found[-1] - mean @ weights), mean.astype(np.float32), scale.astype(np.float32))


def _falling(margin: np.ndarray) -> np.ndarray:
    """``1 / (1 + exp(margin))`` without overflow."""
    return 0.5 * (1 - np.tanh(0.5 * margin))

"""Toy networks that compute an OR of ANDs: set by hand, or trained with Adam in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Network:
    """``w2 . relu(w1 x + b1) + b2``, true where it is positive.

    Parameters
    ----------
    w1, b1, w2, b2
        (neurons, inputs), (neurons,), (neurons,) and a number.
    """

    w1: np.ndarray
    b1: np.ndarray
    w2: np.ndarray
    b2: float

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Inputs (n, inputs), Boolean or 0 and 1, to answers (n,), Boolean."""
        hidden = np.maximum(np.asarray(x, float) @ self.w1.T + self.b1, 0)
        return np.asarray(hidden @ self.w2 + self.b2 > 0)


def truth(x: np.ndarray, clauses: Sequence[Sequence[int]]) -> np.ndarray:
    """Whether any clause has all its inputs on: (..., inputs) to (...)."""
    return np.any([x[..., list(clause)].all(-1) for clause in clauses], axis=0)


def hand_set(clauses: Sequence[Sequence[int]], inputs: int, neurons: int, seed: int = 0) -> Network:
    """A network in which every clause of k inputs has a code of its own, half of the neurons.

    To these its inputs have weight 1, and biases are 1 / 2 - k, so that a neuron fires for k inputs; the answer is true
    once the neurons of any code do. It is right as long as at most k inputs are on; of more, those of several clauses
    together can fire the neurons of another code, which is the interference of channels.

    Raises
    ------
    ValueError
        If clauses differ in size or share inputs, or there are more of them than codes.
    """
    sizes, members = {len(clause) for clause in clauses}, [i for clause in clauses for i in clause]
    if len(sizes) != 1 or len(set(members)) < len(members):
        raise ValueError(f"got clauses of {sorted(sizes)} inputs; give them one size and no input in common")
    rng, length = np.random.default_rng(seed), max(1, neurons // 2)
    w1, codes = np.zeros((neurons, inputs)), set()
    for clause in clauses:
        for _ in range(1000):
            code = tuple(sorted(rng.permutation(neurons)[:length].tolist()))
            if code not in codes:
                break
        else:
            raise ValueError(f"got {len(clauses)} clauses, which is more than {neurons} neurons have codes for")
        codes.add(code)
        w1[np.ix_(code, list(clause))] = 1.0
    (k,) = sizes
    return Network(w1, np.full(neurons, 0.5 - k), np.ones(neurons), -0.5 * length + 0.25)


def train(
    clauses: Sequence[Sequence[int]],
    inputs: int,
    neurons: int,
    seeds: Sequence[int],
    *,
    steps: int = 2500,
    batch: int = 256,
    rate: float = 1e-2,
) -> list[Network]:
    """Networks trained to compute an OR of clauses, one per seed, all at once.

    Inputs are on with probability 0.3; in 30 % of the samples all inputs of one clause are. Logistic loss, Adam.

    Parameters
    ----------
    clauses, inputs, neurons
        What is computed, of how many inputs, by how many hidden neurons.
    seeds
        Of initial weights and samples.
    steps, batch, rate
        Of the training.
    """
    rngs = [np.random.default_rng(seed) for seed in seeds]
    shapes = [((neurons, inputs), inputs), ((neurons,), inputs), ((neurons,), neurons), ((), neurons)]
    weights = [np.stack([rng.uniform(-(n**-0.5), n**-0.5, shape) for rng in rngs]) for shape, n in shapes]
    means, squares = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    for step in range(1, steps + 1):
        x = np.stack([_samples(rng, clauses, inputs, batch) for rng in rngs])
        gradients = _gradients(weights, x, truth(x > 0, clauses))
        for w, m, v, gradient in zip(weights, means, squares, gradients, strict=True):
            m += 0.1 * (gradient - m)
            v += 0.001 * (gradient**2 - v)
            w -= rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
    return [Network(w1, b1, w2, float(b2)) for w1, b1, w2, b2 in zip(*weights, strict=True)]


def _samples(rng: np.random.Generator, clauses: Sequence[Sequence[int]], inputs: int, batch: int) -> np.ndarray:
    members = np.zeros((len(clauses) + 1, inputs), bool)  # and none
    for row, clause in zip(members, clauses, strict=False):
        row[list(clause)] = True
    forced = np.where(rng.random(batch) < 0.3, rng.integers(len(clauses), size=batch), len(clauses))
    return ((rng.random((batch, inputs)) < 0.3) | members[forced]).astype(float)


def _gradients(weights: list[np.ndarray], x: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """Of the mean logistic loss; the first axis is the network."""
    w1, b1, w2, b2 = weights
    before = x @ w1.transpose(0, 2, 1) + b1[:, None]
    hidden = np.maximum(before, 0)
    logit = (hidden @ w2[..., None])[..., 0] + b2[:, None]
    error = (1 / (1 + np.exp(-logit)) - target) / x.shape[1]
    back = error[..., None] * w2[:, None] * (before > 0)
    return [back.transpose(0, 2, 1) @ x, back.sum(1), (error[:, None] @ hidden)[:, 0], error.sum(1)]

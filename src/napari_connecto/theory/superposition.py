"""Computing in superposition: many pairwise ANDs on few neurons (Adler and Shavit, arXiv 2409.15318).

The paper: computing m' features takes of the order of sqrt(m' log m') neurons and m' log m' parameters at least, and
pairwise AND can be computed on the order of sqrt(m') log m' neurons. Representing m' features takes only log m'.

The construction here is the plain one with random codes, for inputs of which each is in O(sqrt(m')) pairs; its bound on
false positives is derived in `false_positive_bound`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, comb, log2, sqrt

import numpy as np


def neurons_lower_bound(features: int) -> float:
    """sqrt(m' log2 m'): no network computes m' features with fewer neurons, up to a constant factor."""
    return sqrt(parameters_lower_bound(features))


def parameters_lower_bound(features: int) -> float:
    """m' log2 m': no network computes m' features with fewer parameters, up to a constant factor."""
    if features < 1:
        raise ValueError(f"got {features} features; there is at least one")
    return features * log2(features)


def code_length(pairs: int) -> int:
    """Neurons that each AND reads, log2 of their number rounded up."""
    if pairs < 1:
        raise ValueError(f"got {pairs} pairs; there is at least one")
    return max(1, ceil(log2(pairs)))


def false_positive_bound(pairs: int, degree: int, neurons: int) -> float:
    """Upper bound on the probability, over the random codes, that an AND is true for two other inputs.

    Of two inputs that are not the pair, one, b, is not in it, and the AND is true only if b is connected to all L
    neurons of its code. The d codes of b are independent of it and connect a neuron with probability
    p = 1 - (1 - L / n)^d; that one neuron is connected makes others less likely to be, so the bound is p^L. With
    n = 2 d L it is 1 / m' or less; where d is of the order of sqrt(m'), n is of the order of sqrt(m') log m'.

    Parameters
    ----------
    pairs
        Their number, m'.
    degree
        Largest number of pairs that one input is in, d.
    neurons
        n.
    """
    length = code_length(pairs)
    return (1 - (1 - length / neurons) ** degree) ** length


@dataclass(frozen=True)
class TwoAnd:
    """ANDs of pairs of inputs: ``relu(w1 x - 1)``, and per pair the sum over its code.

    Parameters
    ----------
    pairs
        (pairs, 2) inputs.
    codes
        (pairs, L) neurons, different ones in each row.
    w1
        (neurons, inputs), 0 or 1.
    """

    pairs: np.ndarray
    codes: np.ndarray
    w1: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Inputs (n, inputs), of which at most two are on, to answers (n, pairs), Boolean."""
        hidden = np.maximum(np.asarray(x, float) @ self.w1.T - 1, 0)
        return np.asarray(hidden[:, self.codes].sum(2) > self.codes.shape[1] - 0.5)

    @property
    def parameters(self) -> int:
        """Weights that are not 0, and biases: at most pairs * 3 L + neurons."""
        return int(np.count_nonzero(self.w1)) + self.codes.size + self.w1.shape[0]

    @property
    def degree(self) -> int:
        """Largest number of pairs that one input is in."""
        return int(np.bincount(self.pairs.ravel()).max())

    @property
    def bound(self) -> float:
        """See `false_positive_bound`."""
        return false_positive_bound(len(self.pairs), self.degree, self.w1.shape[0])

    def false_positive_rate(self) -> float:
        """Share of all (two inputs, other pair) for which the AND is true; counted exactly, without running it.

        An AND is true for every two of the inputs that are connected to its whole code.
        """
        connected = [comb(int(self.w1[code].all(0).sum()), 2) for code in self.codes]
        others = comb(self.w1.shape[1], 2) - 1
        return (sum(connected) - len(self.pairs)) / max(1, others * len(self.pairs))


def two_and(m: int, pairs: Sequence[tuple[int, int]] | np.ndarray, neurons: int, seed: int = 0) -> TwoAnd:
    """A network that computes the ANDs of pairs of inputs on fewer neurons than there are pairs.

    It has no false negative, and false positives with a probability of at most `false_positive_bound`.

    Parameters
    ----------
    m
        Number of inputs.
    pairs
        Two different inputs each, no pair twice.
    neurons
        Hidden neurons, at least `code_length` of the number of pairs.
    seed
        Of the codes.

    Raises
    ------
    ValueError
        If the pairs are no such pairs, or the neurons too few.

    Examples
    --------
    >>> both = two_and(4, [(0, 1), (2, 3)], neurons=8)
    >>> both(np.array([[1, 1, 0, 0], [1, 0, 1, 0]])).tolist()
    [[True, False], [False, False]]
    """
    wanted = np.asarray(pairs, int).reshape(-1, 2)
    known = {tuple(sorted(pair)) for pair in wanted.tolist()}
    if not len(known) or len(known) < len(wanted) or min(wanted.min(), m - 1 - wanted.max()) < 0:
        raise ValueError(f"got pairs that repeat, or inputs outside 0 to {m - 1}; give every pair once")
    if (wanted[:, 0] == wanted[:, 1]).any():
        raise ValueError("got a pair of an input with itself; give two different inputs")
    length = code_length(len(wanted))
    if neurons < length:
        raise ValueError(f"got {neurons} neurons for codes of {length}; give at least as many")
    rng = np.random.default_rng(seed)
    codes = np.argsort(rng.random((len(wanted), neurons)), axis=1)[:, :length]
    w1 = np.zeros((neurons, m))
    for column in (0, 1):
        w1[codes, wanted[:, column, None]] = 1
    return TwoAnd(wanted, codes, w1)

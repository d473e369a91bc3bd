"""Feature channel coding: the clauses that a network computes, from the signs of its weights.

Adler, Alistarh, Shavit, arXiv 2504.08842. A network of one hidden layer, ``h = relu(w1 x + b1)``, ``y = w2 h``, on
Boolean inputs computes an OR of clauses, each an AND of inputs. The inputs of a clause share a *code*, the signs of
their weights to the hidden neurons; the neurons on which they agree are the clause's *channel*. Channels share neurons,
and interfere there.

The idea, the signs and the two kinds of witnesses are the paper's. The measure of agreement and the thresholds are
chosen here, so a clause that `decode_clauses` does not find is no evidence against the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


def sign_codes(w1: np.ndarray, tau: float = 0.0) -> np.ndarray:
    """Signs of weights.

    Parameters
    ----------
    w1
        (neurons, inputs) weights of the hidden layer.
    tau
        Weights of smaller magnitude count as 0.

    Returns
    -------
    numpy.ndarray
        (neurons, inputs) int8: -1, 0 or 1. Column i is the code of input i.

    Examples
    --------
    >>> sign_codes(np.array([[0.9, -0.05], [-2.0, 1.0]]), tau=0.1).tolist()
    [[1, 0], [-1, 1]]
    """
    w1 = np.asarray(w1, float)
    if w1.ndim != 2:
        raise ValueError(f"got weights of shape {w1.shape}; they are (neurons, inputs)")
    return np.where(np.abs(w1) > tau, np.sign(w1), 0).astype(np.int8)


def agreement(codes: np.ndarray) -> np.ndarray:
    """How much the codes of two inputs agree, (inputs, inputs), from -1 (opposite) to 1 (equal).

    Equal minus opposite signs, as a share of the neurons to which either is connected; 0 where there are none.
    """
    signs = codes.astype(int)
    used = (signs != 0).astype(int)
    either = used.sum(0)[:, None] + used.sum(0)[None] - used.T @ used
    return (signs.T @ signs) / np.maximum(either, 1)


def feature_channels(codes: np.ndarray, clauses: Sequence[Sequence[int]]) -> np.ndarray:
    """Channels of clauses, (clauses, neurons) int8: the sign that all inputs of a clause have on a neuron, else 0.

    Parameters
    ----------
    codes
        As `sign_codes` gives them.
    clauses
        Inputs of each clause.
    """
    rows = []
    for clause in clauses:
        own = codes[:, list(clause)]
        rows.append(np.where((own == own[:, :1]).all(1), own[:, 0], 0))
    return np.array(rows, np.int8).reshape(len(rows), codes.shape[0])


def witnesses(
    w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, clause: Sequence[int], tau: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Neurons that show that a network computes a clause.

    A *positive* witness fires once all inputs of the clause are on, and speaks for the answer: signs +, bias negative,
    weight ``w2`` positive. A *negative* one speaks against it until they are: signs -, bias positive, weight negative.

    Parameters
    ----------
    w1, b1, w2
        (neurons, inputs), (neurons,) and (neurons,).
    clause
        Its inputs.
    tau
        See `sign_codes`.

    Returns
    -------
    positive, negative : numpy.ndarray
        Indices of neurons.
    """
    channel = feature_channels(sign_codes(w1, tau), [clause])[0]
    b1, w2 = np.asarray(b1, float), np.asarray(w2, float)
    positive = (channel > 0) & (b1 < 0) & (w2 > 0)
    negative = (channel < 0) & (b1 > 0) & (w2 < 0)
    return np.flatnonzero(positive), np.flatnonzero(negative)


@dataclass(frozen=True)
class Clause:
    """A decoded clause: its ``inputs``, the least ``agreement`` of two of their codes, and its witnesses."""

    inputs: tuple[int, ...]
    agreement: float
    positive: tuple[int, ...]
    negative: tuple[int, ...]


def decode_clauses(
    w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, *, size: int = 2, tau: float = 0.0, least: float = 0.9
) -> list[Clause]:
    """The clauses that a network computes, from its weights alone.

    Every set of ``size`` inputs whose codes agree and which has a witness counts, the most agreeing first. Where inputs
    are in several clauses their codes are unions, which agree less: lower ``least`` there.

    Parameters
    ----------
    w1, b1, w2, tau
        As in `witnesses`.
    size
        Inputs of a clause.
    least
        Least `agreement` of any two of its inputs.

    Examples
    --------
    >>> toy = hand_set([(0, 3), (1, 2)], inputs=5, neurons=6, seed=0)
    >>> [clause.inputs for clause in decode_clauses(toy.w1, toy.b1, toy.w2)]
    [(0, 3), (1, 2)]
    """
    agree = agreement(sign_codes(w1, tau))
    found = []
    for inputs in combinations(range(agree.shape[0]), size):
        lowest = min((agree[i, j] for i, j in combinations(inputs, 2)), default=1.0)
        if lowest < least:
            continue
        positive, negative = witnesses(w1, b1, w2, inputs, tau)
        if len(positive) + len(negative):
            found.append(Clause(inputs, float(lowest), tuple(positive.tolist()), tuple(negative.tolist())))
    return sorted(found, key=lambda clause: (-clause.agreement, clause.inputs))


def interference(channels: np.ndarray) -> np.ndarray:
    """Share of all neurons that two channels have in common, (clauses, clauses); the diagonal is their size."""
    used = (np.asarray(channels) != 0).astype(float)
    return used @ used.T / used.shape[1]


def capacity(w1: np.ndarray) -> np.ndarray:
    """How much of a dimension each input has to itself, (inputs,): ``(w.w)^2 / sum_j (w.w_j)^2`` of the columns w of
    ``w1`` (arXiv 2510.04500); 1 if no other input's column overlaps, 1 / k if k inputs have the same one."""
    gram = np.asarray(w1, float).T @ np.asarray(w1, float)
    return np.diag(gram) ** 2 / np.maximum((gram**2).sum(1), np.finfo(float).tiny)

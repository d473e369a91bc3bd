"""Covers that take no search: slabs of greedy fields, and a regular grid."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np

from napari_connecto.workflows.cascade.results.fields.boxes import ROUNDING


def sweeps(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Several covers: slabs along each axis, from each end; of each slab the fewest fields that cover it.

    In one direction a field that begins with the first element not covered yet is as good as any (Hochbaum and Maass,
    J. ACM 32, 1985, who cover points); along the axes together it is a heuristic.
    """
    found, d = [], low.shape[1]
    for axes in permutations(range(d)):
        for signs in product((1, -1), repeat=d):
            turn = np.array(signs)
            a, b = np.where(turn > 0, low, -high), np.where(turn > 0, high, -low)
            starts = _slabs(a[:, axes], b[:, axes], size[list(axes)])
            back = np.empty_like(starts)
            back[:, axes] = starts
            found.append(np.where(turn > 0, back, -back - size))
    return found


def _slabs(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Fields (f, d) that cover the elements, slab by slab along the first axis."""
    order = np.argsort(low[:, 0], kind="stable")
    low, high = low[order], high[order]
    starts: list[np.ndarray] = []
    while len(low):
        first = low[0, 0]
        here = high[:, 0] <= first + size[0] * (1 + ROUNDING)
        if low.shape[1] == 1:
            starts.append(np.array([[first]]))
        else:
            rest = _slabs(low[here, 1:], high[here, 1:], size[1:])
            starts.append(np.column_stack([np.full(len(rest), first), rest]))
        low, high = low[~here], high[~here]
    return np.concatenate(starts)


def grid(low: np.ndarray, high: np.ndarray, size: np.ndarray, origin: np.ndarray, widest: np.ndarray) -> np.ndarray:
    """The fields of a regular grid that are needed; they overlap by the ``widest`` element, so that each lies in one.

    Where an element is as large as a field there is no such grid: each element then gets its own.
    """
    step = size - widest
    if (step <= ROUNDING * size).any():
        return low.copy()
    return np.asarray(origin + np.unique(np.floor((low - origin) / step), axis=0) * step)

"""Elements: what lies in which field, how large objects are cut, and groups that share no field."""

from __future__ import annotations

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

ROUNDING = 1e-9
"""Of a field's size: so much a box may stick out by rounding."""


def inside(low: np.ndarray, high: np.ndarray, starts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Boolean (f, n): which elements lie in which fields."""
    slack = ROUNDING * size
    fits = np.ones((len(starts), len(low)), bool)
    for axis in range(low.shape[1]):
        fits &= low[:, axis] >= starts[:, axis, None] - slack[axis]
        fits &= high[:, axis] <= starts[:, axis, None] + size[axis] + slack[axis]
    return fits


def held(low: np.ndarray, high: np.ndarray, starts: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """The elements that lie in each field, as indices; as `inside`, for many of both."""
    order = np.argsort(low[:, 0], kind="stable")
    slack = ROUNDING * size[0]
    first = np.searchsorted(low[order, 0], starts[:, 0] - slack)
    last = np.searchsorted(low[order, 0], starts[:, 0] + size[0] + slack, side="right")
    found = []
    for field, i, j in zip(starts, first, last, strict=True):
        near = order[i:j]
        found.append(near[inside(low[near], high[near], field[None], size)[0]])
    return found


def times(holds: list[np.ndarray], n: int) -> np.ndarray:
    """In how many of the fields each of ``n`` elements lies, (n,)."""
    return np.bincount(np.concatenate([np.empty(0, np.int64), *holds]), minlength=n)


def cut(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes as elements no larger than a field: low, high, and the box of each.

    What is larger is cut into as few equal parts as fit, so that they leave room for neighbours.
    """
    parts = np.maximum(np.ceil((high - low) / size - ROUNDING), 1).astype(np.int64)
    each = parts.prod(axis=1)
    owner = np.repeat(np.arange(len(low)), each)
    step = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
    at = np.empty((len(owner), low.shape[1]), np.int64)
    for axis in reversed(range(low.shape[1])):
        step, at[:, axis] = np.divmod(step, parts[owner, axis])
    width = ((high - low) / parts)[owner]
    first = low[owner] + at * width
    return first, first + width, owner


def apart(low: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Groups of elements, as indices: no field holds elements of two groups."""
    cells, of = np.unique(np.floor((low - low.min(axis=0)) / size).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(1, p=np.inf, output_type="ndarray")  # in a field, low corners are within a size
    links = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(len(cells), len(cells)))
    group = connected_components(links, directed=False)[1][of]
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1)


def needed(low: np.ndarray, high: np.ndarray, starts: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The fields without those whose elements all lie in others, too; those with the fewest elements go first."""
    holds = held(low, high, starts, size)
    keep, often = np.ones(len(starts), bool), times(holds, len(low))
    for field in np.argsort([len(elements) for elements in holds], kind="stable"):
        if (often[holds[field]] > 1).all():
            keep[field] = False
            often[holds[field]] -= 1
    return starts[keep]


def independent(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> int:
    """A number of elements of which no two fit into one field: at least so many fields are needed."""
    best = 0
    for axis in range(low.shape[1]):
        for order in (np.argsort(low[:, axis], kind="stable"), np.argsort(-high[:, axis], kind="stable")):
            free, count = np.ones(len(low), bool), 0
            for one in order:
                if free[one]:
                    count += 1
                    extent = np.maximum(high, high[one]) - np.minimum(low, low[one])
                    free &= (extent > size * (1 + ROUNDING)).any(axis=1)
            best = max(best, count)
    return best

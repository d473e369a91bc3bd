"""A short way through all fields: nearest neighbour, then 2-opt (Croes, Operations Research 6, 1958)."""

from __future__ import annotations

import numpy as np

REACH = 500
"""Steps of the way that are looked ahead for two that are better exchanged."""
PASSES = 40


def route(points: np.ndarray) -> np.ndarray:
    """Order (n,) in which to visit points (n, d); it begins nearest to the lower corner, and does not return."""
    n = len(points)
    if n < 3:
        return np.lexsort(points.T[::-1]) if n else np.empty(0, np.int64)
    order = _nearest(points)
    for _ in range(PASSES):
        if not _exchange(points, order):
            break
    return order


def length(points: np.ndarray) -> float:
    """Of the way through points (n, d), as they are ordered."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def _nearest(points: np.ndarray) -> np.ndarray:
    left = np.ones(len(points), bool)
    here = int(np.argmin((points - points.min(axis=0)).sum(axis=1)))
    order = [here]
    for _ in range(len(points) - 1):
        left[here] = False
        away = np.where(left, ((points - points[here]) ** 2).sum(axis=1), np.inf)
        here = int(np.argmin(away))
        order.append(here)
    return np.array(order)


def _exchange(points: np.ndarray, order: np.ndarray) -> bool:
    """Turn parts of the way around where that shortens it, in place; whether there was one."""
    changed, n = False, len(order)
    for i in range(n - 1):
        way = points[order[i : i + REACH + 2]]
        a, b, c = way[0], way[1], way[2:]
        after = points[order[min(i + 3, n) : i + 3 + len(c)]]
        new = np.linalg.norm(c - a, axis=1)
        old = np.linalg.norm(b - a) + np.zeros(len(c))
        closed = len(after)  # the last point has none behind it
        new[:closed] += np.linalg.norm(after - b, axis=1)
        old[:closed] += np.linalg.norm(after - c[:closed], axis=1)
        if len(c) and (gain := old - new).max() > 1e-9 * (1 + old.max()):
            j = int(np.argmax(gain)) + i + 2
            order[i + 1 : j + 1] = order[i + 1 : j + 1][::-1]
            changed = True
    return changed

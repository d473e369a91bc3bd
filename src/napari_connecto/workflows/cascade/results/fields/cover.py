"""Few fields that cover all elements, and how many are needed at least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.workflows.cascade.results.fields.boxes import ROUNDING, apart, held, independent, needed, times
from napari_connecto.workflows.cascade.results.fields.exact import MOST, fewest
from napari_connecto.workflows.cascade.results.fields.sweep import grid, sweeps

STAGE = "planning fields"
TOGETHER = 16
"""Neighbouring fields that are replaced by fewer, where possible."""
ROUNDS = 3


@dataclass(frozen=True)
class Cover:
    """Fields by their lower corners (f, d), a lower bound of their number, and what a regular grid takes."""

    starts: np.ndarray
    at_least: int
    grid: int


def cover_job(low: np.ndarray, high: np.ndarray, size: np.ndarray) -> Job[Cover]:
    """Cover elements (n, d), none larger than a field, by few fields.

    Groups of elements that cannot share a field are covered one by one: exactly where they are small; else by the best
    of several sweeps and the regular grid, in which neighbouring fields are then replaced by fewer, again exactly.
    Deterministic.
    """
    widest, origin = (high - low).max(axis=0), low.min(axis=0)
    groups = apart(low, size)
    found, bound, plain = [], 0, 0
    done = 0
    for group in groups:
        yield Progress(done, len(low), STAGE)
        a, b = low[group], high[group]
        regular = grid(a, b, size, origin, widest)
        plain += len(regular)
        if ((b.max(axis=0) - a.min(axis=0)) <= size * (1 + ROUNDING)).all():
            found.append(a.min(axis=0)[None])
            bound += 1
        else:
            solved = fewest(a, b, size)
            starts, least = (np.empty((0, low.shape[1])), 1) if solved is None else solved
            if solved is None or least < len(starts):
                some = [
                    needed(a, b, one, size) for one in (*sweeps(a, b, size), regular, *([starts] if solved else []))
                ]
                starts = yield from _improved(a, b, size, min(some, key=len), done, len(low))
                least = max(least, independent(a, b, size))
            found.append(starts)
            bound += least
        done += len(group)
    yield Progress(done, len(low), STAGE)
    return Cover(np.concatenate(found), bound, plain)


def _improved(
    low: np.ndarray, high: np.ndarray, size: np.ndarray, starts: np.ndarray, done: int, total: int
) -> Job[np.ndarray]:
    """Replace neighbouring fields by fewer until a round changes nothing."""
    for turn in range(ROUNDS):
        before, axis = len(starts), turn % low.shape[1]
        slab = np.floor((starts[:, axis] - starts[:, axis].min()) / (2 * size[axis]))
        starts = starts[np.lexsort((*np.delete(starts, axis, axis=1).T, slab))]
        first = (turn * TOGETHER // 2) % TOGETHER or TOGETHER
        parts = np.split(starts, range(first, before, TOGETHER))
        often = times(held(low, high, starts, size), len(low))
        for k, part in enumerate(parts):
            yield Progress(done, total, STAGE)
            own = times(held(low, high, part, size), len(low))
            left = (own > 0) & (often == own)  # in no other field
            if len(part) < 2 or not 0 < left.sum() <= MOST:
                continue
            solved = fewest(low[left], high[left], size)
            if solved is not None and len(solved[0]) < len(part):
                parts[k] = solved[0]
                often += times(held(low, high, parts[k], size), len(low)) - own
        starts = needed(low, high, np.concatenate(parts), size)
        if len(starts) == before and turn >= low.shape[1] - 1:
            break
    return starts

"""Which places a detector is run on: spread over the volume first, then more where it probably finds something.

Stratified sampling with post-stratification: every stratum is sampled at random, and a sampled place stands for as many
as its stratum has per sample (Cochran, Sampling Techniques, 1977).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.compute.options import ExecuteOptions, Meter
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level

CANDIDATES = 8192
"""Places that are looked at on a coarse level at most; they stand for all."""
SHARES = (1 / 2, 1 / 4, 3 / 16, 3 / 64, 1 / 64)
"""Strata, from the places least like those with objects to the most, as shares of all."""
FEW = 3
"""Places with objects from which the others are compared with them."""
QUANTILES = (1, 25, 50, 75, 99)


def candidates(plan: TilePlan, seed: int) -> np.ndarray:
    """Chunks that may be chosen, neighbours after each other: all, or `CANDIDATES` spread evenly."""
    if len(plan) <= CANDIDATES:
        return plan.order(np.arange(len(plan)))
    rng = np.random.default_rng(seed)
    edges = np.linspace(0, len(plan), CANDIDATES + 1).astype(np.int64)
    return plan.order(np.unique(edges[:-1] + (rng.random(CANDIDATES) * np.diff(edges)).astype(np.int64)))


def spread(pool: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Positions in ``pool``, evenly spread from a random start."""
    n = min(n, len(pool))
    start = np.random.default_rng(seed).random()
    return np.unique(((np.arange(n) + start) * len(pool) / n).astype(int))


def seen_in(level: Level, fine: Level, box: Box) -> Box:
    """The voxels of ``level`` that show a box of ``fine``; its last ones where it ends short of the finer level."""
    near = fine.box_in(box, level)
    start = [min(a, n - 1) for a, n in zip(near.start, level.shape, strict=True)]
    stop = [max(b, a + 1) for a, b in zip(start, near.stop, strict=True)]
    return Box(vec3(start), vec3(stop)).clip(level.shape)


def features_job(level: Level, fine: Level, plan: TilePlan, pool: np.ndarray) -> Job[np.ndarray]:
    """(n, f) quantiles, deviation and roughness of each place on a coarse level."""
    level = cached(level, ExecuteOptions().cache_bytes, Meter())
    rows = []
    for n, tile in enumerate(plan.tiles(pool), start=1):
        block = level.read_padded(seen_in(level, fine, tile.write)).astype(np.float32)
        block = np.nan_to_num(block).reshape(-1, *block.shape[-2:])
        rough = [float(np.abs(np.diff(block, axis=axis)).mean()) if block.shape[axis] > 1 else 0.0 for axis in (1, 2)]
        rows.append([*np.percentile(block, QUANTILES), block.max(), block.min(), block.std(), sum(rough)])
        if n % 64 == 0 or n == len(pool):
            yield Progress(n, len(pool), "comparing places")
    table = np.array(rows)
    return (table - np.median(table, axis=0)) / np.maximum(table.std(axis=0), 1e-9)


def likeness(features: np.ndarray, seen: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """(n,) how much places are like those with objects.

    Parameters
    ----------
    features
        (n, f).
    seen, positive
        (k,) places where the detector was run, and whether it found something.

    Returns
    -------
    np.ndarray
        By linear discriminant analysis; with fewer than `FEW` of either kind, by how unusual a place is.
    """
    if positive.sum() < FEW or (~positive).sum() < FEW:
        return np.abs(features).max(axis=1)
    with_objects, without = features[seen[positive]], features[seen[~positive]]
    centred = np.concatenate([part - part.mean(axis=0) for part in (with_objects, without)])
    spread_of = centred.T @ centred / len(centred)
    spread_of += np.eye(len(spread_of)) * (0.1 * np.trace(spread_of) / len(spread_of) + 1e-6)
    return np.asarray(features @ np.linalg.solve(spread_of, with_objects.mean(axis=0) - without.mean(axis=0)))


@dataclass(frozen=True)
class Strata:
    """(n,) the stratum of each place of a pool, 0 the least promising."""

    of: np.ndarray

    @classmethod
    def by(cls, rank: np.ndarray) -> Strata:
        """By rank: `SHARES` of all, the highest in the last."""
        order = np.argsort(np.argsort(rank, kind="stable"), kind="stable")
        edges = np.cumsum(SHARES)[:-1] * len(rank)
        return cls(np.searchsorted(edges, order, side="right"))

    def more(self, seen: np.ndarray, n: int, seed: int) -> np.ndarray:
        """``n`` places that were not seen: as many of each stratum, as far as there are."""
        rng = np.random.default_rng(seed)
        left = [rng.permutation(np.setdiff1d(np.flatnonzero(self.of == s), seen)) for s in range(len(SHARES))]
        taken = [0] * len(left)
        n = min(n, sum(map(len, left)))
        while sum(taken) < n:
            for s in reversed(range(len(left))):
                if taken[s] < len(left[s]) and sum(taken) < n:
                    taken[s] += 1
        return np.concatenate([part[:k] for part, k in zip(left, taken, strict=True)])

    def weights(self, seen: np.ndarray) -> np.ndarray:
        """(k,) how many places of the pool each of ``seen`` stands for."""
        everything = np.bincount(self.of, minlength=len(SHARES)).astype(float)
        sampled = np.bincount(self.of[seen], minlength=len(SHARES))
        return np.asarray((everything / np.maximum(1, sampled))[self.of[seen]])

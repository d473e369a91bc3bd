"""Strategies for choosing patches to annotate: numbers in, choices with reasons out; no images, no networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from napari_connecto.core.errors import InputError

BAND = 4
"""With diversity, this many times the requested patches are ranked first, then thinned to dissimilar ones."""


@dataclass(frozen=True)
class Pool:
    """Statistics of k patches.

    Parameters
    ----------
    score
        Mean uncertainty of each patch's pixels, (k,).
    pixel
        Median uncertainty of the patch's pixels, (k,).
    unit
        Unit of both, in words.
    features
        Feature vectors in the encoder's space, (k, d); only for strategies that compare patches.
    """

    score: np.ndarray
    pixel: np.ndarray
    unit: str
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    def vectors(self) -> np.ndarray:
        """The features, which must be present."""
        if self.features is None:
            raise InputError("no encoder, which comparing patches needs; give encoder= or another strategy")
        return np.asarray(self.features, np.float64)


@dataclass(frozen=True)
class Pick:
    """One patch of a pool, and why; ``random`` marks those of the random arm."""

    index: int
    reason: str
    random: bool = False


def needs_features(strategy: str, diversity: bool = False) -> bool:
    """Whether the strategy needs features."""
    return strategy in ("k-center", "badge", "median-diverse") or (diversity and strategy in RANKINGS)


Clash: TypeAlias = Callable[[int], np.ndarray]
"""The patches (k,) that must not be chosen together with a given one."""


class Left:
    """The patches (k,) that may still be chosen."""

    def __init__(self, free: np.ndarray, clash: Clash | None = None) -> None:
        self.free = free.copy()
        self._clash = clash

    def take(self, index: int) -> None:
        """Choose a patch: it and those that clash with it are no longer free."""
        self.free[index] = False
        if self._clash is not None:
            self.free &= ~self._clash(index)

    def some(self) -> bool:
        """Whether any patch is free."""
        return bool(self.free.any())


def pick(
    pool: Pool,
    n: int,
    strategy: str,
    *,
    diversity: bool = False,
    seed: int = 0,
    free: np.ndarray | None = None,
    clash: Clash | None = None,
) -> list[Pick]:
    """Choose ``n`` patches, best first.

    Parameters
    ----------
    pool
        Of at least ``n`` patches.
    n
        How many.
    strategy
        - "median": mean uncertainty nearest to the pool's median, Sawmya et al. (arXiv 2503.06196) in reading (a);
        - "median-pixel": highest median uncertainty of a patch's pixels, reading (b);
        - "entropy": highest mean uncertainty;
        - "random": evenly;
        - "k-center": greedily the patch farthest from those chosen (core-set; Sener, Savarese, arXiv 1708.00489), from
          the most typical one on;
        - "badge": after Ash et al. (arXiv 1906.03671), k-means++ on vectors as long as the patch is uncertain. A model
          with one output per pixel has no single gradient of a last layer; the patch's encoder features times its
          uncertainty take its place;
        - "median-diverse": "median" with diversity.
    diversity
        Take ``n`` of a ranking's first ``4 n`` patches by k-center, starting with the first.
    seed
        Random seed of "random" and "badge".
    free, clash
        Which patches (k,) may be chosen, and which ones each excludes; fewer than ``n`` are returned if these leave
        fewer.

    Raises
    ------
    InputError
        If the pool is too small, the strategy unknown, or features are missing.
    """
    if n > len(pool):
        raise InputError(f"got {n} patches to choose from {len(pool)}; request fewer, or a larger pool")
    if strategy == "median-diverse":
        strategy, diversity = "median", True
    left = Left(np.ones(len(pool), bool) if free is None else free, clash)
    if strategy in RANKINGS:
        order, reasons = RANKINGS[strategy](pool)
        chosen = _unlike(pool, order, n, reasons, left) if diversity else []
        return chosen + _in_order(order, n - len(chosen), reasons, left)
    if strategy not in OTHERS:
        raise InputError(f"got strategy {strategy!r}; allowed: {', '.join([*RANKINGS, *OTHERS, 'median-diverse'])}")
    return OTHERS[strategy](pool, n, np.random.default_rng(seed), left)


def _in_order(order: np.ndarray, n: int, reasons: Sequence[str], left: Left) -> list[Pick]:
    chosen: list[Pick] = []
    for rank, index in enumerate(order.tolist()):
        if len(chosen) >= n:
            break
        if left.free[index]:
            left.take(index)
            chosen.append(Pick(index, reasons[rank]))
    return chosen


def _by_median(pool: Pool) -> tuple[np.ndarray, list[str]]:
    middle = float(np.median(pool.score))
    order = np.argsort(np.abs(pool.score - middle), kind="stable")
    return order, [
        f"uncertainty {pool.score[i]:.2g} {pool.unit}, the pool's median is {middle:.2g} (rank {r} of {len(pool)})"
        for r, i in enumerate(order, 1)
    ]


def _by_pixel(pool: Pool) -> tuple[np.ndarray, list[str]]:
    order = np.argsort(-pool.pixel, kind="stable")
    return order, [
        f"half of its pixels are at {pool.pixel[i]:.2g} {pool.unit} or more, highest first (rank {r} of {len(pool)})"
        for r, i in enumerate(order, 1)
    ]


def _by_entropy(pool: Pool) -> tuple[np.ndarray, list[str]]:
    order = np.argsort(-pool.score, kind="stable")
    return order, [
        f"uncertainty {pool.score[i]:.2g} {pool.unit}, highest first (rank {r} of {len(pool)})"
        for r, i in enumerate(order, 1)
    ]


def _random(pool: Pool, n: int, rng: np.random.Generator, left: Left) -> list[Pick]:
    return _in_order(rng.permutation(len(pool)), n, [f"drawn at random from {len(pool)} patches"] * len(pool), left)


def _k_center(pool: Pool, n: int, rng: np.random.Generator, left: Left) -> list[Pick]:
    vectors = pool.vectors()
    if not left.some():
        return []
    first = int(np.argmin(np.where(left.free, np.linalg.norm(vectors - vectors.mean(0), axis=1), np.inf)))
    chosen, distances = k_center(vectors, n, first, left)
    reasons = [f"the most typical of {len(pool)} patches (nearest to their mean in the encoder's space)"]
    reasons += [f"differs most from those above in the encoder's space (distance {d:.2g})" for d in distances[1:]]
    return [Pick(i, reason) for i, reason in zip(chosen, reasons, strict=True)]


def _badge(pool: Pool, n: int, rng: np.random.Generator, left: Left) -> list[Pick]:
    """The longest vector first; then each with a probability proportional to its squared distance (k-means++)."""
    vectors = pool.vectors() * pool.score[:, None]
    if not left.some():
        return []
    chosen = [int(np.argmax(np.where(left.free, (vectors**2).sum(1), -1)))]
    left.take(chosen[0])
    nearest = ((vectors - vectors[chosen[0]]) ** 2).sum(1)
    while len(chosen) < n and left.some():
        weight = np.where(left.free, nearest, 0)
        weight = weight if weight.sum() > 0 else left.free.astype(float)  # all free ones equal a chosen one
        index = int(rng.choice(len(pool), p=weight / weight.sum()))
        chosen.append(index)
        left.take(index)
        nearest = np.minimum(nearest, ((vectors - vectors[index]) ** 2).sum(1))
    return [Pick(i, f"uncertain ({pool.score[i]:.2g} {pool.unit}) and different from the others") for i in chosen]


def _unlike(pool: Pool, order: np.ndarray, n: int, reasons: Sequence[str], left: Left) -> list[Pick]:
    """Dissimilar patches of the first free ones; if too few, filled up from the ranking itself."""
    vectors, rank = pool.vectors(), {int(index): k for k, index in enumerate(order)}
    band = order[left.free[order]][: BAND * n]
    if not len(band):
        return []
    beyond = left.free.copy()
    beyond[band] = False
    left.free &= ~beyond
    chosen, distances = k_center(vectors, n, int(band[0]), left)
    left.free |= beyond
    for index in chosen:
        left.take(index)
    far = ["", *(f", and different from those above (distance {d:.2g})" for d in distances[1:])]
    return [Pick(index, reasons[rank[index]] + more) for index, more in zip(chosen, far, strict=True)]


def k_center(vectors: np.ndarray, n: int, first: int, left: Left | None = None) -> tuple[list[int], list[float]]:
    """Greedy k-center: starting with ``first``, always the vector farthest from all chosen; with these distances.

    Among those ``left``; without it, among all.
    """
    left = left or Left(np.ones(len(vectors), bool))
    chosen, distances = [first], [0.0]
    nearest = np.linalg.norm(vectors - vectors[first], axis=1)
    left.take(first)
    while len(chosen) < n and left.some():
        index = int(np.argmax(np.where(left.free, nearest, -1)))
        chosen.append(index)
        distances.append(float(nearest[index]))
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[index], axis=1))
        left.take(index)
    return chosen, distances


RANKINGS: Mapping[str, Callable[[Pool], tuple[np.ndarray, list[str]]]] = {
    "median": _by_median,
    "median-pixel": _by_pixel,
    "entropy": _by_entropy,
}
OTHERS: Mapping[str, Callable[[Pool, int, np.random.Generator, Left], list[Pick]]] = {
    "random": _random,
    "k-center": _k_center,
    "badge": _badge,
}

"""Which patches of a pool to annotate: numbers in, choices with reasons out; no images, no networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError

BAND = 4
"""With diversity, so many times the patches asked for are ranked first, to choose unlike ones from."""


@dataclass(frozen=True)
class Pool:
    """What is known of k patches.

    Parameters
    ----------
    score
        Mean uncertainty of each patch's pixels, (k,).
    pixel
        Median uncertainty of its pixels, (k,).
    unit
        Of both, in words.
    features
        Its vector in the encoder's space, (k, d); only for strategies that look at likeness.
    """

    score: np.ndarray
    pixel: np.ndarray
    unit: str
    features: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.score)

    def vectors(self) -> np.ndarray:
        """The features, which must be there."""
        if self.features is None:
            raise InputError("got no encoder, which likeness between patches needs; give encoder= or another strategy")
        return np.asarray(self.features, np.float64)


@dataclass(frozen=True)
class Pick:
    """One patch of a pool, and why; ``random`` marks those of the random arm."""

    index: int
    reason: str
    random: bool = False


def needs_features(strategy: str, diversity: bool = False) -> bool:
    """Whether patches have to be embedded."""
    return strategy in ("k-center", "badge", "median-diverse") or (diversity and strategy in RANKINGS)


def pick(pool: Pool, n: int, strategy: str, *, diversity: bool = False, seed: int = 0) -> list[Pick]:
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
        - "badge": after Ash et al. (arXiv 1906.03671), k-means++ on vectors as long as the patch is uncertain. For a
          model that answers per pixel there is no one gradient of a last layer: a patch's encoder features times its
          uncertainty stand in for it (ours);
        - "median-diverse": "median" with diversity (ours).
    diversity
        Of a ranking's first ``4 n`` patches, take ``n`` by k-center, beginning with the first.
    seed
        Of "random" and "badge".

    Raises
    ------
    InputError
        If the pool is too small, the strategy unknown, or features are missing.
    """
    if n > len(pool):
        raise InputError(f"got {n} patches to choose from {len(pool)}; ask for fewer, or for a larger pool")
    if strategy == "median-diverse":
        strategy, diversity = "median", True
    if strategy in RANKINGS:
        order, reasons = RANKINGS[strategy](pool)
        if diversity:
            return _unlike(pool, order[: BAND * n], n, reasons)
        return [Pick(int(i), reasons[rank]) for rank, i in enumerate(order[:n])]
    if strategy not in OTHERS:
        raise InputError(f"got strategy {strategy!r}; allowed: {', '.join([*RANKINGS, *OTHERS, 'median-diverse'])}")
    return OTHERS[strategy](pool, n, np.random.default_rng(seed))


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


def _random(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    return [Pick(int(i), f"drawn at random from {len(pool)} patches") for i in rng.permutation(len(pool))[:n]]


def _k_center(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    vectors = pool.vectors()
    first = int(np.argmin(np.linalg.norm(vectors - vectors.mean(0), axis=1)))
    chosen, distances = k_center(vectors, n, first)
    reasons = [f"the most typical of {len(pool)} patches (nearest to their mean in the encoder's space)"]
    reasons += [f"unlike those before it: farthest in the encoder's space (distance {d:.2g})" for d in distances[1:]]
    return [Pick(i, reason) for i, reason in zip(chosen, reasons, strict=True)]


def _badge(pool: Pool, n: int, rng: np.random.Generator) -> list[Pick]:
    """The first is the longest vector; then each with a chance in proportion to its squared distance (k-means++)."""
    vectors = pool.vectors() * pool.score[:, None]
    chosen = [int(np.argmax((vectors**2).sum(1)))]
    left = np.ones(len(pool), bool)
    left[chosen] = False
    nearest = ((vectors - vectors[chosen[0]]) ** 2).sum(1)
    while len(chosen) < n:
        weight = np.where(left, nearest, 0)
        weight = weight if weight.sum() > 0 else left.astype(float)  # all that is left equals what is chosen
        index = int(rng.choice(len(pool), p=weight / weight.sum()))
        chosen.append(index)
        left[index] = False
        nearest = np.minimum(nearest, ((vectors - vectors[index]) ** 2).sum(1))
    return [Pick(i, f"uncertain ({pool.score[i]:.2g} {pool.unit}) and unlike the others chosen") for i in chosen]


def _unlike(pool: Pool, band: np.ndarray, n: int, reasons: Sequence[str]) -> list[Pick]:
    chosen, distances = k_center(pool.vectors()[band], n, 0)
    far = ["", *(f", and unlike those before it (distance {d:.2g})" for d in distances[1:])]
    return [Pick(int(band[rank]), reasons[rank] + more) for rank, more in zip(chosen, far, strict=True)]


def k_center(vectors: np.ndarray, n: int, first: int) -> tuple[list[int], list[float]]:
    """Greedy k-center: from ``first`` on, always the vector farthest from all chosen; and how far each was."""
    chosen, distances = [first], [0.0]
    nearest = np.linalg.norm(vectors - vectors[first], axis=1)
    nearest[first] = -1
    while len(chosen) < n:
        index = int(np.argmax(nearest))
        chosen.append(index)
        distances.append(float(nearest[index]))
        nearest = np.minimum(nearest, np.linalg.norm(vectors - vectors[index], axis=1))
        nearest[index] = -1
    return chosen, distances


RANKINGS: Mapping[str, Callable[[Pool], tuple[np.ndarray, list[str]]]] = {
    "median": _by_median,
    "median-pixel": _by_pixel,
    "entropy": _by_entropy,
}
OTHERS: Mapping[str, Callable[[Pool, int, np.random.Generator], list[Pick]]] = {
    "random": _random,
    "k-center": _k_center,
    "badge": _badge,
}

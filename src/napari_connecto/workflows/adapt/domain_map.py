"""Distances between domains as a dendrogram, and a test against another distance. docs/science.md section 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations
from math import factorial
from typing import Any, NamedTuple

import numpy as np
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown
from napari_connecto.models.transfer.mmd import median_distance, mmd2

ROWS = 1000
"""Rows of each domain used for the common bandwidth."""


@shown
@dataclass(frozen=True)
class DomainMap:
    """Distances between k domains.

    Parameters
    ----------
    names
        Names of the domains, in the given order.
    mmd2
        Unbiased MMD^2 of each pair, (k, k), symmetric, 0 on the diagonal; slightly below 0 for similar domains.
    linkage
        Tree of scipy's ``linkage``, average linkage of ``MMD = sqrt(max(0, MMD^2))``, (k - 1, 4).
    bandwidth
        The common bandwidth of all pairs, so that distances are comparable.
    """

    names: tuple[str, ...]
    mmd2: np.ndarray
    linkage: np.ndarray
    bandwidth: float

    @property
    def order(self) -> tuple[str, ...]:
        """The names in the order of the dendrogram's leaves."""
        return tuple(self.names[i] for i in leaves_list(self.linkage))

    def nearest(self, name: str) -> list[tuple[str, float]]:
        """The other domains and their MMD^2 from ``name``, nearest first."""
        if name not in self.names:
            raise InputError(f"got domain '{name}'; known: {', '.join(self.names)}")
        row = self.mmd2[self.names.index(name)]
        return [(self.names[i], float(row[i])) for i in np.argsort(row, kind="stable") if self.names[i] != name]


class Mantel(NamedTuple):
    """Correlation of two distance matrices, and how often chance gives one as high."""

    r: float
    p: float


def distance_matrix(features: Mapping[str, np.ndarray]) -> DomainMap:
    """MMD^2 between all pairs of domains, with a common bandwidth, and their dendrogram.

    Parameters
    ----------
    features
        A feature sample (n, d) of each domain, >= 2 domains, *all from the same encoder*: features of two networks are
        not
        comparable.

    Raises
    ------
    InputError
        If there are fewer than 2 domains, or samples are too small, not finite or of different d.

    References
    ----------
    MMD between domains: Sawmya et al., arXiv 2503.06196. The common bandwidth is the median distance over up to `ROWS`
    evenly spaced rows of each domain.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> features = {name: rng.normal(mean, 1, (40, 4)) for name, mean in (("a", 0), ("b", 0.1), ("c", 3))}
    >>> matrix = nc.distance_matrix(features).mmd2
    >>> bool(matrix[0, 1] < matrix[0, 2])
    True
    """
    names = tuple(features)
    if len(names) < 2:
        raise InputError(f"got {len(names)} domain(s); a map needs at least 2")
    widths = {np.shape(sample)[-1] for sample in features.values()}
    if len(widths) > 1:
        raise InputError(f"got samples of {sorted(widths)} features; all must come from one encoder")
    spaced = [sample[:: -(-len(sample) // ROWS)] for sample in features.values()]
    bandwidth = median_distance(np.concatenate(spaced))
    matrix = np.zeros((len(names), len(names)))
    for i, j in combinations(range(len(names)), 2):
        matrix[i, j] = matrix[j, i] = mmd2(features[names[i]], features[names[j]], bandwidth=bandwidth)
    tree = linkage(squareform(np.sqrt(np.maximum(matrix, 0))), "average")
    return DomainMap(names, matrix, tree, bandwidth)


def mantel(a: Any, b: Any, permutations: int = 9999, seed: int = 0) -> Mantel:
    """Are two distance matrices over the same items related? One-sided Mantel test with Pearson's r.

    The entries of a distance matrix depend on each other, so the p-value of a plain correlation is wrong; here the
    items of ``b`` are permuted, rows and columns together. **With few items its power is low**: k items have k!
    permutations, so that p cannot fall below 1/24 for 4 and hardly below 1/720 for 6, however strong the relation. A
    high p for a handful of domains is no evidence against a relation.

    Parameters
    ----------
    a, b
        Symmetric (k, k), k >= 3, finite, the same things in the same order; the diagonal is not used.
    permutations
        Random permutations; if there are no more than that in all, every one is tried and p is exact.
    seed
        Random seed.

    Returns
    -------
    Mantel
        ``r``, and ``p`` = share of permutations (the given order among them) with a correlation at least as high.

    Raises
    ------
    InputError
        If the matrices are malformed, or one has the same distance everywhere.

    References
    ----------
    Mantel, Cancer Research 27 (1967).
    """
    x, y = _distances(a, "first"), _distances(b, "second")
    if x.shape != y.shape:
        raise InputError(f"got matrices of {len(x)} and {len(y)} items; they must be over the same items")
    if permutations < 1:
        raise InputError(f"got {permutations} permutations; at least 1 is needed")
    upper = np.triu_indices(len(x), 1)
    u = x[upper] - x[upper].mean()
    v = y[upper] - y[upper].mean()
    norm = float(np.sqrt((u @ u) * (v @ v)))
    if norm <= 1e-12 * max(1e-300, float(np.abs(x[upper]).max() * np.abs(y[upper]).max())):
        raise InputError("got a matrix with one distance for all pairs; it cannot be correlated")
    centred = y - y[upper].mean()
    r = float(u @ v) / norm
    higher, tried = 0, 0
    for names in _renamings(len(x), permutations, seed):
        higher += float(u @ centred[np.ix_(names, names)][upper]) / norm >= r - 1e-12
        tried += 1
    return Mantel(r, higher / tried)


def _renamings(k: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """All orders of k items if there are at most ``count``, else the given order and ``count`` random ones."""
    if k <= 12 and factorial(k) <= count:
        yield from map(np.array, permutations(range(k)))
        return
    rng = np.random.default_rng(seed)
    yield np.arange(k)
    for _ in range(count):
        yield rng.permutation(k)


def _distances(matrix: Any, name: str) -> np.ndarray:
    d = np.asarray(matrix, float)
    if d.ndim != 2 or d.shape[0] != d.shape[1] or len(d) < 3:
        raise InputError(f"got a {name} matrix of shape {d.shape}; it must be square, of at least 3 things")
    if not np.isfinite(d[~np.eye(len(d), dtype=bool)]).all() or not np.allclose(d, d.T, equal_nan=True):
        raise InputError(f"got a {name} matrix that is not symmetric or not finite; give the distance of every pair")
    return d

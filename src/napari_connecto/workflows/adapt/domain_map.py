"""How far domains lie from one another, as a tree, and whether that follows another distance. science.md section 2."""

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
"""Rows of each domain behind the common bandwidth."""


@shown
@dataclass(frozen=True)
class DomainMap:
    """Distances between k domains.

    Parameters
    ----------
    names
        Of the domains, in the order they were given.
    mmd2
        Unbiased MMD^2 of each pair, (k, k), symmetric, 0 on the diagonal; a little below 0 for domains that are alike.
    linkage
        Tree of scipy's ``linkage``, average linkage of ``MMD = sqrt(max(0, MMD^2))``, (k - 1, 4).
    bandwidth
        The one s of all pairs, so that their distances can be compared.
    """

    names: tuple[str, ...]
    mmd2: np.ndarray
    linkage: np.ndarray
    bandwidth: float

    @property
    def order(self) -> tuple[str, ...]:
        """The names as the leaves of the dendrogram stand, neighbours side by side."""
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
    """MMD^2 between every two domains, with one bandwidth for all, and their tree.

    Parameters
    ----------
    features
        A feature sample (n, d) of each domain, >= 2 domains, *all from the same encoder*: distances between features
        of two networks mean nothing.

    Raises
    ------
    InputError
        If there are fewer than 2 domains, or samples are too small, not finite or of different d.

    References
    ----------
    MMD between domains: Sawmya et al., arXiv 2503.06196. The common bandwidth (the median distance over up to
    `ROWS` evenly spaced rows of each domain) and average linkage are ours.

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
    """Do two distance matrices over the same things go together? One-sided Mantel test with Pearson's r.

    The entries of a distance matrix depend on each other, so the p-value of a plain correlation is wrong; here the
    things of ``b`` are renamed, rows and columns at once. **With few things its power is low**: k domains have k!
    renamings, so that p cannot fall below 1/24 for 4 and hardly below 1/720 for 6, however strong the relation. A high
    p of a handful of domains says nothing against a relation.

    Parameters
    ----------
    a, b
        Symmetric (k, k), k >= 3, finite, the same things in the same order; the diagonal is not used.
    permutations
        Random renamings; where there are no more than that in all, every one is tried and p is exact.
    seed
        Of the renamings.

    Returns
    -------
    Mantel
        ``r``, and ``p`` = share of renamings (the given order among them) with a correlation at least as high.

    Raises
    ------
    InputError
        If the matrices are not as said, or one has the same distance everywhere.

    References
    ----------
    Mantel, Cancer Research 27 (1967).
    """
    x, y = _distances(a, "first"), _distances(b, "second")
    if x.shape != y.shape:
        raise InputError(f"got matrices of {len(x)} and {len(y)} things; they must be the same things")
    if permutations < 1:
        raise InputError(f"got {permutations} permutations; at least 1 is needed")
    upper = np.triu_indices(len(x), 1)
    u = x[upper] - x[upper].mean()
    v = y[upper] - y[upper].mean()
    norm = float(np.sqrt((u @ u) * (v @ v)))
    if norm <= 1e-12 * max(1e-300, float(np.abs(x[upper]).max() * np.abs(y[upper]).max())):
        raise InputError("got a matrix with one distance for all pairs; nothing can go with it")
    centred = y - y[upper].mean()
    r = float(u @ v) / norm
    higher, tried = 0, 0
    for names in _renamings(len(x), permutations, seed):
        higher += float(u @ centred[np.ix_(names, names)][upper]) / norm >= r - 1e-12
        tried += 1
    return Mantel(r, higher / tried)


def _renamings(k: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """All orders of k things if there are at most ``count``, else the given order and ``count`` random ones."""
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
        raise InputError(f"got a {name} matrix that is not symmetric or not finite; give distances of every two things")
    return d

"""Merge fragments into segments across the weakest boundaries first, by average linkage.

One merge tree gives the result for every threshold, which makes tuning cheap. Average linkage on the mean boundary is
the usual choice (Nunez-Iglesias et al., PLoS ONE 8, e71715 (2013), use it as their baseline). In 3-D, the larger both
fragments are, the clearer the gap in the boundary between them must be: a wrong merge of two neurites costs most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from math import inf, log
from typing import TypeAlias

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from napari_connecto.workflows.segment.params import SegmentParams

USUAL = 1000
"""Voxels of the smaller of two fragments at which a merge costs the mean boundary alone."""
CAUTION = 0.01
"""Default after three directions of a model; after one, it raised VI on two of two sets."""
Touching: TypeAlias = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Contacts: pairs of touching fragments (m, 2), the smaller number first; boundary summed over shared faces; faces."""


@dataclass(frozen=True)
class Graph:
    """Region adjacency graph: which fragments touch, over how many voxel faces, and the boundary there.

    Parameters
    ----------
    sizes
        Voxels of fragments 0 to n, (n + 1,); number 0 is none.
    edges
        Pairs of touching fragments, (m, 2), the smaller number first, ascending.
    heights
        Boundary probability summed over shared faces, (m,); a face takes the higher of its two voxels.
    areas
        Number of shared faces, (m,).
    """

    sizes: np.ndarray
    edges: np.ndarray
    heights: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(cls, labels: np.ndarray, boundary: np.ndarray, *, flat: bool = False) -> Graph:
        """The graph of fragments 1 to n, (z, y, x); ``flat`` leaves out faces between sections."""
        found = [touching(*_halves(labels, axis), *_halves(boundary, axis)) for axis in range(1 if flat else 0, 3)]
        return cls.of_contacts(np.bincount(labels.ravel()), found)

    @classmethod
    def of_contacts(cls, sizes: np.ndarray, found: Sequence[Touching]) -> Graph:
        """The graph of fragments of these sizes, (n + 1,), from contacts of which several may be of one pair."""
        edges, heights, areas = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return cls(sizes, *_summed(edges[:, 0] * len(sizes) + edges[:, 1], len(sizes), heights, areas))

    def contracted(self, group: np.ndarray) -> Graph:
        """The graph of groups of fragments; ``group`` (n + 1,) holds 1 to k, and 0 at 0."""
        edges = np.sort(group[self.edges], axis=1)
        kept = edges[:, 0] != edges[:, 1]
        sizes = np.bincount(group, self.sizes).astype(np.int64)
        keys = edges[kept, 0] * len(sizes) + edges[kept, 1]
        return Graph(sizes, *_summed(keys, len(sizes), self.heights[kept], self.areas[kept]))


def touching(here: np.ndarray, there: np.ndarray, low: np.ndarray, high: np.ndarray) -> Touching:
    """Contacts across the faces between voxels, each once.

    Parameters
    ----------
    here, there
        Fragments on both sides of each face, any shape; none is 0.
    low, high
        Boundary probability there; a face takes the higher.
    """
    differ = here != there
    a, b = here[differ].astype(np.int64), there[differ].astype(np.int64)
    base = int(max(a.max(initial=0), b.max(initial=0))) + 1
    return _summed(np.minimum(a, b) * base + np.maximum(a, b), base, np.maximum(low[differ], high[differ]))


def _halves(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """All voxels but the last along an axis, and their next neighbours."""
    moved = np.moveaxis(array, axis, 0)
    return moved[:-1], moved[1:]


def _summed(
    keys: np.ndarray, base: int, heights: np.ndarray, areas: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, heights and areas, summed over equal keys."""
    unique, at = np.unique(keys, return_inverse=True)
    edges = np.stack(np.divmod(unique, base), axis=1).astype(np.int64)
    return edges, np.bincount(at, heights, len(unique)), np.bincount(at, areas, len(unique))


class Contacts:
    """A shrinking graph: per node, its neighbours with (height, area) of the contact."""

    def __init__(self, graph: Graph) -> None:
        self.sizes: list[int] = graph.sizes.tolist()
        self.of: list[dict[int, tuple[float, float]]] = [{} for _ in graph.sizes]
        rows = zip(graph.edges.tolist(), graph.heights.tolist(), graph.areas.tolist(), strict=True)
        for (u, v), height, area in rows:
            self.of[u][v] = self.of[v][u] = (height, float(area))

    def mean(self, u: int, v: int) -> float:
        """Mean boundary between two neighbours; infinite if they do not touch."""
        height, area = self.of[u].get(v, (np.inf, 1.0))
        return height / area

    def cost(self, u: int, v: int, caution: float) -> float:
        """Mean boundary, plus ``caution`` for each e-fold of the smaller one's size; infinite if they do not touch."""
        mean = self.mean(u, v)
        return mean + caution * log(max(1, min(self.sizes[u], self.sizes[v])) / USUAL) if caution else mean

    def join(self, keep: int, gone: int) -> list[int]:
        """Merge ``gone`` into ``keep``; returns the neighbours whose contact with ``keep`` changed."""
        changed = []
        for w, (height, area) in self.of[gone].items():
            del self.of[w][gone]
            if w != keep:
                old_height, old_area = self.of[keep].get(w, (0.0, 0.0))
                self.of[keep][w] = self.of[w][keep] = (old_height + height, old_area + area)
                changed.append(w)
        self.of[gone] = {}
        self.sizes[keep] += self.sizes[gone]
        return changed


@dataclass(frozen=True)
class MergeTree:
    """Merge order of fragments 1 to n: ``pairs`` (k, 2), and the cost of each merge, (k,), ascending."""

    count: int
    pairs: np.ndarray
    heights: np.ndarray

    def cut(self, threshold: float) -> np.ndarray:
        """Group of each fragment, (n + 1,): 1 to k in the order of their first fragments, 0 for 0."""
        merged = self.pairs[: int(np.searchsorted(self.heights, threshold, "left"))]
        return groups(self.count, merged)


def groups(count: int, pairs: np.ndarray) -> np.ndarray:
    """Connected components of 1 to ``count`` under ``pairs`` (k, 2), numbered by their first member; 0 stays 0."""
    ones = np.ones(len(pairs), bool)
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), (count + 1, count + 1))
    found = connected_components(graph, directed=False)[1]
    _, first, at = np.unique(found, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[at]


def merge_tree(graph: Graph, until: float = inf, caution: float = 0.0) -> MergeTree:
    """Merge the two neighbours with the lowest cost repeatedly, while it is below ``until``.

    The cost is that of `Contacts.cost`; without ``caution``, it is the mean boundary between them. Ties go to the
    smaller numbers, so that the result is deterministic. O(m log m) for m contacts, except for nodes of many
    neighbours.
    """
    contacts = Contacts(graph)
    heap = [(contacts.cost(u, v, caution), u, v) for u, v in graph.edges.tolist()]
    heapify(heap)
    pairs, heights = [], []
    while heap:
        height, u, v = heappop(heap)
        if height >= until:
            break
        now = contacts.cost(u, v, caution)
        if now != height:  # outdated by a merge
            if caution and height < now < inf:  # one of them has grown: its turn comes later
                heappush(heap, (now, u, v))
            continue
        keep, gone = (u, v) if len(contacts.of[u]) >= len(contacts.of[v]) else (v, u)
        pairs.append((keep, gone))
        heights.append(height)
        for w in contacts.join(keep, gone):
            heappush(heap, (contacts.cost(keep, w, caution), min(keep, w), max(keep, w)))
    ordered = np.maximum.accumulate(np.array(heights, float))  # rounding alone can make them fall
    return MergeTree(len(graph.sizes) - 1, np.array(pairs, np.int64).reshape(-1, 2), ordered)


def caution_of(params: SegmentParams) -> float:
    """For `merge_tree`: 0 in the 2-D modes, for sizes of pieces of single sections say little of their neurites."""
    if params.mode != "3d":
        return 0.0
    if params.caution is None:
        return 0.0 if params.directions == "one" else CAUTION
    return params.caution


def settled(graph: Graph, params: SegmentParams) -> np.ndarray:
    """Segment of each fragment, (n + 1,): merged below the merge threshold, and none too small."""
    group = merge_tree(graph, params.merge_threshold, caution_of(params)).cut(params.merge_threshold)
    return absorb(graph, group, params.min_size) if params.min_size > 1 else group


def absorb(graph: Graph, group: np.ndarray, min_size: int) -> np.ndarray:
    """Merge groups below ``min_size`` voxels across their weakest boundary, smallest first.

    Parameters
    ----------
    graph
        Of fragments.
    group
        Group of each fragment, from `MergeTree.cut`.
    min_size
        Voxels. A group without neighbours stays, however small.

    Returns
    -------
    numpy.ndarray
        Group of each fragment, numbered as in `MergeTree.cut`.
    """
    between = graph.contracted(group)
    sizes = between.sizes.tolist()
    heap = [(size, node) for node, size in enumerate(sizes) if node > 0 and size < min_size]
    if not heap:
        return group
    heapify(heap)
    contacts, pairs = Contacts(between), []
    while heap:
        size, node = heappop(heap)
        if size != sizes[node] or not contacts.of[node]:
            continue
        into = min(contacts.of[node], key=lambda w: (contacts.mean(node, w), w))
        contacts.join(into, node)
        pairs.append((into, node))
        sizes[into], sizes[node] = sizes[into] + size, -1
        if sizes[into] < min_size:
            heappush(heap, (sizes[into], into))
    return groups(len(sizes) - 1, np.array(pairs, np.int64).reshape(-1, 2))[group]

"""Decisions of a segmentation in one block: which fragments were merged, which were not, and how certain that is.

The fragments of the watershed are made again from the boundary map, so that merges inside a segment can be judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from napari_connecto.workflows.segment.agglomerate import Graph, merge_tree
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments

FACES = 8
"""Contacts of fewer voxel faces are left out: their mean boundary says little."""
SUSPECT = 0.5
"""Share of the boundary threshold from which a faint membrane may be one."""
OPEN = 0.25
"""Uncertainty from which a decision may well be wrong: half way from sure to the threshold."""
SUMS = ("area", "height", "z", "y", "x")
"""Fields of `Contacts` that add up."""


@dataclass(frozen=True)
class Contacts:
    """Contacts of pairs, (m,) each: ids of both sides, faces, and sums over the faces.

    ``height`` is the sum of the boundary probability (a face takes the higher of its voxels), ``z``, ``y`` and ``x``
    of the positions of the faces, in voxels.
    """

    first: np.ndarray
    second: np.ndarray
    area: np.ndarray
    height: np.ndarray
    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @classmethod
    def of(
        cls,
        labels: np.ndarray,
        boundary: np.ndarray,
        *,
        flat: bool,
        start: Sequence[int] = (0, 0, 0),
        own: Sequence[int] | None = None,
    ) -> Contacts:
        """All contacts of a block of labels above 0, which begins at ``start``.

        ``flat``: within sections only. ``own``: shape of the block's own voxels; one more along an axis gives the faces
        to the next block, which are then counted once.
        """
        own = own or labels.shape
        found = []
        for axis in range(1 if flat else 0, 3):
            here = tuple(slice(0, None if k == axis else n) for k, n in enumerate(own))
            found.append(_faces(labels[here], boundary[here], axis, start))
        return cls.sum([cls(*(np.concatenate(part) for part in zip(*found, strict=True)))])

    @classmethod
    def sum(cls, parts: Sequence[Contacts]) -> Contacts:
        """One row per pair, the smaller id first."""
        first, second = (np.concatenate([getattr(p, name) for p in parts]) for name in ("first", "second"))
        one, two, at = _unique_pairs(first, second)
        sums = (np.bincount(at, np.concatenate([getattr(p, n) for p in parts]), len(one)) for n in SUMS)
        return cls(one, two, *sums)

    def only(self, kept: np.ndarray) -> Contacts:
        """Some rows."""
        return Contacts(*(getattr(self, f.name)[kept] for f in fields(self)))

    @property
    def boundary(self) -> np.ndarray:
        """Mean boundary probability between both sides, (m,)."""
        return self.height / np.maximum(self.area, 1)


def _faces(labels: np.ndarray, boundary: np.ndarray, axis: int, start: Sequence[int]) -> tuple[np.ndarray, ...]:
    """Every face between two different ids along one axis."""
    one, two = (np.moveaxis(labels, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
    low, high = (np.moveaxis(boundary, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
    differ = (one != two) & (one > 0) & (two > 0)
    a, b = one[differ].astype(np.int64), two[differ].astype(np.int64)
    moved = list(np.nonzero(differ))
    place = [moved[0] + 1.0, *moved[1:]]  # the face lies between two voxels: at the start of the second
    order = [axis, *(k for k in range(3) if k != axis)]
    at = [place[order.index(k)] + start[k] + (0.0 if k == axis else 0.5) for k in range(3)]
    ones = np.ones(len(a))
    return np.minimum(a, b), np.maximum(a, b), ones, np.maximum(low[differ], high[differ]).astype(float), *at


def merges_of(
    labels: np.ndarray,
    boundary: np.ndarray,
    params: SegmentParams,
    voxel: Sequence[float],
    start: Sequence[int] = (0, 0, 0),
) -> tuple[Contacts, np.ndarray]:
    """Merges that made the segments of a block.

    Fragments are cut already where the boundary reaches `SUSPECT` of its threshold, so that a cell which leaks through
    a faint membrane counts as a merge, too.

    Parameters
    ----------
    labels, boundary
        (z, y, x), final ids and float32 in 0..1.
    params, voxel
        Of the segmentation; the mode is not "auto".
    start
        First voxel of the block.

    Returns
    -------
    Contacts, smaller
        ``first`` and ``second`` are both the segment; (m,) voxels of the smaller side of each merge, those on membrane
        not counted. Merges of pieces below the smallest size of a segment are left out.
    """
    finer = replace(params, boundary_threshold=SUSPECT * params.boundary_threshold)
    pieces = fragments(boundary, finer, voxel)
    segment, _, small = _unique_pairs(labels.ravel(), pieces.ravel())
    pieces, owner = small.reshape(labels.shape) + 1, np.concatenate([np.zeros(1, segment.dtype), segment])
    found = Contacts.of(pieces, boundary, flat=params.mode != "3d", start=start)
    inside = found.only((owner[found.first] == owner[found.second]) & (owner[found.first] > 0))
    if not len(inside.first):
        return inside, np.empty(0, np.int64)
    edges = np.stack([inside.first, inside.second], axis=1)
    sizes, clear = (
        np.bincount(ids, minlength=len(owner)) for ids in (pieces.ravel(), pieces[boundary < params.boundary_threshold])
    )
    pairs = merge_tree(Graph(sizes, edges, inside.height, inside.area)).pairs
    step, smaller = _replayed(edges, pairs, clear)
    one = owner[pairs[:, 0]]
    merges = Contacts(one, one, *(np.bincount(step, getattr(inside, n), len(pairs)) for n in SUMS))
    kept = smaller >= max(1, params.min_size)
    return merges.only(kept), smaller[kept]


def _replayed(edges: np.ndarray, pairs: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The merge (m,) at which both ends of each edge first belong together, and the size of its smaller side."""
    of: list[dict[int, list[int]]] = [{} for _ in sizes]
    for row, (u, v) in enumerate(edges.tolist()):
        of[u].setdefault(v, []).append(row)
        of[v].setdefault(u, []).append(row)
    now, step, smaller = sizes.tolist(), np.zeros(len(edges), np.int64), np.zeros(len(pairs), np.int64)
    for k, (keep, gone) in enumerate(pairs.tolist()):
        step[of[keep].pop(gone)] = k
        del of[gone][keep]
        for w, rows in of[gone].items():
            del of[w][gone]
            of[keep].setdefault(w, []).extend(rows)
            of[w].setdefault(keep, []).extend(rows)
        smaller[k] = min(now[keep], now[gone])
        now[keep] += now[gone]
    return step, smaller


def _unique_pairs(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pairs that occur (m,), (m,), ascending, and which of them each one is."""
    (ones, at_one), (twos, at_two) = (np.unique(ids, return_inverse=True) for ids in (first, second))
    keys, at = np.unique(at_one.ravel() * max(1, len(twos)) + at_two.ravel(), return_inverse=True)
    here, there = np.divmod(keys, max(1, len(twos)))
    return ones[here], twos[there], at.ravel()


def leaning(boundary: np.ndarray, threshold: float) -> np.ndarray:
    """How much a mean boundary speaks for a membrane, 0 to 1: 0.5 at the threshold, linear on both sides of it."""
    low = 0.5 * boundary / max(threshold, 1e-9)
    high = 0.5 + 0.5 * (boundary - threshold) / max(1 - threshold, 1e-9)
    return np.clip(np.where(boundary < threshold, low, high), 0, 1)

"""Thresholds of a segmentation from a few annotated patches: the grid point with the least variation of information.

Ours. A model that was tuned on a few patches answers with other probabilities than before; a fixed threshold then
measures the probabilities' scale and not the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import cc3d
import numpy as np
from scipy.ndimage import uniform_filter

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.partition_metrics import VI, Contingency, variation_of_information
from napari_connecto.workflows.adapt_params import SegmentParams
from napari_connecto.workflows.agglomerate import Graph, MergeTree, absorb, groups, merge_tree
from napari_connecto.workflows.faces import link, overlaps
from napari_connecto.workflows.segment_block import as_probability
from napari_connecto.workflows.watershed import fragments

BOUNDARIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MERGES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
SIZES = (0, 50, 200)
AS_GOOD = 0.01
"""Bits of variation of information that a few patches do not tell apart."""


@dataclass(frozen=True)
class Tuned:
    """The best of a grid.

    Parameters
    ----------
    params
        As given, with the best thresholds.
    vi
        What they reach on the annotated patches: optimistic, for they were chosen there.
    table
        One entry a grid point, in columns: boundary_threshold, merge_threshold, min_size, split, merge, total (bits).
    """

    params: SegmentParams
    vi: VI
    table: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Patch:
    """A boundary map and its truth, instances from 1 on, both (z, y, x).

    ``sections`` holds the section of each instance where those of different sections are unrelated: segments are then
    compared section by section.
    """

    boundary: np.ndarray
    truth: np.ndarray
    sections: np.ndarray | None


def tune_segmentation(
    boundary: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray | Sequence[np.ndarray],
    params: SegmentParams | None = None,
    *,
    voxel_nm: Sequence[float] = (1.0, 1.0, 1.0),
) -> Tuned:
    """Choose boundary threshold, merge threshold and least size on annotated patches.

    Parameters
    ----------
    boundary
        What a model predicts on a patch: float in 0..1 or uint8 in 0..255, (y, x) or (z, y, x); or several of them.
    labels
        Its annotation, same shape: 0 not labelled (does not count), 1 boundary (does not count), 2 inside of some
        neurite, 3 and more instances. What is 2 becomes one instance for each region of a section that hangs together.
    params
        Everything that is not tuned; where nothing tells points apart, the nearest to these is taken.
    voxel_nm
        Size of a voxel, (z, y, x); only ratios matter.

    Raises
    ------
    InputError
        If shapes differ, or no patch holds two instances.
    """
    params = params or SegmentParams()
    patches = _patches(boundary, labels)
    sizes = sorted({*SIZES, params.min_size})
    boundaries, merges = sorted({*BOUNDARIES, params.boundary_threshold}), sorted({*MERGES, params.merge_threshold})
    tables: dict[tuple[float, float, int], list[Contingency]] = {}
    for index, patch in enumerate(patches):
        for threshold in boundaries:
            point = replace(params, boundary_threshold=threshold)
            pieces = Pieces.of(patch, point, voxel_nm, max(merges))
            for merge, size in product(merges, sizes):
                table = _counted(patch, pieces.truth, pieces.segments(merge, size, params.link), index)
                tables.setdefault((threshold, merge, size), []).append(table)
    scores = {point: variation_of_information(Contingency.sum(parts)) for point, parts in tables.items()}
    best = _best(scores, (len(boundaries), len(merges), len(sizes)), params)
    chosen = replace(params, boundary_threshold=best[0], merge_threshold=best[1], min_size=best[2])
    return Tuned(chosen, scores[best], _table(scores))


def _patches(boundary: np.ndarray | Sequence[np.ndarray], labels: np.ndarray | Sequence[np.ndarray]) -> list[Patch]:
    maps = [boundary] if isinstance(boundary, np.ndarray) else list(boundary)
    truths = [labels] if isinstance(labels, np.ndarray) else list(labels)
    if len(maps) != len(truths):
        raise InputError(f"got {len(maps)} boundary maps and {len(truths)} annotations; each map needs its own")
    patches = [_patch(np.asarray(one), np.asarray(truth)) for one, truth in zip(maps, truths, strict=True)]
    if not any(np.any(patch.truth > 0) for patch in patches):
        seen = sorted({int(v) for truth in truths for v in np.unique(truth)[:9]})
        raise InputError(
            f"got labels of {seen or 'nothing'} only; paint the inside of neurites as 2 with boundaries (1) between "
            "them, or each neurite with a number from 3 on"
        )
    if max(len(np.unique(patch.truth[patch.truth > 0])) for patch in patches) < 2:
        raise InputError("got one instance only; paint two or more neighbours, for there is no merge to be told from")
    return patches


def _patch(boundary: np.ndarray, labels: np.ndarray) -> Patch:
    if boundary.shape != labels.shape or boundary.ndim not in (2, 3):
        raise InputError(f"got a boundary map of {boundary.shape} and labels of {labels.shape}; both must be (z, y, x)")
    if labels.dtype.kind not in "iub":
        raise InputError(f"got labels of {labels.dtype}; they must be whole numbers, 0 for not labelled")
    boundary, labels = (a[None] if a.ndim == 2 else a for a in (boundary, labels))
    found = instances(labels)
    ids, first = np.unique(found, return_index=True)
    ids, first = ids[ids > 0], first[ids > 0]
    sections = np.r_[0, first // found[0].size].astype(np.uint64) if labels.max() == 2 else None
    return Patch(as_probability(boundary), np.where(found > 0, np.searchsorted(ids, found) + 1, 0), sections)


def instances(labels: np.ndarray) -> np.ndarray:
    """Instances of an annotation (z, y, x), see `tune_segmentation`: 0 what does not count, int64 from 1."""
    out = np.where(labels > 2, labels, 0).astype(np.int64)
    count = int(out.max(initial=0))
    for section, found in zip(labels, out, strict=True):
        inside = np.ascontiguousarray(section == 2)
        if inside.any():
            parts = cc3d.connected_components(inside, connectivity=4).astype(np.int64)
            found[inside] = parts[inside] + count
            count += int(parts.max())
    return out


@dataclass(frozen=True)
class Pieces:
    """A patch cut into fragments: all that merging them needs, so that a grid point costs no look at a voxel."""

    graph: Graph
    tree: MergeTree
    truth: Contingency
    steps: np.ndarray

    @classmethod
    def of(cls, patch: Patch, params: SegmentParams, voxel: Sequence[float], until: float) -> Pieces:
        """One watershed and one merge tree, up to a threshold."""
        labels = fragments(patch.boundary, params, voxel)
        graph = Graph.of(labels, patch.boundary, flat=params.mode != "3d")
        linked = params.mode == "2d-linked"
        steps = overlaps(labels[:-1], labels[1:]) if linked else np.empty((0, 3), np.int64)
        return cls(graph, merge_tree(graph, until), Contingency.of(labels, patch.truth), steps)

    def segments(self, merge: float, min_size: int, least: float) -> np.ndarray:
        """Segment of each fragment."""
        group = self.tree.cut(merge)
        if min_size > 1:
            group = absorb(self.graph, group, min_size)
        if not len(self.steps):
            return group
        sizes = np.bincount(group, self.graph.sizes)
        found = np.concatenate([group[self.steps[:, :2]], self.steps[:, 2:]], axis=1)
        return groups(len(sizes) - 1, link(found, sizes, least))[group]


def _counted(patch: Patch, table: Contingency, segments: np.ndarray, index: int) -> Contingency:
    """A patch's table of fragments as one of segments, with ids unlike those of other patches (and sections)."""
    seg = segments[table.seg_ids.astype(np.int64)].astype(np.uint64)
    if patch.sections is not None:
        seg |= patch.sections[table.truth_ids.astype(np.int64)] << np.uint64(32)
    number = np.uint64(index) << np.uint64(52)
    return Contingency.sum([Contingency(seg | number, table.truth_ids | number, table.counts)])


def _best(scores: Mapping[tuple[float, float, int], VI], grid: Vec3, params: SegmentParams) -> tuple[float, float, int]:
    """Of the points that are as good as the best, the one amid the best neighbours; of those the nearest to ``params``.

    Few patches cannot tell such points apart, and one at the edge of a cliff does not hold elsewhere.
    """
    total = np.array([vi.total for vi in scores.values()])
    around = uniform_filter(total.reshape(grid), (3, 3, 1), mode="nearest").ravel()
    was = (params.boundary_threshold, params.merge_threshold, params.min_size)
    ranked = [
        (
            round(float(around[i]), 6),
            abs(point[0] - was[0]) + abs(point[1] - was[1]),
            abs(point[2] - was[2]),
            i,
        )
        for i, point in enumerate(scores)
        if total[i] <= total.min() + AS_GOOD
    ]
    return list(scores)[min(ranked)[-1]]


def _table(scores: Mapping[tuple[float, float, int], VI]) -> dict[str, np.ndarray]:
    points = np.array(list(scores))
    columns = dict(zip(("boundary_threshold", "merge_threshold", "min_size"), points.T, strict=True))
    columns |= {name: np.array([getattr(vi, name) for vi in scores.values()]) for name in ("split", "merge", "total")}
    return columns

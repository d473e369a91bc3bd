"""Tune segmentation thresholds on a few annotated patches, as far as these are evidence against the prior.

A model that was tuned on a few patches outputs probabilities on another scale; with a fixed threshold one would
measure the scale and not the model. But a few patches cannot distinguish hundreds of grid points: see `evidence` for
when they are trusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TypeAlias

import cc3d
import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import vec3
from napari_connecto.core.partition_metrics import VI, Contingency, bits_by_instance
from napari_connecto.core.shown import shown
from napari_connecto.workflows.segment.agglomerate import (
    Graph,
    MergeTree,
    Touching,
    absorb,
    caution_of,
    merge_tree,
    touching,
)
from napari_connecto.workflows.segment.block import as_probability
from napari_connecto.workflows.segment.evidence import Evidence
from napari_connecto.workflows.segment.link import linked
from napari_connecto.workflows.segment.mode import resolved
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments
from napari_connecto.workflows.shared.em_labels import numbered

BOUNDARIES = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
MERGES = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9)
SIZES = (0, 50, 200)
Axes: TypeAlias = tuple[list[float], list[float], list[int]]


@shown
@dataclass(frozen=True)
class Tuned:
    """Thresholds tuned on annotated patches.

    Parameters
    ----------
    params
        As given, with the chosen thresholds: the prior's, or the best of the grid.
    vi
        Their VI on the annotated patches; optimistic, because they were chosen there.
    table
        One entry per grid point, in columns: boundary_threshold, merge_threshold, min_size, split, merge, total (bits).
    """

    params: SegmentParams
    vi: VI
    table: Mapping[str, np.ndarray]


@shown
@dataclass(frozen=True)
class Patch:
    """A boundary map and its truth, instances from 1 on, both (z, y, x).

    ``sections`` holds the section of each instance if those of different sections are unrelated: segments are then
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
    """Choose boundary threshold, merge threshold and smallest size on annotated patches.

    Parameters
    ----------
    boundary
        Boundary probability that a model predicts on a patch, float in [0, 1] or uint8 in 0..255, (y, x) or (z, y, x);
        or a list of them.
    labels
        Annotation of the same shape: 0 not labelled and 1 boundary (both ignored), 2 inside of some neurite, 3 and more
        instances. Of 2, each connected region of a section becomes an instance.
    params
        Where to start: the thresholds of the model's domain or parent. Default: `SegmentParams()`. A threshold changes
        only if the gain has a 95 % confidence interval above zero, paired over instances.
    voxel_nm
        Voxel size, (z, y, x); only ratios matter.

    Returns
    -------
    Tuned
        ``params``, their ``vi`` on these patches (optimistic: they were chosen there), and a ``table`` of all
        combinations.

    Raises
    ------
    InputError
        If shapes differ, or no patch has two instances.

    Examples
    --------
    >>> image, truth = nc.open_sample("neuropil"), nc.open_sample("neuropil", "neurons")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> boundary = nc.lazy(image, model)[0, :64, :64].compute()
    >>> neurons = truth.levels[0].read(nc.Box((0, 0, 0), (1, 64, 64)))[0]
    >>> tuned = nc.tune_segmentation(boundary, np.where(neurons > 0, neurons + 2, 1))
    >>> tuned.params.boundary_threshold
    0.5
    """
    prior = params or SegmentParams()
    patches = _patches(boundary, labels)
    axes: Axes = (
        sorted({*BOUNDARIES, prior.boundary_threshold}),
        sorted({*MERGES, prior.merge_threshold}),
        sorted({*SIZES, prior.min_size}),
    )
    columns = zip(*(_bits(patch, axes, prior, voxel_nm) for patch in patches), strict=True)
    voxels, split, merge = (np.concatenate(column, axis=-1) for column in columns)
    evidence = Evidence(tuple(product(*axes)), vec3([len(axis) for axis in axes]), split, merge, voxels)
    at = evidence.chosen((prior.boundary_threshold, prior.merge_threshold, prior.min_size))
    best = evidence.points[at]
    chosen = replace(prior, boundary_threshold=best[0], merge_threshold=best[1], min_size=best[2])
    return Tuned(chosen, evidence.at(at), _table(evidence))


def _bits(patch: Patch, axes: Axes, prior: SegmentParams, voxel_nm: Sequence[float]) -> tuple[np.ndarray, ...]:
    """Voxels of a patch's instances (instances,), and their split and merge bits (points, instances)."""
    boundaries, merges, sizes = axes
    prior = resolved(prior, patch.boundary.shape, voxel_nm)
    rows = []
    for threshold in boundaries:
        pieces = Pieces.of(patch, replace(prior, boundary_threshold=threshold), voxel_nm, max(merges))
        for merge in merges:
            group = pieces.tree.cut(merge)
            rows += [
                bits_by_instance(_counted(patch, pieces, pieces.segments(group, replace(prior, min_size=n))))
                for n in sizes
            ]
    _, voxels, split, merged = zip(*rows, strict=True)
    return voxels[0], np.stack(split), np.stack(merged)


def _patches(boundary: np.ndarray | Sequence[np.ndarray], labels: np.ndarray | Sequence[np.ndarray]) -> list[Patch]:
    maps = [boundary] if isinstance(boundary, np.ndarray) else list(boundary)
    truths = [labels] if isinstance(labels, np.ndarray) else list(labels)
    if len(maps) != len(truths):
        raise InputError(f"got {len(maps)} boundary maps and {len(truths)} annotations; each map needs its own")
    patches = [_patch(np.asarray(one), np.asarray(truth)) for one, truth in zip(maps, truths, strict=True)]
    if not any(np.any(patch.truth > 0) for patch in patches):
        seen = sorted({int(v) for truth in truths for v in np.unique(truth)[:9]})
        raise InputError(
            f"the labels contain {seen or 'nothing'} only; paint the inside of neurites as 2 with boundaries (1) "
            "between them, or each neurite with a number from 3 on"
        )
    if max(len(np.unique(patch.truth[patch.truth > 0])) for patch in patches) < 2:
        raise InputError("the labels contain one instance only; two neighbouring objects are needed to measure merges")
    return patches


def _patch(boundary: np.ndarray, labels: np.ndarray) -> Patch:
    if boundary.shape != labels.shape or boundary.ndim not in (2, 3):
        raise InputError(f"got a boundary map of {boundary.shape} and labels of {labels.shape}; both must be (z, y, x)")
    if labels.dtype.kind not in "iub":
        raise InputError(f"got labels of {labels.dtype}; they must be integers, 0 for not labelled")
    boundary, labels = (a[None] if a.ndim == 2 else a for a in (boundary, labels))
    found = instances(labels)
    ids, first = np.unique(found, return_index=True)
    ids, first = ids[ids > 0], first[ids > 0]
    sections = np.r_[0, first // found[0].size].astype(np.uint64) if labels.max() == 2 else None
    return Patch(as_probability(boundary), np.where(found > 0, np.searchsorted(ids, found) + 1, 0), sections)


def instances(labels: np.ndarray) -> np.ndarray:
    """Instances of an annotation (z, y, x), see `tune_segmentation`: 0 is ignored, int64 from 1."""
    out = numbered(np.where(labels > 2, labels, 0)).astype(np.int64)
    count = int(out.max(initial=0))
    for section, found in zip(labels, out, strict=True):
        inside = np.ascontiguousarray(section == 2)
        if inside.any():
            parts = cc3d.connected_components(inside, connectivity=4).astype(np.int64)
            found[inside] = parts[inside] + count
            count += int(parts.max())
    return out


@shown
@dataclass(frozen=True)
class Pieces:
    """A patch cut into fragments, with all that merging needs, so that a grid point reads no voxels."""

    graph: Graph
    tree: MergeTree
    truth: Contingency
    steps: Touching | None

    @classmethod
    def of(cls, patch: Patch, params: SegmentParams, voxel: Sequence[float], until: float) -> Pieces:
        """One watershed and one merge tree, up to a threshold."""
        labels = fragments(patch.boundary, params, voxel)
        graph = Graph.of(labels, patch.boundary, flat=params.mode != "3d")
        section = patch.boundary
        steps = touching(labels[:-1], labels[1:], section[:-1], section[1:]) if params.mode == "2d-linked" else None
        return cls(graph, merge_tree(graph, until, caution_of(params)), Contingency.of(labels, patch.truth), steps)

    def segments(self, group: np.ndarray, params: SegmentParams) -> np.ndarray:
        """Segment of each fragment, from its merged group."""
        if params.min_size > 1:
            group = absorb(self.graph, group, params.min_size)
        if self.steps is None:
            return group
        edges, heights, areas = self.steps
        return linked((group[edges], heights, areas), np.bincount(group, self.graph.sizes), params)[group]


def _counted(patch: Patch, pieces: Pieces, segments: np.ndarray) -> Contingency:
    """The table of fragments as one of segments; those of unrelated sections get separate ids."""
    table = pieces.truth
    seg = segments[table.seg_ids.astype(np.int64)].astype(np.uint64)
    if patch.sections is not None:
        seg |= patch.sections[table.truth_ids.astype(np.int64)] << np.uint64(32)
    return Contingency.sum([Contingency(seg, table.truth_ids, table.counts)])


def _table(evidence: Evidence) -> dict[str, np.ndarray]:
    columns = zip(("boundary_threshold", "merge_threshold", "min_size"), np.array(evidence.points).T, strict=True)
    bits = zip(("split", "merge"), (evidence.split, evidence.merge), strict=True)
    table = dict(columns) | {name: each.sum(axis=1) / evidence.voxels.sum() for name, each in bits}
    return table | {"total": evidence.total}

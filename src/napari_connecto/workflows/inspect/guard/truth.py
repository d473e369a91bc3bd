"""Where an answer is wrong, and how good it is: what the judge of pairs is trained on and measured by."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import cc3d
import numpy as np
from scipy import ndimage

from napari_connecto.core.metrics import dice
from napari_connecto.core.partition_metrics import Contingency, bits_by_instance, variation_of_information
from napari_connecto.workflows.segment.agglomerate import Graph, absorb, merge_tree
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments
from napari_connecto.workflows.shared.em_labels import BACKGROUND, FOREGROUND, boundary_target

AnswerKind: TypeAlias = Literal["membranes", "masks"]
AROUND = 0.15
"""Merge thresholds above and below the user's own, for objects that are rather merged and rather split."""
LEAST_BITS = 100.0
"""Bits times voxels that an object must add to the variation of information to count as merged or split."""
APART, THICK = 9, 5
"""Side of the square around a boundary of the other map within which a boundary is the same one; width of an error."""


@dataclass(frozen=True)
class Judged:
    """One section of an answer against its truth.

    Parameters
    ----------
    wrong, known
        (y, x) bool: where it is wrong, and where there is a truth.
    score
        Of the inner part: Dice, or variation of information in bits; NaN where nothing is known.
    """

    wrong: np.ndarray
    known: np.ndarray
    score: float


def judge(answer: np.ndarray, labels: np.ndarray, kind: AnswerKind, params: SegmentParams, margin: int = 0) -> Judged:
    """Compare one section of an answer with its labels.

    Parameters
    ----------
    answer
        (y, x) probability in 0..1: of a boundary ("membranes"), or of an object ("masks").
    labels
        (y, x) EM labels, see `em_labels`; for masks foreground and instances are the objects.
    kind
        Which of the two.
    params
        How membranes become objects.
    margin
        Width of the border that does not count for the score.
    """
    if kind == "masks":
        return _masks(answer, labels, margin)
    return _membranes(answer, labels, params, margin)


def objects_of(labels: np.ndarray) -> np.ndarray:
    """(y, x) uint32: connected parts of foreground and of each instance, from 1; 0 on boundaries and unknown voxels."""
    inside = np.where(labels >= FOREGROUND, labels, 0).astype(np.uint32)
    return np.asarray(cc3d.connected_components(np.ascontiguousarray(inside), connectivity=4), np.uint32)


def _masks(answer: np.ndarray, labels: np.ndarray, margin: int) -> Judged:
    found, truth, known = answer >= 0.5, labels >= FOREGROUND, labels >= BACKGROUND
    inner = _inner(answer.shape, margin)
    seen = known[inner]
    score = dice(found[inner][seen], truth[inner][seen]) if seen.any() else float("nan")
    return Judged((found != truth) & known, known, score)


def _membranes(answer: np.ndarray, labels: np.ndarray, params: SegmentParams, margin: int) -> Judged:
    """Error voxels after SmartEM's ``get_error_GT`` (cfpark00/SmartEM, MIT): see `_errors`."""
    known, truth = labels >= BACKGROUND, objects_of(labels)
    strict, own, loose = _segmented(answer, params)
    inner = _inner(answer.shape, margin)
    score = variation_of_information(own[inner], truth[inner]).total if truth[inner].any() else float("nan")
    wrong = _errors(strict, loose, truth, boundary_target(labels)[0] > 0)
    return Judged(wrong & known, known, score)


def _segmented(answer: np.ndarray, params: SegmentParams) -> list[np.ndarray]:
    """Segments (y, x) at merge thresholds below, at and above the user's own."""
    params = replace(params, mode="2d")
    boundary = np.ascontiguousarray(answer, np.float32)[None]
    found = fragments(boundary, params)
    graph = Graph.of(found, boundary, flat=True)
    tree = merge_tree(graph)
    border = [found[0, side] for side in (0, -1)] + [found[0, :, side] for side in (0, -1)]
    segments = []
    for step in (-AROUND, 0.0, AROUND):
        group = tree.cut(float(np.clip(params.merge_threshold + step, 0.02, 0.98)))
        if params.min_size > 1:
            cut_off = np.isin(group, group[np.concatenate(border)])  # how large such a group is, is not known
            sizes = np.where(cut_off, np.maximum(graph.sizes, params.min_size), graph.sizes)
            group = absorb(replace(graph, sizes=sizes), group, params.min_size)
        segments.append(group[found[0]].astype(np.uint32))
    return segments


def _errors(strict: np.ndarray, loose: np.ndarray, truth: np.ndarray, boundary: np.ndarray) -> np.ndarray:
    """Reference boundaries inside merged objects, and predicted boundaries inside split ones.

    Merged objects are those of the looser segmentation that add to the variation of information by their mixture; a
    split one is a true object that adds to it in the stricter segmentation. A boundary near one of the other map is no
    error. SmartEM takes objects at two depths of h-minima; here they come from two thresholds of the merge tree that
    `segment` cuts.
    """
    merged = np.isin(loose, _guilty(np.where(truth > 0, loose, 0), truth))
    split = np.isin(truth, _guilty(truth, strict)) & (truth > 0)
    near = np.ones((APART, APART), bool)
    missed = boundary & merged & ~ndimage.binary_dilation(_interfaces(loose), near)
    added = _interfaces(strict) & split & ~ndimage.binary_dilation(boundary, near)
    return ndimage.binary_dilation(missed | added, np.ones((THICK, THICK), bool))


def _guilty(objects: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Ids of objects (not 0) that are mixtures of others, by what each adds to the variation of information."""
    if not objects.any():
        return np.empty(0, np.uint64)
    ids, _, bits, _ = bits_by_instance(Contingency.of(others, objects))
    return ids[bits > LEAST_BITS]


def _interfaces(segments: np.ndarray) -> np.ndarray:
    """Voxels of either side of a border between two segments."""
    found = np.zeros(segments.shape, bool)
    for axis in (0, 1):
        moved, to = np.moveaxis(segments, axis, 0), np.moveaxis(found, axis, 0)
        differ = moved[1:] != moved[:-1]
        to[1:] |= differ
        to[:-1] |= differ
    return found


def _inner(shape: tuple[int, ...], margin: int) -> tuple[slice, ...]:
    return tuple(slice(margin, n - margin) for n in shape)

"""Quality of a segmentation into instances: split and merge errors, from tables of overlaps that add up blockwise."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.shown import shown

BLOCK = 2**22
"""Voxels processed at a time by `Contingency.of`."""


@shown
@dataclass(frozen=True)
class Contingency:
    """How many voxels each segment shares with each true instance; tables of several blocks add up.

    Parameters
    ----------
    seg_ids, truth_ids
        Ids of the pairs that occur, uint64 (n,), each pair once, ordered by truth and then by segment.
    counts
        Voxels of each pair, int64 (n,).
    """

    seg_ids: np.ndarray
    truth_ids: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, seg: Any, truth: Any, ignore: Sequence[int] = (0,)) -> Contingency:
        """Table of two label arrays of one shape, of any dimension; lazy arrays are read block by block.

        Parameters
        ----------
        seg, truth
            Ids >= 0, of integer or boolean type. Anything with ``shape``, ``dtype`` and slicing.
        ignore
            Voxels whose *truth* is one of these do not count (0: not labelled). No segment is ever ignored: a
            voxel without a segment (0) belongs to "segment 0".

        Raises
        ------
        InputError
            If shapes differ, or ids are not whole or negative.
        """
        if tuple(seg.shape) != tuple(truth.shape):
            raise InputError(f"got shapes {tuple(seg.shape)} and {tuple(truth.shape)}; they must be equal")
        blocks = _blocks(seg.shape, getattr(truth, "chunks", None))
        return cls.sum(_pairs(np.asarray(seg[block]), np.asarray(truth[block]), ignore) for block in blocks)

    @classmethod
    def sum(cls, parts: Iterable[Contingency]) -> Contingency:
        """Sum of many tables, in time proportional to their size."""
        none = np.empty(0, np.uint64)
        total, waiting = cls(none, none, np.empty(0, np.int64)), list[Contingency]()
        for part in parts:
            waiting.append(part)
            if sum(len(w.counts) for w in waiting) > max(2**16, len(total.counts)):
                total, waiting = _join([total, *waiting]), []
        return _join([total, *waiting])

    def __add__(self, other: Contingency) -> Contingency:
        return _join([self, other])

    @property
    def voxels(self) -> int:
        """Voxels that were counted."""
        return int(self.counts.sum())

    def sizes(self) -> tuple[np.ndarray, np.ndarray]:
        """For each pair, the counted voxels of its whole segment, and of its whole true instance; float64 (n,)."""
        counts = self.counts.astype(float)
        inverses = (np.unique(ids, return_inverse=True)[1] for ids in (self.seg_ids, self.truth_ids))
        seg, truth = (np.bincount(inverse, counts)[inverse] for inverse in inverses)
        return seg, truth


def _blocks(shape: Sequence[int], chunks: Sequence[Any] | None) -> Iterator[tuple[slice, ...]]:
    """Cut an array into blocks of at most ~`BLOCK` voxels along its first axes, at whole chunks."""
    steps = [int(n) for n in shape]
    for axis in range(len(steps)):
        chunk = int(np.max(chunks[axis])) if chunks is not None else 1
        fit = BLOCK * steps[axis] // max(1, int(np.prod(steps, dtype=object)))
        steps[axis] = min(max(chunk, fit // chunk * chunk), max(1, steps[axis]))
    ranges = [range(0, n, step) for n, step in zip(shape, steps, strict=True)]
    for corner in product(*ranges):
        yield tuple(slice(a, a + step) for a, step in zip(corner, steps, strict=True))


def _pairs(seg: np.ndarray, truth: np.ndarray, ignore: Sequence[int]) -> Contingency:
    """Table of one block: runs of equal pairs first, because neighbours mostly are equal; only runs are sorted."""
    for ids in (seg, truth):
        if ids.dtype.kind not in "uib":
            raise InputError(f"got labels of type {ids.dtype}; they must be whole numbers, 0 for none")
    seg, truth = seg.ravel(), truth.ravel()
    starts = np.flatnonzero(_changes(seg, truth))
    lengths = np.diff(starts, append=seg.size)
    seg, truth = seg[starts], truth[starts]
    if any(ids.size and ids.dtype.kind == "i" and ids.min() < 0 for ids in (seg, truth)):
        raise InputError("got negative labels; ids must be >= 0, 0 for none")
    seg, truth = seg.astype(np.uint64), truth.astype(np.uint64)
    keep = ~np.isin(truth, np.array(ignore, np.uint64))
    return _join([Contingency(seg[keep], truth[keep], lengths[keep].astype(np.int64))])


def _join(parts: Sequence[Contingency]) -> Contingency:
    seg, truth, counts = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("seg_ids", "truth_ids", "counts")
    )
    order = np.lexsort((seg, truth))
    seg, truth = seg[order], truth[order]
    first = np.flatnonzero(_changes(seg, truth))
    summed = np.add.reduceat(counts[order], first) if len(first) else counts
    return Contingency(seg[first], truth[first], summed)


def _changes(seg: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Where a pair differs from the one before it; the first always does."""
    change = np.ones(seg.shape, bool)
    np.not_equal(seg[1:], seg[:-1], out=change[1:])
    change[1:] |= truth[1:] != truth[:-1]
    return change


@dataclass(frozen=True)
class VI:
    """Variation of information, bits; 0 is perfect.

    Parameters
    ----------
    split
        H(S|T): what is not known of the segment S where the true instance T is known; grows as instances are cut.
    merge
        H(T|S): what is not known of the instance where the segment is known; grows as instances are fused.
    """

    split: float
    merge: float

    @property
    def total(self) -> float:
        """Sum of both."""
        return self.split + self.merge


@dataclass(frozen=True)
class ARAND:
    """Adapted Rand error, 0 (perfect) to 1, and what it is made of.

    Parameters
    ----------
    error
        1 minus the harmonic mean of the other two.
    precision
        Of the pairs of voxels in one *segment*, the share that is in one instance; falls with merges.
    recall
        Of the pairs of voxels in one *instance*, the share that is in one segment; falls with splits.
    """

    error: float
    precision: float
    recall: float


def _table(seg: Any, truth: Any, ignore: Sequence[int]) -> Contingency:
    table = seg if isinstance(seg, Contingency) else Contingency.of(seg, truth, ignore)
    if not table.voxels:
        raise InputError("got a truth without any labelled voxel (all are ignored); label some")
    return table


def variation_of_information(seg: Any, truth: Any = None, *, ignore: Sequence[int] = (0,)) -> VI:
    """How far a segmentation is from the truth, in bits, as splits and merges. Metric of science.md section 2.

    Parameters
    ----------
    seg, truth
        Label arrays of one shape (see `Contingency.of`), or one `Contingency` as ``seg``.
    ignore
        Ids of the truth whose voxels do not count; instances are compared, never binary masks.

    Raises
    ------
    InputError
        If shapes or types are wrong, or no voxel counts.

    References
    ----------
    Meila, J. Multivariate Analysis 98 (2007). scikit-image's ``variation_of_information(truth, seg,
    ignore_labels=(0,))`` is ``[split, merge]``.
    """
    table = _table(seg, truth, ignore)
    segments, instances = table.sizes()
    counts = table.counts.astype(float)
    split, merge = (float(counts @ np.log2(size / counts)) / table.voxels for size in (instances, segments))
    return VI(split, merge)


def bits_by_instance(table: Contingency) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """What each true instance adds to the variation of information, which is their sum over all counted voxels.

    Returns
    -------
    ids, voxels, split, merge : np.ndarray
        (m,) uint64 in order, (m,) counted voxels, and (m,) bits times voxels.
    """
    segments, instances = table.sizes()
    counts = table.counts.astype(float)
    ids, at = np.unique(table.truth_ids, return_inverse=True)
    voxels, split, merge = (
        np.bincount(at, counts * each, len(ids))
        for each in (1.0, np.log2(instances / counts), np.log2(segments / counts))
    )
    return ids, voxels, split, merge


def adapted_rand_error(seg: Any, truth: Any = None, *, ignore: Sequence[int] = (0,)) -> ARAND:
    """Adapted Rand error of the SNEMI3D challenge; arguments and errors as `variation_of_information`.

    Where there are no pairs to judge (every segment, or every instance, is one voxel), precision or recall is 1.

    References
    ----------
    Arganda-Carreras et al., Front. Neuroanat. 9:142 (2015). scikit-image's ``adapted_rand_error(truth, seg)`` has
    the same error; of its other two, the one called precision is our recall (it divides by the pairs of the truth).
    """
    table = _table(seg, truth, ignore)
    both = _pair_count(table.counts)
    in_seg, in_truth = (_pair_count(_grouped(ids, table.counts)) for ids in (table.seg_ids, table.truth_ids))
    error = 1.0 - 2 * both / (in_seg + in_truth) if in_seg + in_truth else 0.0
    return ARAND(error, both / in_seg if in_seg else 1.0, both / in_truth if in_truth else 1.0)


def _grouped(ids: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.bincount(np.unique(ids, return_inverse=True)[1], counts)


def _pair_count(sizes: np.ndarray) -> float:
    """Ordered pairs of two different voxels in groups of these sizes."""
    sizes = sizes.astype(float)
    return float(sizes @ (sizes - 1))

"""One-to-one matching of found and true objects: as many pairs as possible, and of those the nearest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from napari_connecto.core.errors import InputError
from napari_connecto.core.metrics import Counts


@dataclass(frozen=True)
class Match:
    """A one-to-one matching of found and true objects.

    Parameters
    ----------
    found, truth
        (k,) partners: rows of the points, or ids of the labels.
    quality
        (k,) their distance in nm, or intersection over union.
    counts
        Matched, found without partner, true without partner.
    """

    found: np.ndarray
    truth: np.ndarray
    quality: np.ndarray
    counts: Counts

    @property
    def f1(self) -> float:
        """F1 and its parts, of the objects."""
        return self.counts.f1


def match_points(found_nm: np.ndarray, truth_nm: np.ndarray, max_distance_nm: float) -> Match:
    """Match points that lie within a distance.

    Parameters
    ----------
    found_nm, truth_nm
        (n, 3) and (m, 3), nm, (z, y, x).
    max_distance_nm
        Farther pairs never match.

    Returns
    -------
    Match
        As many pairs as possible; among those matchings the one with the least sum of distances.

    Raises
    ------
    InputError
        For arrays of another shape, or a distance that is not positive.
    """
    found, truth = _points("found_nm", found_nm), _points("truth_nm", truth_nm)
    if not (np.isfinite(max_distance_nm) and max_distance_nm > 0):
        raise InputError(f"got max_distance_nm={max_distance_nm}; it must be a positive number of nm")
    if len(found) == 0 or len(truth) == 0:
        return Match(np.empty(0, int), np.empty(0, int), np.empty(0), _counts(0, len(found), len(truth)))
    pairs = cKDTree(found).sparse_distance_matrix(cKDTree(truth), max_distance_nm, output_type="ndarray")
    chosen = _assign(pairs["i"], pairs["j"], pairs["v"] / max_distance_nm, len(found), len(truth))
    kept = pairs[chosen]
    return Match(kept["i"], kept["j"], kept["v"], _counts(len(kept), len(found), len(truth)))


def match_labels(found: np.ndarray, truth: np.ndarray, min_iou: float = 0.5) -> Match:
    """Match labelled objects that overlap enough.

    Parameters
    ----------
    found, truth
        Integer labels of one shape; 0 is background.
    min_iou
        Least intersection over union of a pair, above 0.

    Returns
    -------
    Match
        Of label ids; as many pairs as possible, among those the greatest sum of overlaps.
    """
    if found.shape != truth.shape or found.dtype.kind not in "iub" or truth.dtype.kind not in "iub":
        raise InputError(
            f"got labels {found.dtype} {found.shape} and {truth.dtype} {truth.shape}; need integers of one shape"
        )
    if not 0 < min_iou <= 1:
        raise InputError(f"got min_iou={min_iou}; allowed: above 0, up to 1")
    found_ids, rows, found_size = _objects(found)
    truth_ids, cols, truth_size = _objects(truth)
    both = (rows >= 0) & (cols >= 0)
    width = max(1, len(truth_ids))
    code, overlap = np.unique(rows[both] * width + cols[both], return_counts=True)
    i, j = code // width, code % width
    iou = overlap / (found_size[i] + truth_size[j] - overlap)
    enough = iou >= min_iou
    i, j, iou = i[enough], j[enough], iou[enough]
    chosen = _assign(i, j, 1 - iou, len(found_ids), len(truth_ids))
    counts = _counts(len(chosen), len(found_ids), len(truth_ids))
    return Match(found_ids[i[chosen]], truth_ids[j[chosen]], iou[chosen], counts)


def _points(name: str, points: np.ndarray) -> np.ndarray:
    array = np.asarray(points, float)
    if array.size == 0:
        return np.empty((0, 3))
    if array.ndim != 2 or array.shape[1] != 3 or not np.isfinite(array).all():
        raise InputError(f"got {name} of shape {array.shape}; need finite (n, 3) positions, (z, y, x)")
    return array


def _objects(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ids above background, each voxel's place among them (-1 for background), their sizes."""
    ids, place, size = np.unique(labels.ravel(), return_inverse=True, return_counts=True)
    real = ids != 0
    rank = np.where(real, np.cumsum(real) - 1, -1)
    return ids[real], rank[place], size[real]


def _assign(rows: np.ndarray, cols: np.ndarray, cost: np.ndarray, n: int, m: int) -> np.ndarray:
    """Chosen positions in the list of possible pairs; ``cost`` is within 0..1.

    Each row may also remain unmatched, at a cost above that of any chain of exchanges.
    """
    if len(rows) == 0:
        return np.empty(0, int)
    alone = float(min(n, m) + 2)
    weights = csr_array(
        (
            np.concatenate([1 + cost, np.full(n, 1 + alone)]),
            (np.concatenate([rows, np.arange(n)]), np.concatenate([cols, m + np.arange(n)])),
        ),
        shape=(n, m + n),
    )
    left, right = min_weight_full_bipartite_matching(weights)
    paired = right < m
    order = np.argsort(rows * m + cols)
    return order[np.searchsorted((rows * m + cols)[order], left[paired] * m + right[paired])]


def _counts(matched: int, found: int, truth: int) -> Counts:
    return Counts(matched, found - matched, truth - matched)

"""From a map of evidence to objects, chosen on labelled images; and how good objects are."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import cc3d
import edt
import numpy as np
from _detector_data import Data, Scene
from skimage.measure import regionprops_table
from skimage.segmentation import watershed

from napari_connecto.core.geometry import FVec3
from napari_connecto.core.metrics import Counts, count
from napari_connecto.workflows.cascade.matching import match_labels, match_points

THRESHOLDS = 24
"""Thresholds tried, spread over the map's quantiles around the labelled share."""
SPLITS = (None, 0.35, 0.7)
"""Least distance of two centres that are split, in typical radii; None: touching objects stay one."""
LEAST = (0.0, 0.5, 1.0)
"""Least size, in units of the labelled objects' fifth percentile."""


@dataclass(frozen=True)
class Rule:
    """How a map becomes objects: where it exceeds a threshold, split or not, above a least size in voxels."""

    threshold: float
    split: float | None
    least: float


@dataclass(frozen=True)
class Score:
    """Dice of voxels, and counts of objects matched at IoU >= 0.5 and by their centres."""

    voxels: Counts
    overlap: Counts
    centres: Counts

    def __add__(self, other: Score) -> Score:
        return Score(self.voxels + other.voxels, self.overlap + other.overlap, self.centres + other.centres)

    def to_json(self) -> dict[str, float]:
        """Dice, and F1 of both kinds with precision and recall of the first."""
        return {
            "dice": self.voxels.f1,
            "f1": self.overlap.f1,
            "precision": self.overlap.precision,
            "recall": self.overlap.recall,
            "f1_centres": self.centres.f1,
            "objects": self.overlap.tp + self.overlap.fn,
            "found": self.overlap.tp + self.overlap.fp,
        }


def score(found: np.ndarray, scene: Scene, data: Data) -> Score:
    """Compare labels (z, y, x) with the truth; voxels of which nobody knows are left out."""
    truth = scene.truth
    if scene.known is not None:
        found, truth = np.where(scene.known, found, 0), np.where(scene.known, truth, 0)
    overlap = match_labels(found, truth).counts
    centres = match_points(_centres(found, data), _centres(truth, data), typical_radius(truth, data)).counts
    return Score(count(found > 0, truth > 0), overlap, centres)


def _centres(labels: np.ndarray, data: Data) -> np.ndarray:
    if not labels.any():
        return np.empty((0, 3))
    told = regionprops_table(labels.astype(np.int64), properties=("centroid",))
    return (np.stack([told[f"centroid-{axis}"] for axis in range(3)], axis=1) + 0.5) * data.voxel_nm


def typical_radius(truth: np.ndarray, data: Data) -> float:
    """Of the median object, as a disc on single sections, else as a ball; in nm."""
    sizes = np.bincount(truth.ravel())[1:]
    size = float(np.median(sizes[sizes > 0]))
    if data.flat:
        return float(np.sqrt(size / np.pi) * data.voxel_nm[1])
    return float((size * np.prod(data.voxel_nm) * 3 / 4 / np.pi) ** (1 / 3))


def objects(evidence: np.ndarray, rule: Rule, data: Data, radius: float) -> np.ndarray:
    """Labels (z, y, x) of a map (z, y, x); ``radius`` of a typical object in nm."""
    mask = evidence >= rule.threshold
    if data.flat:
        labels, count_ = np.zeros(mask.shape, np.uint32), 0
        for z in range(len(mask)):
            plane = _labelled(mask[z : z + 1], rule, (1.0, *data.voxel_nm[1:]), radius)
            labels[z] = np.where(plane[0] > 0, plane[0] + count_, 0)
            count_ += int(plane.max())
    else:
        labels = _labelled(mask, rule, data.voxel_nm, radius)
    return np.asarray(cc3d.dust(labels, threshold=rule.least, connectivity=26)) if rule.least > 1 else labels


def _labelled(mask: np.ndarray, rule: Rule, voxel_nm: FVec3, radius: float) -> np.ndarray:
    if rule.split is None or not mask.any():
        return cc3d.connected_components(mask, connectivity=26).astype(np.uint32)
    # distances within the sections: these volumes are flat, or thick along z
    distance = np.stack([edt.edt(np.ascontiguousarray(plane), anisotropy=voxel_nm[1:]) for plane in mask])
    core = distance >= rule.split * radius
    markers = cc3d.connected_components(core, connectivity=26).astype(np.int32)
    whole = cc3d.connected_components(mask, connectivity=26).astype(np.int32)
    reached = np.zeros(int(whole.max()) + 1, bool)
    reached[whole[core]] = True
    alone = (whole > 0) & ~reached[whole]  # thinner objects stay as they are
    markers[alone] = whole[alone] + int(markers.max())
    return watershed(-distance, markers, mask=mask).astype(np.uint32)


def best_threshold(evidence: np.ndarray, scene: Scene) -> tuple[np.ndarray, int, float]:
    """Thresholds to try, which of them has the best Dice on labelled images, and that."""
    known = np.ones(scene.truth.shape, bool) if scene.known is None else scene.known
    values, inside = evidence[known], scene.truth[known] > 0
    thresholds = _thresholds(values, float(inside.mean()))
    scores = [count(values >= t, inside).f1 for t in thresholds]
    best = int(np.argmax(scores))
    return thresholds, best, scores[best]


def choose_rule(evidence: np.ndarray, scene: Scene, data: Data) -> tuple[Rule, float]:
    """The rule of best mean of Dice and F1 on labelled images, and that mean.

    The threshold of best Dice first; then it and two neighbours with every way to split and least size.
    """
    thresholds, best, dice = best_threshold(evidence, scene)
    if not data.objects:
        return Rule(float(thresholds[best]), None, 0.0), dice
    sizes = np.bincount(scene.truth.ravel())[1:]
    small = float(np.percentile(sizes[sizes > 0], 5))
    near = sorted({int(np.clip(best + step, 0, len(thresholds) - 1)) for step in (-3, 0, 3)})
    found = list(_tried(evidence, scene, data, [float(thresholds[k]) for k in near], small))
    return max(found, key=lambda pair: pair[1])


def _tried(
    evidence: np.ndarray, scene: Scene, data: Data, thresholds: list[float], small: float
) -> Iterator[tuple[Rule, float]]:
    radius = typical_radius(scene.truth, data)
    for threshold, split in itertools.product(thresholds, SPLITS):
        labels = objects(evidence, Rule(threshold, split, 0.0), data, radius)
        for least in LEAST:
            kept = np.asarray(cc3d.dust(labels, threshold=least * small)) if least * small > 1 else labels
            dice, f1 = count(kept > 0, scene.truth > 0).f1, _f1(kept, scene.truth)
            yield Rule(threshold, split, least * small), (dice + f1) / 2


def _f1(found: np.ndarray, truth: np.ndarray) -> float:
    """F1 of objects at IoU > 0.5, where partners are unique: faster than `match_labels`, to choose by."""
    found_size, truth_size = np.bincount(found.ravel()), np.bincount(truth.ravel())
    both = (found > 0) & (truth > 0)
    pairs, overlap = np.unique(found[both].astype(np.int64) * len(truth_size) + truth[both], return_counts=True)
    i, j = pairs // len(truth_size), pairs % len(truth_size)
    matched = np.count_nonzero(overlap / (found_size[i] + truth_size[j] - overlap) > 0.5)
    return 2 * matched / max(1, np.count_nonzero(found_size[1:]) + np.count_nonzero(truth_size[1:]))


def _thresholds(values: np.ndarray, share: float) -> np.ndarray:
    """Values that keep a fifth to five times the labelled share of voxels."""
    kept = np.clip(share * np.geomspace(0.2, 5, THRESHOLDS), 1e-6, 0.95)
    return np.unique(np.quantile(values[:: max(1, values.size // 1_000_000)], 1 - kept))

"""Evaluate a search against ground truth."""

from __future__ import annotations

from dataclasses import dataclass

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.metrics import Counts, count
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.matching import match_points
from napari_connecto.workflows.cascade.training.examples import from_labels


@shown
@dataclass(frozen=True)
class Accuracy:
    """Found against true objects, matched one to one by their centres; voxel Dice where there are masks."""

    objects: Counts
    dice: float | None

    def __str__(self) -> str:
        o = self.objects
        dice = "" if self.dice is None else f", Dice {self.dice:.3f}"
        return f"F1 {o.f1:.3f} (precision {o.precision:.3f}, recall {o.recall:.3f} of {o.tp + o.fn} objects){dice}"


def evaluate(found: Detections, truth: Volume, *, max_distance_nm: float | None = None) -> Accuracy:
    """Compare detections with true labels.

    Parameters
    ----------
    found
        Detections outside the truth's extent are left out.
    truth
        Mask or instances.
    max_distance_nm
        Between matched centres. Default: half a typical object's diameter.

    Raises
    ------
    InputError
        If nothing is labelled.
    """
    examples = from_labels(truth, "masks")
    level = truth.levels[0]
    at = level.to_voxels(found.centre_nm)
    inside = ((at >= 0) & (at < level.shape)).all(axis=1)
    distance = max_distance_nm if max_distance_nm is not None else examples.diameter_nm / 2
    match = match_points(found.centre_nm[inside], examples.centres_nm, distance)
    return Accuracy(match.counts, None if found.labels is None else _dice(found.labels, truth))


def _dice(labels: Volume, truth: Volume) -> float:
    """Voxel overlap of two label volumes on one grid, plane by plane."""
    a, b = labels.levels[0], truth.levels[0]
    if a.shape != b.shape:
        raise InputError(f"got labels of {a.shape} voxels and truth of {b.shape}; compare them on one grid")
    counts = Counts(0, 0, 0)
    for z in range(a.shape[0]):
        plane = Box((z, 0, 0), (z + 1, *a.shape[1:]))
        counts += count(a.read(plane) > 0, b.read(plane) > 0)
    return counts.f1

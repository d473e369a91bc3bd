"""What one model answers at each place: on the image, and on the image flipped, with noise, and blurred.

Consistency under perturbations as a score of transfer without labels: Talks and Kreshuk, arXiv 2503.00450.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.partition_metrics import Contingency, variation_of_information
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.adapt.agreement.places import Places, view
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.whole import boundary_of

PERTURBATIONS = ("flip", "noise", "blur")
NOISE = 0.25
"""Standard deviation of the added white noise, in standard deviations of the patch."""
BLUR = 1.0
"""Sigma of the Gaussian blur, voxels of the model, in plane."""
WHOLE = 0.9
"""Share of a place above which one segment is all of it."""
DUST = 100
"""Voxels of the grid below which half of the area lies in specks: twice the default smallest size of a segment."""


@shown
@dataclass(frozen=True)
class Answers:
    """One model's segmentations.

    Parameters
    ----------
    boundary
        (places, y, x) uint8, probability times 255, on the image as it is.
    labels
        (places, y, x) uint32, its segments.
    inconsistency
        (places, perturbations) VI in bits between the segments of the image and those of each of `PERTURBATIONS`.
    entropy
        (places,) entropy in bits of the sizes of its segments: the largest VI that merging all of them could cause.
    trivial
        (places,) "whole" if one segment fills the place, "dust" if it is in specks, else "": such answers agree with
        each other without saying anything about the image.
    """

    boundary: np.ndarray
    labels: np.ndarray
    inconsistency: np.ndarray
    entropy: np.ndarray
    trivial: tuple[str, ...]

    @property
    def degenerate(self) -> str:
        """What is wrong with the answers to at least half of the places; "" if nothing."""
        for name, said in (("whole", "one segment fills the place"), ("dust", "the segments are specks")):
            if 2 * self.trivial.count(name) >= len(self.trivial):
                return said
        return "one segment or specks" if 2 * sum(map(bool, self.trivial)) >= len(self.trivial) else ""


def answers_job(model: Predictor, volume: Volume, places: Places, params: SegmentParams, seed: int = 0) -> Job[Answers]:
    """Segment every place four times, with a report per segmentation.

    Parameters
    ----------
    model
        Boundary model.
    volume
        What the places were drawn from.
    places
        See `draw_places`.
    params
        Thresholds of the model; ``min_size`` in voxels of the model. Every place is segmented as a single section.
    seed
        Random seed of the noise.

    Raises
    ------
    InputError, VoxelSizeError
        As `view`.
    """
    scaling = model.card.normalisation.resolve(volume)
    area = (model.card.voxel_nm[2] / places.grid.voxel_nm[2]) ** 2
    params = replace(params, mode="2d", min_size=round(params.min_size * area))
    maps, labels, apart = [], [], []
    for n in range(len(places.boxes)):
        here = view(volume, model.card, places, n)
        image, cut = np.asarray(scaling(here.image), np.float32), {}
        for k, name in enumerate(("", *PERTURBATIONS)):
            yield Progress(4 * n + k, 4 * len(places.boxes), f"segmenting with {model.card.name}")
            answer = here.on_grid(_asked(model, image, name, [seed, n]), places, n)
            cut[name] = segment_array(answer[None], params)[0]
            if not name:
                maps.append(np.rint(answer * 255).astype(np.uint8))
        labels.append(cut[""])
        apart.append([apart_bits(cut[""], cut[name]) for name in PERTURBATIONS])
    entropy, trivial = np.array([entropy_bits(plane) for plane in labels]), tuple(map(triviality, labels))
    return Answers(np.stack(maps), np.stack(labels), np.array(apart), entropy, trivial)


def _asked(model: Predictor, image: np.ndarray, perturbation: str, seed: list[int]) -> np.ndarray:
    """Boundary of a scaled patch (z, y, x), perturbed before and put back afterwards."""
    if perturbation == "flip":
        return boundary_of(model, np.ascontiguousarray(image[:, ::-1, ::-1]))[:, ::-1, ::-1]
    if perturbation == "noise":
        image = image + np.random.default_rng(seed).normal(0, NOISE * float(image.std()), image.shape)
    if perturbation == "blur":
        image = gaussian_filter(image, (0, BLUR, BLUR))
    return boundary_of(model, image.astype(np.float32))


def apart_bits(a: np.ndarray, b: np.ndarray) -> float:
    """Variation of information between two segmentations, bits; every voxel counts."""
    return variation_of_information(Contingency.of(a, b, ignore=())).total


def entropy_bits(labels: np.ndarray) -> float:
    """Entropy of the sizes of the segments, bits: 0 for one segment, log2 n for n equal ones."""
    share = np.unique(labels, return_counts=True)[1] / labels.size
    return float(-(share * np.log2(share)).sum())


def triviality(labels: np.ndarray) -> str:
    """See `Answers.trivial`."""
    sizes = np.sort(np.unique(labels, return_counts=True)[1])
    if sizes[-1] > WHOLE * labels.size:
        return "whole"
    half = sizes[np.searchsorted(np.cumsum(sizes), labels.size / 2)]
    return "dust" if half < DUST else ""


def between(answers: Mapping[str, Answers]) -> np.ndarray:
    """VI in bits between the segmentations of every two models at each place, (places, models, models)."""
    found = list(answers.values())
    out = np.zeros((len(found[0].labels), len(found), len(found)))
    for i, a in enumerate(found):
        for j, b in enumerate(found[:i]):
            out[:, i, j] = out[:, j, i] = [apart_bits(x, y) for x, y in zip(a.labels, b.labels, strict=True)]
    return out

"""Annotated patches as training samples of a boundary model: each a function of its number, so that runs resume."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.shown import shown
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.nets.nets import divisor
from napari_connecto.models.training.augment import Augment
from napari_connecto.models.training.fit import Sample
from napari_connecto.workflows.shared.em_labels import boundary_target, check_numbers

LARGEST = 1e30
"""Largest absolute value of an image, so that derived values stay finite."""
LEAST = 64
"""Smallest crop along y and x, voxels: in a smaller one a network sees little but its border."""


@shown
@dataclass(frozen=True)
class Example:
    """One annotated patch.

    Parameters
    ----------
    image
        (z, y, x), as stored.
    labels
        (z, y, x) EM labels, see `em_labels`.
    voxel_nm
        Of both, nm, (z, y, x); None: the model's.
    scaling
        Scaling of the volume the patch is from; None: from the patch itself.
    """

    image: np.ndarray
    labels: np.ndarray
    voxel_nm: FVec3 | None = None
    scaling: Scaling | None = None

    def __post_init__(self) -> None:
        if self.image.shape != self.labels.shape or self.image.ndim != 3:
            raise InputError(
                f"got an image of shape {self.image.shape} with labels of {self.labels.shape}; both are (z, y, x), "
                "of one shape"
            )
        if self.image.size == 0 or self.image.dtype.kind not in "biuf":
            raise InputError(f"got an image of {self.image.shape} {self.image.dtype}; it needs at least one number")
        if self.image.dtype.kind == "f" and not (np.abs(self.image) <= LARGEST).all():
            raise InputError("an annotated patch contains NaN, infinite or huge values; clean the image first")
        check_numbers(self.labels)

    @classmethod
    def of(cls, pair: Any) -> Example:
        """From an `Example`, or an (image, labels) pair of (y, x) or (z, y, x) arrays."""
        if isinstance(pair, Example):
            return pair
        image, labels = (np.asarray(a) for a in pair)
        flat = image.ndim == 2 and labels.ndim == 2
        return cls(image[None], labels[None]) if flat else cls(image, labels)


@dataclass(frozen=True)
class EmSamples:
    """Random crops of annotated patches, augmented.

    Parameters
    ----------
    examples
        At least one; the number of crops from each is proportional to its labelled area.
    card
        Of the model: its voxel size and normalisation.
    crop, batch
        Largest extent of a crop along y and x in voxels, and crops per sample. If a patch is smaller, crops are the
        largest
        multiple of the network's step that fits all patches, down to 64: only smaller patches are padded.
    augment
        None: no augmentation.
    """

    examples: Sequence[Example]
    card: ModelCard
    crop: int = 192
    batch: int = 4
    seed: int = 0
    augment: Augment | None = field(default_factory=Augment)

    def __post_init__(self) -> None:
        if not self.examples:
            raise InputError("no annotated patch; commit at least one")

    @cached_property
    def _ready(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return [prepared(e, self.card) for e in self.examples]

    @cached_property
    def side(self) -> int:
        """Voxels along y and x of the crops that are drawn."""
        step = divisor(self.card.network)[2]
        smallest = min(n for image, _ in self._ready for n in image.shape[1:])
        return self.crop if smallest >= self.crop else min(self.crop, max(LEAST, smallest) // step * step)

    def from_step(self, step: int) -> Iterator[Sample]:
        """Samples number ``step``, ``step + 1``, ...; the same every time."""
        return (self.at(i) for i in count(step))

    def at(self, step: int) -> Sample:
        """One sample: (n, 1, 1, y, x) image, target and weight."""
        ready = self._ready
        rng = np.random.default_rng([self.seed, step])
        area = np.array([float((labels > 0).sum()) for _, labels in ready])
        chosen = rng.choice(len(ready), self.batch, p=area / area.sum())
        crops = [self._crop(ready[i][0], ready[i][1], rng) for i in chosen]
        image, labels = (np.stack(part) for part in zip(*crops, strict=True))
        target, weight = boundary_target(labels)
        return tuple(a[:, None, None].astype(np.float32) for a in (image, target, weight))  # type: ignore[return-value]

    def _crop(self, image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        places = np.flatnonzero((labels > 0).any(axis=(1, 2)))
        z = int(rng.choice(places))
        plane, known = image[z], labels[z]
        start = [int(rng.integers(0, max(1, n - self.side + 1))) for n in plane.shape]
        here = tuple(slice(a, a + self.side) for a in start)
        pad = [(0, max(0, self.side - n)) for n in plane.shape]
        plane, known = np.pad(plane[here], pad, mode="symmetric"), np.pad(known[here], pad)
        return (plane, known) if self.augment is None else self.augment(plane, known, int(rng.integers(2**32)))


def prepared(example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Scaled image (float32) and labels of an example at the card's voxel size."""
    level = Level(example.image, example.voxel_nm or card.voxel_nm)
    scaling = example.scaling or card.normalisation.resolve(Volume((level,), name="an annotated patch"))
    image, labels = unscaled(example, card)
    return scaling(image), labels


def unscaled(example: Example, card: ModelCard) -> tuple[np.ndarray, np.ndarray]:
    """Image and labels of an example at the card's voxel size, the image in its own intensities."""
    voxel_nm = example.voxel_nm or card.voxel_nm
    level = Level(example.image, voxel_nm)
    image = resampled(level, (voxel_nm[0], *card.voxel_nm[1:]))
    return np.asarray(image.read(image.box)), nearest(example.labels, level, image)


def nearest(labels: np.ndarray, level: Level, other: Level) -> np.ndarray:
    """Labels on the grid of ``level``, resampled to that of ``other``: the label at each voxel's centre."""
    if level.shape == other.shape and level.voxel_nm == other.voxel_nm:
        return labels
    index = [
        np.clip(np.floor((np.arange(n) + 0.5) * new / old), 0, have - 1).astype(int)
        for n, new, old, have in zip(other.shape, other.voxel_nm, level.voxel_nm, level.shape, strict=True)
    ]
    return labels[np.ix_(*index)]

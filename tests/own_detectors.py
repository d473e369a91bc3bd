"""Detectors as another package would write them, registered under their names for a test."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.models.detectors import registry


@dataclass(frozen=True)
class Likely:
    """The smoothed image as a probability."""

    sigma: float = 1.0

    answers, version = "probability", "1"
    tile, halo = (1, 32, 32), (0, 8, 8)

    def __call__(self, image, voxel_nm):
        return np.clip(ndimage.gaussian_filter(image, [0, self.sigma, self.sigma], truncate=4), 0, 1)


@dataclass(frozen=True)
class Bright:
    """Connected bright regions."""

    threshold: float = 0.5

    answers, version = "labels", "1"
    tile, halo = (1, 32, 32), (0, 8, 8)

    def __call__(self, image, voxel_nm):
        return ndimage.label(image > self.threshold)[0]


@dataclass(frozen=True)
class Spots:
    """Maxima of the smoothed image."""

    threshold: float = 0.3

    answers, version = "points", "1"
    tile, halo = (4, 32, 32), (4, 8, 8)
    diameter_nm = 6.0

    def __call__(self, image, voxel_nm):
        smooth = ndimage.gaussian_filter(image, 1, truncate=3)
        return np.argwhere((smooth == ndimage.maximum_filter(smooth, 5)) & (smooth > self.threshold))


@dataclass(frozen=True)
class Odd:
    """Answers what it must not."""

    kind: str = "shape"

    answers, version = "labels", "1"
    tile, halo = (1, 32, 32), (0, 8, 8)

    def __call__(self, image, voxel_nm):
        if self.kind == "raises":
            raise RuntimeError("no\nluck")
        return {"shape": image[:, 1:].astype(int), "negative": -(image > -9).astype(int), "float": image}[self.kind]


@dataclass(frozen=True)
class OddPoints:
    """Points that are none."""

    kind: str = "outside"

    answers, version, diameter_nm = "points", "1", 4.0

    def __call__(self, image, voxel_nm):
        return {"outside": [[0, -1, 3]], "nan": [[0, np.nan, 3]], "flat": [1.0, 2.0], "text": "none"}[self.kind]


@dataclass(frozen=True)
class OddChance:
    """Probabilities that are none."""

    value: float = 2.0

    answers, version = "probability", "1"

    def __call__(self, image, voxel_nm):
        return np.full(image.shape, self.value if self.value >= 0 else np.nan)


KINDS = (Likely, Bright, Spots, Odd, OddPoints, OddChance)


def register(patch: pytest.MonkeyPatch) -> None:
    """As an installed package does by its entry points."""
    points = [
        EntryPoint(kind.__name__.lower(), f"tests.own_detectors:{kind.__name__}", registry.GROUP) for kind in KINDS
    ]
    patch.setattr(registry, "entry_points", lambda group: points if group == registry.GROUP else [])

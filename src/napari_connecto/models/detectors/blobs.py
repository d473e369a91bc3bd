"""Bright or dark blobs of a known size, without training: a local contrast threshold, and touching ones parted.

Threshold between the local minimum and maximum of a window: Bernsen, ICPR 1986, with a least contrast; watershed of the
distance transform as in scikit-image's and CellProfiler's examples. All windows are fixed by the diameter, so that what
is said of a place depends on its surroundings alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, floor, log2
from typing import Any, ClassVar

import cc3d
import edt
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.params import check, param

WINDOW, EVEN, SMOOTH = 1.5, 0.5, 0.1
"""In diameters: the window of minimum and maximum, sigma by which these are evened out, and by which noise is."""
SEEDS, SPECK, ROUGH = 0.25, 0.4, 0.1
"""In diameters: least distance of two seeds along an axis, size of what is dropped, sigma that evens out rough rims."""
REACH_2D, REACH_3D = 3.0, 2.5
"""Halo in diameters."""
ACROSS_2D, ACROSS_3D = 12, 8
"""Voxels across an object at least, where the image is finer."""
LEAST_CONTRAST, MOST_CONTRAST, ABOVE = 0.15, 0.6, 3.5
"""Of the image's range: contrast at least, and at most for the background's structure, whose size is `ABOVE` times its
median minus its 2.5 % quantile."""
SPAN = 9.0
"""Standard deviations that noise spans in a window, in hardly any place of an image."""
KEPT_2D, KEPT_3D = 0.67, 0.79
"""Share of the smoothed noise's deviation that is left without what smoothing twice as wide keeps, if it is white."""


@dataclass(frozen=True)
class Blobs:
    """Bright or dark blobs of about one size."""

    diameter_nm: float = param(0.0, "Typical diameter of an object.", unit="nm", low=0)
    dark: bool = param(False, "Objects are darker than their surroundings.")
    contrast: float = param(
        0.0,
        "Minimum contrast with the surroundings, as a fraction of the intensity range; 0: from the background's noise.",
        low=0.0,
        high=100.0,
        zero="from the noise",
    )
    edge: float = param(
        0.33, "Intensity of the outline, between the surroundings (0) and the brightest part (1).", low=0.05, high=0.95
    )

    answers: ClassVar[str] = "labels"
    version: ClassVar[str] = "2"

    def __post_init__(self) -> None:
        check(self)
        if not self.diameter_nm > 0:
            raise InputError(
                "blobs need diameter_nm, the typical diameter of an object in nm, or in pixels if the image states no "
                "voxel size"
            )

    def reads(self, voxel_nm: FVec3, shape: Vec3) -> dict[str, Any]:
        """Coarser than the image where objects are large; section by section where these are thick."""
        z, y, x = voxel_nm
        flat = shape[0] == 1 or 1.5 * z > self.diameter_nm
        across = ACROSS_2D if flat else ACROSS_3D
        factor = 2 ** max(0, floor(log2(self.diameter_nm / max(y, x) / across)))
        size = (z if flat else max(z, min(z, y) * factor), y * factor, x * factor)
        wide = [self.diameter_nm / v for v in size]
        halo = [0 if flat and k == 0 else ceil((REACH_2D if flat else REACH_3D) * w) for k, w in enumerate(wide)]
        side = 256 if flat else 96
        tile = (1 if flat else max(8, round(side * size[1] / size[0] / 8) * 8), side, side)
        return {"tile": tile, "halo": tuple(halo), "voxel_nm": size}

    def fitted(self, image: np.ndarray, voxel_nm: FVec3) -> Blobs:
        """With a contrast above the background's structure and noise."""
        if self.contrast:
            return self
        wide, image = self._wide(image, voxel_nm), -image if self.dark else image
        smooth = ndimage.gaussian_filter(image, [SMOOTH * w for w in wide])
        low, middle, top = np.percentile(smooth, [2.5, 50, 100])
        most = min(1.0, MOST_CONTRAST * max(1.0, top - low))  # sparse objects exceed the range, which is that of noise
        contrast = max(min(ABOVE * (middle - low), most), SPAN * _noise(image, smooth, wide), LEAST_CONTRAST)
        return replace(self, contrast=round(float(min(contrast, 100.0)), 3))

    def _wide(self, image: np.ndarray, voxel_nm: FVec3) -> list[float]:
        """Voxels across an object, 0 along an axis of one voxel."""
        return [self.diameter_nm / v if n > 1 else 0.0 for v, n in zip(voxel_nm, image.shape, strict=True)]

    def __call__(self, image: np.ndarray, voxel_nm: FVec3) -> tuple[np.ndarray, np.ndarray]:
        """Instances (z, y, x), of any numbers, and a score for each.

        The score is c / (c + least) of the contrast c with the surroundings: 0.5 at the least contrast, 0.8 at four
        times that. An object of several tiles gets the mean of their scores.
        """
        wide = self._wide(image, voxel_nm)
        mask, height = self._mask(1 - image if self.dark else image, wide)
        labels = _without_specks(_parted(mask, wide, voxel_nm), wide)
        most, least = np.zeros(int(labels.max()) + 1, np.float32), self.contrast or LEAST_CONTRAST
        np.maximum.at(most, labels.ravel(), height.ravel())
        own = most > least  # others have the contrast of a brighter neighbour
        return np.where(own[labels], labels, 0), most / (most + least)

    def _mask(self, image: np.ndarray, wide: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """Where objects are, and by how much each voxel exceeds the least of its surroundings."""
        smooth = ndimage.gaussian_filter(image, [SMOOTH * w for w in wide])
        size = [2 * int(WINDOW * w / 2) + 1 for w in wide]
        even = [EVEN * w for w in wide]
        low, high = (
            ndimage.gaussian_filter(find(smooth, size), even, truncate=2.0)
            for find in (ndimage.minimum_filter, ndimage.maximum_filter)
        )
        least = self.contrast or LEAST_CONTRAST
        height = smooth - low
        return (height > np.maximum(self.edge * (high - low), LEAST_CONTRAST)) & (high - low > least), height


def _noise(image: np.ndarray, smooth: np.ndarray, wide: Sequence[float]) -> float:
    """Standard deviation of the smoothed noise, in the darker half of the image, where there are hardly any objects."""
    around = ndimage.gaussian_filter(smooth, [EVEN * w for w in wide])
    fine = (smooth - ndimage.gaussian_filter(image, [2 * SMOOTH * w for w in wide]))[around <= np.median(around)]
    low, middle = np.percentile(fine, [15.9, 50])
    return float(middle - low) / (KEPT_2D if image.shape[0] == 1 else KEPT_3D)


def _parted(mask: np.ndarray, wide: Sequence[float], voxel_nm: FVec3) -> np.ndarray:
    """Touching objects apart: watershed from the thickest places."""
    if not mask.any():
        return np.zeros(mask.shape, np.uint32)
    flat = mask.shape[0] == 1
    distance = edt.edt(np.ascontiguousarray(mask[0] if flat else mask), anisotropy=voxel_nm[1:] if flat else voxel_nm)
    distance = ndimage.gaussian_filter(distance[None] if flat else distance, [ROUGH * w for w in wide])
    top = ndimage.maximum_filter(distance, [2 * max(1, round(SEEDS * w)) + 1 if w else 1 for w in wide])
    seeds = cc3d.connected_components((distance == top) & mask, connectivity=26)
    parts = watershed(-distance, seeds.astype(np.int32), mask=mask).astype(np.uint32)
    rest = cc3d.connected_components(mask & (parts == 0), connectivity=26).astype(np.uint32)  # near a thicker one
    return np.where(rest > 0, rest + parts.max(), parts)


def _without_specks(labels: np.ndarray, wide: Sequence[float]) -> np.ndarray:
    """Without what is far smaller than an object, unless it is cut by the border."""
    count = int(labels.max())
    sides = [SPECK * w for w in wide if w]
    least = np.pi / (4 if len(sides) == 2 else 6) * np.prod(np.maximum(sides, 1))
    small = np.bincount(labels.ravel(), minlength=count + 1) < least
    for axis in (k for k in range(3) if labels.shape[k] > 1):
        for end in (0, -1):
            small[np.unique(labels.take(end, axis))] = False
    small[0] = False
    return np.where(small[labels], 0, labels)

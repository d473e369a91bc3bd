"""Touching objects that a threshold joined, parted by watershed from the middles of each.

Distance transform, its maxima as seeds, and watershed: the usual way, e.g. of scikit-image's and CellProfiler's
examples, but for the distance being weighed with the probability, which is low in the gaps that networks learn to draw
(see `training.gaps`). The least distance between two seeds comes from the labelled objects, not from a setting.
"""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from scipy import ndimage
from skimage.feature import peak_local_max
from skimage.segmentation import watershed

MAX_VOXELS = 2**24
"""Objects in a larger box are not parted: they are no cells."""
SMOOTH = 0.1
"""Sigma by which distances are smoothed, as a share of an object's width: a rough rim makes no seeds."""
APART = 0.25
"""Least distance between two seeds, as a share of an object's width: objects differ in size."""


def parted(
    mask: np.ndarray,
    width: float,
    voxel: Sequence[float],
    probability: np.ndarray | None = None,
    least: int = 1,
) -> np.ndarray:
    """Parts of one object.

    Parameters
    ----------
    mask
        Boolean (z, y, x), true inside the object.
    width
        Typical thickness of an object, in the unit of ``voxel``: seeds are at least a quarter of it apart.
    voxel
        Size of a voxel (z, y, x).
    probability
        Of the mask's shape; None: the same everywhere.
    least
        Voxels of a part; smaller ones go to their neighbours.

    Returns
    -------
    np.ndarray
        uint32 of the same shape, 0 outside, 1 to the number of parts inside; 1 alone where it is one object.
    """
    whole = mask.astype(np.uint32)
    if mask.size > MAX_VOXELS:
        return whole
    padded = np.pad(mask, 1)
    distance = edt.edt(np.ascontiguousarray(padded), anisotropy=tuple(voxel))
    if mask.shape[0] == 1:
        distance = edt.edt(np.ascontiguousarray(padded[1]), anisotropy=tuple(voxel[1:]))[None]
        padded = padded[1:2]
    if probability is not None:
        rim = [(n - m) // 2 for n, m in zip(padded.shape, mask.shape, strict=True)]
        distance *= np.pad(probability, [(r, r) for r in rim])
    sigma = [SMOOTH * width / v if n > 1 else 0.0 for v, n in zip(voxel, padded.shape, strict=True)]
    distance = ndimage.gaussian_filter(distance, sigma)
    reach = [max(1, round(APART * width / v)) if n > 1 else 0 for v, n in zip(voxel, padded.shape, strict=True)]
    around = np.ones([2 * r + 1 for r in reach], bool)
    inside = padded.astype(np.uint8)
    peaks = np.zeros(padded.shape, bool)
    at = peak_local_max(distance, min_distance=1, footprint=around, labels=inside, exclude_border=False)
    peaks[tuple(at.T)] = True
    markers, seeds = ndimage.label(peaks, np.ones((3, 3, 3)))  # the middle of a rod is one seed
    if seeds < 2:
        return whole
    parts = watershed(-distance, markers, mask=padded)
    large = np.bincount(parts.ravel(), minlength=seeds + 1) >= least
    if not large[1:].all():
        markers = np.where(large, np.cumsum(large) - large[0], 0)[markers]
        parts = watershed(-distance, markers, mask=padded) if markers.any() else padded
    inner = parts[tuple(slice(1, -1) if n > 1 else slice(None) for n in padded.shape)]
    return np.asarray(inner, np.uint32)

"""Gaps between neighbouring objects, which networks learn to draw so that touching objects come out as several."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

SHARE = 1 / 8
"""Half the width of a gap, in widths of an object: one or two voxels of the finest level in use."""
SLAB = 16
"""Sections that are looked at together."""


def reach(width_nm: float, voxel_nm: Sequence[float], flat: bool) -> tuple[int, ...]:
    """Half the width of a gap in voxels (z, y, x): at least one in the plane, none across unrelated sections."""
    z, y, x = (round(SHARE * width_nm / v) for v in voxel_nm)
    return (0 if flat else z, max(1, y), max(1, x))


def between(ids: np.ndarray, reach: Sequence[int]) -> np.ndarray:
    """Where two objects are near: voxels of one or of background, with two different objects within reach.

    Parameters
    ----------
    ids
        (z, y, x) unsigned, 0 for background.
    reach
        Voxels along each axis.

    Returns
    -------
    np.ndarray
        Boolean (z, y, x).
    """
    found = np.zeros(ids.shape, bool)
    size = [2 * r + 1 for r in reach]
    for start in range(0, len(ids), SLAB):
        first = max(0, start - reach[0])
        near = ids[first : start + SLAB + reach[0]]
        if not near.any():
            continue
        most = np.iinfo(ids.dtype).max
        high = ndimage.maximum_filter(near, size, mode="constant", cval=0)
        low = ndimage.minimum_filter(np.where(near == 0, most, near), size, mode="constant", cval=most)
        own = slice(start - first, start - first + SLAB)
        found[start : start + SLAB] = ((high > 0) & (high != low))[own]
    return found

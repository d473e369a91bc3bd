"""Divide a segment between two voxels of it: watershed on the boundary, from a seed on either side."""

from __future__ import annotations

from collections.abc import Sequence

import edt
import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from napari_connecto.core.geometry import Vec3

TIE, REACH = 0.05, 32.0
"""Weight of the distance from the boundary, and the largest distance, in voxels: where the boundary is flat, the cut
goes through the narrowest place."""
WALL = 0.5


def divide(inside: np.ndarray, boundary: np.ndarray, seeds: Sequence[Vec3], voxel: Sequence[float]) -> np.ndarray:
    """The side of each voxel of a segment.

    Parameters
    ----------
    inside
        Whether a voxel belongs to the segment, boolean (z, y, x).
    boundary
        Boundary probability there, float 0..1.
    seeds
        A voxel on either side; both inside.
    voxel
        Size of a voxel, (z, y, x); only ratios matter.

    Returns
    -------
    numpy.ndarray
        uint8 (z, y, x): 1 with the first seed, 2 with the second, 0 outside and where neither seed leads.
    """
    unit = min(voxel[1:])
    sampling = tuple(float(v) / unit for v in voxel)
    free = np.ascontiguousarray(inside & (boundary < WALL))
    distance = np.minimum(edt.edt(free, anisotropy=sampling, parallel=1, black_border=True), np.float32(REACH))
    height = (1 - TIE) * boundary.astype(np.float32) + TIE * (1 - distance / np.float32(REACH))
    marks = np.zeros(inside.shape, np.int32)
    for number, seed in enumerate(seeds, start=1):
        marks[seed] = number
    return np.asarray(watershed(height, marks, mask=inside), np.uint8)


def nearest_inside(inside: np.ndarray, point: Vec3) -> Vec3:
    """The voxel of a segment nearest a point; the segment is not empty."""
    if inside[point]:
        return point
    where = np.argwhere(inside)
    z, y, x = (int(v) for v in where[((where - point) ** 2).sum(axis=1).argmin()])
    return z, y, x


def smaller_part(sides: np.ndarray, of: np.ndarray, margin: int) -> tuple[int, Vec3, np.ndarray]:
    """The smaller side of one segment, cropped.

    Parameters
    ----------
    sides
        From `divide`.
    of
        Voxels of that segment, boolean.
    margin
        Voxels around it that are kept.

    Returns
    -------
    side, start, array
        Number of the side, corner of the crop, and whether each voxel is nearer that side, boolean (z, y, x).
    """
    counts = [int(np.count_nonzero(of & (sides == side))) for side in (1, 2)]
    side = 1 if counts[0] < counts[1] else 2
    at = np.argwhere(of & (sides == side))
    low = np.maximum(at.min(axis=0) - margin, 0)
    high = np.minimum(at.max(axis=0) + 1 + margin, sides.shape)
    crop = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    part, own = sides[crop], of[crop]
    known = own & (part > 0)
    near = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    z, y, x = (int(a) for a in low)
    return side, (z, y, x), part[tuple(near)] == side

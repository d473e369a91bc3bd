"""Objects of labels: numbered one by one, across sections only where sections show the same objects."""

from __future__ import annotations

from collections.abc import Sequence

import cc3d
import numpy as np

CONTINUED = 0.5
"""Share of an object's area that the next section shows again, from which it certainly continues there."""
CHANCE = 1.5
"""Overlap of neighbouring sections, relative to that of distant or of random ones, up to which it may be chance."""


def numbered(labels: np.ndarray, voxel_nm: Sequence[float] | None = None) -> np.ndarray:
    """Objects (z, y, x) numbered from 1.

    Each label is an object, as the user numbered them. A single label is a mask, and each of its connected parts is
    one: in 3-D, or section by section where sections are `separate`.

    Parameters
    ----------
    labels
        Integers (z, y, x), 0 for background.
    voxel_nm
        Voxel size (z, y, x), only ratios count; None: parts are connected in 3-D.
    """
    values = np.unique(labels)
    values = values[values != 0]
    if values.size == 1:
        mask = labels != 0
        apart = voxel_nm is not None and separate(mask, voxel_nm)
        parts = _by_section(mask)[0] if apart else cc3d.connected_components(mask, connectivity=26)
        return np.asarray(parts).astype(np.uint32, copy=False)
    ids = np.searchsorted(values, labels).astype(np.uint32) + 1
    ids[labels == 0] = 0
    return ids


def separate(mask: np.ndarray, voxel_nm: Sequence[float]) -> bool:
    """Whether the sections of a mask (z, y, x) show different objects: unrelated images, or sections far apart.

    That is so if the step between sections is at least the typical diameter in the plane, or if neighbouring sections
    overlap little, and no more than distant ones, or than masks of their areas at random places: in two or three
    sections none are distant.
    """
    if len(mask) < 2:
        return False
    _, areas = _by_section(mask)
    if not areas.size:
        return False
    areas = np.sort(areas)
    typical = areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]  # half of the area lies in larger ones
    across = 2 * np.sqrt(float(typical) * voxel_nm[1] * voxel_nm[2] / np.pi)
    if voxel_nm[0] >= across:
        return True
    near = _overlap(mask, 1)
    chance = max(_overlap(mask, max(2, len(mask) // 2)), _at_random(mask))
    return near < CONTINUED and near <= CHANCE * chance


def _overlap(mask: np.ndarray, lag: int) -> float:
    """Share of the smaller area that two sections so far apart have in common, over all pairs; 0 without a pair."""
    area = mask.sum(axis=(1, 2))
    smaller = np.minimum(area[:-lag], area[lag:]).sum() if lag < len(mask) else 0
    both = sum(int((a & b).sum()) for a, b in zip(mask[:-lag], mask[lag:], strict=True)) if smaller else 0
    return float(both / smaller) if smaller else 0.0


def _at_random(mask: np.ndarray) -> float:
    """The same share for neighbouring sections as expected of masks of these areas that know nothing of each other."""
    area = mask.sum(axis=(1, 2)).astype(float)
    smaller = np.minimum(area[:-1], area[1:]).sum()
    return float((area[:-1] * area[1:]).sum() / mask[0].size / smaller) if smaller else 0.0


def _by_section(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Connected parts of each section, numbered from 1 throughout, and their areas in voxels (n,)."""
    ids = np.zeros(mask.shape, np.uint32)
    areas, count = [np.empty(0, int)], 0
    for z, plane in enumerate(mask):
        parts, n = cc3d.connected_components(plane, connectivity=8, return_N=True)
        ids[z] = np.where(plane, parts.astype(np.uint32) + count, 0)
        areas.append(np.bincount(parts.ravel(), minlength=n + 1)[1:])
        count += n
    return ids, np.concatenate(areas)

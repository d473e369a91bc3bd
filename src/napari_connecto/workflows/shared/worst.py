"""The worst regions of a map: boxes of the largest mean, without overlap."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.ndimage import uniform_filter

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.volume import Level, Volume

LOOKED_AT = 2**24
"""Largest level, in voxels, in which regions are searched."""


def looked_at(volume: Volume) -> int:
    """The finest level small enough to read at once."""
    return next((k for k, lv in enumerate(volume.levels) if lv.box.size <= LOOKED_AT), len(volume.levels) - 1)


def worst_boxes(shown: np.ndarray, level: Level, n: int, size_nm: float) -> list[Box]:
    """Boxes of the largest mean, inside the level, worst first.

    Parameters
    ----------
    shown
        (z, y, x) values of all of the level; regions of mean 0 or below are left out.
    level
        Their grid.
    n, size_nm
        Number of regions, and side of one.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    if n < 1 or size_nm <= 0:
        raise InputError(f"got n={n}, size_nm={size_nm:g}; both must be above 0")
    side = [int(np.clip(size_nm / v, 1, s)) for v, s in zip(level.voxel_nm, level.shape, strict=True)]
    mean = uniform_filter(shown, side, mode="nearest")
    inside = tuple(slice(s // 2, m - (s - 1) // 2) for s, m in zip(side, level.shape, strict=True))
    score = np.zeros_like(mean)
    score[inside] = mean[inside]
    return list(_peaks(score, side, n))


def _peaks(score: np.ndarray, side: list[int], n: int) -> Iterator[Box]:
    """Boxes of this side around the highest scores, without overlap."""
    score = score.copy()
    for _ in range(n):
        at = np.unravel_index(int(score.argmax()), score.shape)
        if score[at] <= 0:
            return
        start = [int(a) - s // 2 for a, s in zip(at, side, strict=True)]
        yield Box(vec3(start), vec3([a + s for a, s in zip(start, side, strict=True)]))
        around = tuple(slice(max(0, int(a) - s + 1), int(a) + s) for a, s in zip(at, side, strict=True))
        score[around] = 0

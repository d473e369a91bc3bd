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
BORDER_NM = 100.0
"""Usual rim without regions: models see too little context there, and membranes end."""
ROOM = 0.6
"""Spread regions are this share of the side of a cube that each would have to itself."""


def looked_at(volume: Volume) -> int:
    """The finest level small enough to read at once."""
    return next((k for k, lv in enumerate(volume.levels) if lv.box.size <= LOOKED_AT), len(volume.levels) - 1)


def worst_boxes(
    shown: np.ndarray, level: Level, n: int, size_nm: float, *, border_nm: float = 0.0, spread: bool = False
) -> list[Box]:
    """Boxes of the largest mean, inside the level, worst first.

    Parameters
    ----------
    shown
        (z, y, x) values of all of the level; regions of mean 0 or below are left out.
    level
        Their grid.
    n, size_nm
        Number of regions, and side of one.
    border_nm
        Width of the rim in which no region lies, but at most a tenth of the level's extent along each axis.
    spread
        Keep centres farther apart than the side where there is room, so that the regions differ.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    if n < 1 or size_nm <= 0:
        raise InputError(f"got n={n}, size_nm={size_nm:g}; both must be above 0")
    side = [int(np.clip(size_nm / v, 1, s)) for v, s in zip(level.voxel_nm, level.shape, strict=True)]
    rim = [
        min(int(border_nm / v), s // 10, (s - k) // 2)
        for v, s, k in zip(level.voxel_nm, level.shape, side, strict=True)
    ]
    mean = uniform_filter(shown, side, mode="nearest")
    inside = tuple(slice(s // 2 + r, m - (s - 1) // 2 - r) for s, m, r in zip(side, level.shape, rim, strict=True))
    score = np.zeros_like(mean)
    score[inside] = mean[inside]
    return list(_peaks(score, side, n, _far(level, side, n) if spread else side))


def _far(level: Level, side: list[int], n: int) -> list[int]:
    """Distance of centres along each axis at which ``n`` regions still fit easily, at least the side."""
    extent = np.multiply(level.shape, level.voxel_nm)
    reach = ROOM * float(np.cbrt(np.prod(extent) / n))
    return [max(k, int(reach / v)) for k, v in zip(side, level.voxel_nm, strict=True)]


def _peaks(score: np.ndarray, side: list[int], n: int, apart: list[int]) -> Iterator[Box]:
    """Boxes of this side around the highest scores: first those ``apart``, then, if too few, those without overlap."""
    found: list[tuple[int, ...]] = []
    for distance in [apart] if apart == side else [apart, side]:
        left = score.copy()
        for at in found:
            left[_around(at, distance)] = 0
        while len(found) < n:
            at = tuple(int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
            if left[at] <= 0:
                break
            found.append(at)
            left[_around(at, distance)] = 0
    for at in sorted(found, key=lambda at: -score[at]):
        start = [a - s // 2 for a, s in zip(at, side, strict=True)]
        yield Box(vec3(start), vec3([a + s for a, s in zip(start, side, strict=True)]))


def _around(at: tuple[int, ...], distance: list[int]) -> tuple[slice, ...]:
    return tuple(slice(max(0, a - d + 1), a + d) for a, d in zip(at, distance, strict=True))

"""A level resampled to another voxel size: computed when read, identical for every tiling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.geometry import Box, FVec3, Vec3, vec3
from napari_connecto.core.views.pedestal import narrow, wide
from napari_connecto.core.volume import Level

SAME = 0.02
"""Relative difference of voxel sizes below which an axis is not resampled."""


def resampled(level: Level, voxel_nm: FVec3) -> Level:
    """``level`` at another voxel size, lazily.

    Parameters
    ----------
    level
        (z, y, x) or (c, z, y, x), an image (not labels).
    voxel_nm
        Wanted, nm, (z, y, x); axes within 2 % of what is there stay as they are.

    Returns
    -------
    Level
        float32 (float64 where that would round the stored values), from the same corner on; the last voxel of an axis
        may stick out by less than half its size. The level itself where no axis changes.

    Notes
    -----
    Separable linear interpolation between voxel centres; towards larger voxels the kernel is a triangle as wide as the
    new voxel on each side, which prevents aliasing (like ``antialias`` in Pillow and torch). A voxel depends on its
    position alone, never on the box it is read in.
    """
    ratio = [new / old for new, old in zip(voxel_nm, level.voxel_nm, strict=True)]
    steps = [1.0 if abs(r - 1) < SAME else r for r in ratio]
    if all(s == 1.0 for s in steps):
        return level
    shape = vec3([max(1, round(n / s)) for n, s in zip(level.shape, steps, strict=True)])
    if max(r if n > 1 else 1.0 for r, n in zip(steps, level.shape, strict=True)) > 64:
        raise VoxelSizeError(
            f"got voxels of {level.voxel_nm} nm, wanted {tuple(voxel_nm)} nm: more than 64 times as large; "
            "check the voxel size (it is in nm, not in um)"
        )
    lead = () if level.channels is None else (level.channels,)
    z, y, x = (v * s for v, s in zip(level.voxel_nm, steps, strict=True))
    array = _Resampled(level, (steps[0], steps[1], steps[2]), (*lead, *shape))
    return Level(array, (z, y, x), level.origin_nm)


def stored_part(level: Level, box: Box) -> tuple[Level, Box]:
    """The part of a stored level behind a box of a resampled one; of a stored level the box itself."""
    if not isinstance(level.array, _Resampled):
        return level, box
    source = level.array.level
    return source, level.box_in(box, source).clip(source.shape)


@dataclass(frozen=True)
class _Resampled:
    """The array of a resampled level; indexed by slices of step 1 only."""

    level: Level
    steps: FVec3
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """float32 if it holds the stored values, else float64."""
        return np.dtype(np.float32 if narrow(self.level.dtype) else np.float64)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Chunks of the source, in voxels of this level, along which to split reads."""
        chunks = getattr(self.level.array, "chunks", None) or self.level.array.shape
        spatial = [max(1, int(c / s)) for c, s in zip(chunks[-3:], self.steps, strict=True)]
        return (*(1 for _ in self.shape[:-3]), *spatial)

    def __getitem__(self, key: Any) -> np.ndarray:
        wanted = [s for s in key if s is not Ellipsis][-3:]
        lead = tuple(s for s in key if s is not Ellipsis)[:-3]
        box = Box(vec3([s.start or 0 for s in wanted]), _stop(wanted, self.shape))
        rows = [
            _weights(a, b, s, n) for a, b, s, n in zip(box.start, box.stop, self.steps, self.level.shape, strict=True)
        ]
        source = Box(vec3([first for first, _ in rows]), vec3([first + w.shape[1] for first, w in rows]))
        block = wide(self.level.read(source)[lead])
        for axis, (step, (_, weights)) in enumerate(zip(self.steps, rows, strict=True)):
            if step != 1.0:
                block = _along(block, weights.astype(block.dtype), axis - 3)
        return block


def _stop(wanted: list[slice], shape: tuple[int, ...]) -> Vec3:
    return vec3([n if s.stop is None else min(s.stop, n) for s, n in zip(wanted, shape[-3:], strict=True)])


def _weights(start: int, stop: int, step: float, size: int) -> tuple[int, np.ndarray]:
    """First source voxel, and (wanted, source) weights that sum to 1 in each row; edge voxels are repeated outside."""
    if step == 1.0:
        return start, np.eye(stop - start)
    reach = max(1.0, step)
    centre = (np.arange(start, stop) + 0.5) * step - 0.5
    first, last = int(np.floor(centre[0] - reach)), int(np.ceil(centre[-1] + reach))
    places = np.arange(first, last + 1)
    raw = np.maximum(0.0, 1.0 - np.abs(places[None] - centre[:, None]) / reach)
    raw /= raw.sum(axis=1, keepdims=True)
    low, high = min(max(first, 0), size - 1), min(max(last, 0), size - 1)
    weights = np.zeros((stop - start, high - low + 1))
    for column, place in enumerate(np.clip(places, 0, size - 1) - low):
        weights[:, place] += raw[:, column]
    return low, weights


def _along(block: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Resample one axis, with the same sums wherever the box is."""
    return np.moveaxis(np.tensordot(weights, block, axes=(1, axis)), 0, axis)

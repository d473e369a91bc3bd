"""A level resampled on another grid (nearest voxel) or cropped, computed when read."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, fvec3
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Level, Volume


def on_grid(level: Level, grid: Level) -> Level:
    """A level's values at the voxel centres of another level; 0 outside.

    Parameters
    ----------
    level
        (z, y, x), any type.
    grid
        Gives shape and position.
    """
    return replace(grid, array=_OnGrid(level, grid.voxel_nm, grid.origin_nm, grid.shape))


def placed_on(values: Volume | np.ndarray, image: Volume, level: Level, what: str = "labels") -> Level:
    """Labels, or a map, on the grid that a model reads; nothing is read.

    Parameters
    ----------
    values
        A volume with a voxel size is taken at its place. An array, or a volume without one, has the voxels of the
        image's finest level, or of ``level``; one section may be (y, x).
    image, level
        The image, and the level of it that the model reads.
    what
        Their name in errors.

    Raises
    ------
    InputError
        If there is no voxel size and the shape is another.
    """
    if isinstance(values, Volume) and values.calibrated:
        return on_grid(values.levels[0], level)
    array: Any = values.levels[0].array if isinstance(values, Volume) else np.asarray(values)
    shape, finest = tuple(array.shape), image.levels[0]
    array = array[None] if len(shape) == 2 else array
    for grid in (finest, level):
        if tuple(array.shape) == grid.shape:
            return on_grid(Level(array, grid.voxel_nm, grid.origin_nm), level)
    raise InputError(
        f"got {what} of shape {shape} without a voxel size for '{image.name}' of {finest.shape}; give both the same "
        f"shape, or the {what} a voxel size"
    )


def part_of(level: Level, box: Box) -> Level:
    """The voxels of a box of a level, at their position in the world; read lazily, in the level's chunks."""
    return Level(_Part(level.array, box), level.voxel_nm, fvec3(level.to_nm(box.start).tolist()))


def kept_where(labels: Volume, mask: Volume) -> Volume:
    """Labels of all levels where a mask, on a grid of its own, is not 0; 0 (not labelled) elsewhere.

    Labels of a region, or of a model with other voxels, are not on the translation's grid: each level is masked by the
    level of the mask with the nearest voxel size.
    """
    levels = []
    for level in labels.levels:
        away = [float(np.abs(np.log(np.divide(m.voxel_nm, level.voxel_nm))).max()) for m in mask.levels]
        levels.append(replace(level, array=_Kept(level.array, on_grid(mask.levels[int(np.argmin(away))], level).array)))
    return replace(labels, levels=tuple(levels), source="")


@dataclass(frozen=True)
class _Part(ChunkWise):
    """Sliced as ``array[..., z, y, x]`` with step 1."""

    box: Box

    @property
    def shape(self) -> tuple[int, ...]:
        return self.box.shape

    def __getitem__(self, key: Any) -> np.ndarray:
        whole = (slice(k.start + a, k.stop + a) for k, a in zip(key[-3:], self.box.start, strict=True))
        return np.asarray(self.array[(..., *whole)])


@dataclass(frozen=True)
class _OnGrid:
    """Indexed by integers and slices."""

    level: Level
    voxel_nm: FVec3
    origin_nm: FVec3
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        return self.level.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        places = _all_axes(key)
        here = [np.atleast_1d(np.arange(n)[k]) for n, k in zip(self.shape, places, strict=True)]
        there = [
            np.floor(((i + 0.5) * v + o - lo) / lv).astype(np.int64)
            for i, v, o, lo, lv in zip(
                here, self.voxel_nm, self.origin_nm, self.level.origin_nm, self.level.voxel_nm, strict=True
            )
        ]
        inside = [(t >= 0) & (t < n) for t, n in zip(there, self.level.shape, strict=True)]
        out = np.zeros([len(i) for i in here], self.dtype)
        if all(i.any() for i in inside):
            picked = [t[i] for t, i in zip(there, inside, strict=True)]
            corner = tuple(slice(int(p.min()), int(p.max()) + 1) for p in picked)
            block = np.asarray(self.level.array[corner])
            out[np.ix_(*inside)] = block[np.ix_(*[p - p.min() for p in picked])]
        return out[tuple(0 if isinstance(k, int | np.integer) else slice(None) for k in places)]


def _all_axes(key: Any) -> list[Any]:
    """An index, or several, as one per axis."""
    key = key if isinstance(key, tuple) else (key,)
    given = [k for k in key if k is not Ellipsis]
    at = next((i for i, k in enumerate(key) if k is Ellipsis), len(given))
    return [*given[:at], *[slice(None)] * (3 - len(given)), *given[at:]]


@dataclass(frozen=True)
class _Kept(ChunkWise):
    mask: Any

    def __getitem__(self, key: Any) -> np.ndarray:
        labels = np.asarray(self.array[key])
        return np.where(np.asarray(self.mask[key]) > 0, labels, labels.dtype.type(0))

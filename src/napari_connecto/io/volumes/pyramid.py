"""Levels of a pyramid: which axes to halve, to what shape, and how voxels are averaged."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod, sqrt
from typing import Any

import numpy as np

from napari_connecto.core.geometry import FVec3, Vec3, vec3
from napari_connecto.core.views.pedestal import above, narrow, plain, raised
from napari_connecto.core.volume import Kind


@dataclass(frozen=True)
class Grid:
    """Geometry of one level; ``factor`` counts voxels of the level before it per voxel of this one."""

    shape: Vec3
    voxel_nm: FVec3
    origin_nm: FVec3 = (0.0, 0.0, 0.0)
    factor: Vec3 = (1, 1, 1)

    def coarser(self, factor: Vec3) -> Grid:
        """The next level; its voxel 0 starts at the same corner."""
        z, y, x = (v * f for v, f in zip(self.voxel_nm, factor, strict=True))
        shape = vec3([-(-n // f) for n, f in zip(self.shape, factor, strict=True)])
        return Grid(shape, (z, y, x), self.origin_nm, factor)


def halving(shape: Sequence[int], voxel_nm: Sequence[float]) -> Vec3:
    """Factors 1 or 2 of the next level: the finer axes alone until voxels are as isotropic as they get, then all.

    An axis is finer when its voxels are smaller than the largest by more than sqrt(2). Axes of one voxel do not count.
    """
    largest = max((v for n, v in zip(shape, voxel_nm, strict=True) if n > 1), default=0.0)
    finer = [n > 1 and v <= largest / sqrt(2) * (1 + 1e-9) for n, v in zip(shape, voxel_nm, strict=True)]
    if not any(finer):
        finer = [n > 1 for n in shape]
    return vec3([2 if f else 1 for f in finer])


def grids(first: Grid, levels: int | None = None, until: int = 64) -> list[Grid]:
    """The pyramid over ``first``: ``levels`` in all, or as many as bring every axis to ``until`` voxels or fewer."""
    found = [first]
    while len(found) < levels if levels is not None else max(found[-1].shape) > until:
        factor = halving(found[-1].shape, found[-1].voxel_nm)
        if factor == (1, 1, 1):
            break
        found.append(found[-1].coarser(factor))
    return found


def downsample(block: np.ndarray, factor: Vec3, kind: Kind) -> np.ndarray:
    """Merge ``factor`` voxels into one: images by mean, labels by mode.

    Parameters
    ----------
    block
        (..., z, y, x), starting on a multiple of ``factor``. Cells cut by its far border merge what they have.
    factor
        Voxels of ``block`` per merged voxel, (z, y, x).
    kind
        The mean of integers is rounded to the nearest; a tie between labels goes to the smallest, as in scipy.

    Returns
    -------
    numpy.ndarray
        (..., ceil(z / fz), ceil(y / fy), ceil(x / fx)), same dtype.
    """
    if factor == (1, 1, 1):
        return block
    merge: Callable[[np.ndarray, Vec3], np.ndarray] = _mode if kind == "labels" or block.dtype.kind == "b" else _mean
    return merge(block, factor)


def _members(block: np.ndarray, factor: Vec3) -> list[np.ndarray]:
    """For each place in a cell, the voxels at that place (fewer at the far border)."""
    return [
        block[_spatial(slice(a, None, f) for a, f in zip(at, factor, strict=True))]
        for at in product(*(range(f) for f in factor))
    ]


def _spatial(slices: Iterable[slice]) -> Any:
    """Index of the last axes, whatever comes before them."""
    return (..., *slices)


def _cells(block: np.ndarray, factor: Vec3) -> tuple[int, ...]:
    spatial = [-(-n // f) for n, f in zip(block.shape[-3:], factor, strict=True)]
    return (*block.shape[:-3], *spatial)


def _mean(block: np.ndarray, factor: Vec3) -> np.ndarray:
    long = block.dtype.kind in "iu" and block.dtype.itemsize == 8
    base = plain(block.min()) if long else 0
    exact = narrow(block.dtype) and prod(factor) <= 256
    total = np.zeros(_cells(block, factor), np.float32 if exact or block.dtype == np.float16 else np.float64)
    count = np.zeros(total.shape[-3:], np.float32)
    for member in _members(block, factor):
        part = _spatial(slice(0, n) for n in member.shape[-3:])
        total[part] += above(member, base) if long else member
        count[part] += 1
    total /= count
    if block.dtype.kind not in "iu":
        return total.astype(block.dtype)
    np.rint(total, out=total)
    return raised(total, base, block.dtype) if long else total.astype(block.dtype)


def _mode(block: np.ndarray, factor: Vec3) -> np.ndarray:
    """The commonest member of a cell; of equally common ones the smallest."""
    members = _members(block, factor)
    shape = _cells(block, factor)
    values = np.zeros((len(members), *shape), block.dtype)
    known = np.zeros((len(members), *shape), bool)
    for i, member in enumerate(members):
        part = _spatial(slice(0, n) for n in member.shape[-3:])
        values[i][part], known[i][part] = member, True
    best = values[0].copy()
    mixed = ((values != best) | ~known).any(axis=0)  # elsewhere, which is nearly everywhere, all members agree
    best[mixed] = _commonest(values[:, mixed], known[:, mixed])
    return best


def _commonest(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Of each column (members, cells) the commonest known value, of equally common ones the smallest."""
    best = np.zeros(values.shape[1], values.dtype)
    most = np.zeros(values.shape[1], np.int16)
    for i in range(len(values)):
        votes = ((values == values[i]) & known).sum(axis=0, dtype=np.int16)
        votes[~known[i]] = 0
        wins = (votes > most) | ((votes == most) & (values[i] < best))
        best[wins], most[wins] = values[i][wins], votes[wins]
    return best

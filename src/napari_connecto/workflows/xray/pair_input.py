"""Input of an alignment: the levels to use, the parts that may overlap, and the checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.device import free_memory
from napari_connecto.workflows.xray.align import Masked
from napari_connecto.workflows.xray.params import PairParams

BYTES = 32
"""Memory per voxel of either volume: 29 measured, uint8, plus a margin."""


def levels_of(xray: Volume, em: Volume, params: PairParams) -> tuple[Level, Level]:
    """Of the X-ray the finest level that is no finer than the EM's; of the EM the requested one."""
    for volume, word in ((xray, "X-ray"), (em, "EM")):
        if not volume.calibrated:
            raise VoxelSizeError(f"'{volume.name}' states no voxel size; give it in nm (voxel_nm=)")
        if volume.levels[0].channels is not None:
            count = volume.levels[0].channels
            raise InputError(f"'{volume.name}' has {count} channels; open the one that is the {word} (channel=)")
    if voxel_nm3(xray.levels[0]) < 0.98 * voxel_nm3(em.levels[0]):
        raise VoxelSizeError(
            f"got X-ray voxels of {times(xray.levels[0].voxel_nm)} nm, finer than the EM's "
            f"{times(em.levels[0].voxel_nm)} nm; check both voxel sizes, or whether the volumes are swapped"
        )
    level = em.levels[0] if params.voxel_nm is None else em.level_at(params.voxel_nm)
    coarser = [x for x in xray.levels if voxel_nm3(x) >= 0.98 * voxel_nm3(level)]
    return (coarser[0] if coarser else xray.levels[-1]), level


def parts_of(xray: Level, em: Level, params: PairParams, names: tuple[str, str]) -> tuple[Level, Masked]:
    """The parts of both that may overlap; EM in its own type."""
    low, high = (em.to_nm(at) for at in ((0, 0, 0), em.shape))
    start, stop = (xray.to_nm(at) for at in ((0, 0, 0), xray.shape))
    gap = float(np.max(np.maximum(low - stop, start - high)))
    if gap >= 0:
        raise InputError(
            f"'{names[0]}' spans z y x {_span(start, stop)} nm, '{names[1]}' {_span(low, high)} nm: they are {gap:.0f} "
            "nm apart; correct the origin or the voxel size of one"
        )
    reach = params.largest_shift_nm
    own = em.box.clip(_around(em, start - reach, stop + reach))
    there = xray.box.clip(_around(xray, low - reach, high + reach))
    need, free = (own.size + there.size) * BYTES, free_memory()
    if need > free:
        raise InputError(
            f"aligning {own.shape} voxels takes {need / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free; choose a "
            "coarser level of the EM (voxel_nm) or a smaller part"
        )
    still, other = part(em, own), part(xray, there)
    moving = Masked.of(other)
    for name, bad in ((names[0], ~moving.valid), (names[1], ~np.isfinite(still.array))):
        if bad.mean() > params.most_bad:
            raise InputError(
                f"'{name}' has no finite value in {percent(bad.mean())} of its voxels, more than the allowed "
                f"{percent(params.most_bad)}; repair it or choose another part"
            )
    return still, moving


def _around(level: Level, start: np.ndarray, stop: np.ndarray) -> Box:
    low, high = np.floor(level.to_voxels(start)), np.ceil(level.to_voxels(stop))
    return Box(vec3(low.tolist()), vec3(high.tolist()))


def part(level: Level, box: Box) -> Level:
    """``box`` of a level, in memory, at its position."""
    z, y, x = (float(v) for v in level.to_nm(box.start))
    return Level(level.read(box), level.voxel_nm, (z, y, x))


def as_coarse(fixed: Masked, voxel_nm: FVec3) -> Masked:
    """The EM in voxels no smaller than the X-ray's: finer structure cannot be compared."""
    z, y, x = (max(own, other) for own, other in zip(fixed.level.voxel_nm, voxel_nm, strict=True))
    seen = resampled(fixed.level, (z, y, x))
    share = resampled(replace(fixed.level, array=fixed.valid.astype(np.float32)), (z, y, x))
    return Masked(replace(seen, array=seen.read(seen.box)), share.read(share.box) > 0.5)


def voxel_nm3(level: Level) -> float:
    """Volume of a voxel."""
    return float(np.prod(level.voxel_nm))


def times(values: Sequence[float]) -> str:
    """As "30 x 10 x 10"."""
    return " x ".join(f"{v:g}" for v in values)


def _span(start: np.ndarray, stop: np.ndarray) -> str:
    return ", ".join(f"{a:.0f} to {b:.0f}" for a, b in zip(start, stop, strict=True))


def bridged(level: Level) -> tuple[Level, np.ndarray]:
    """A level in memory whose missing sections are interpolated between their neighbours, and which those are.

    Missing is a section of one value, as is stored where a section was lost; neighbours alike are not. At the ends
    of the volume the nearest section is repeated.

    Returns
    -------
    level, missing
        The same level where nothing is missing, or everything; (z,) bool.
    """
    values = np.asarray(level.array)
    low, high = values.min(axis=(1, 2)), values.max(axis=(1, 2))
    missing = low == high
    there = np.flatnonzero(~missing)
    if not missing.any() or not len(there):
        return level, np.zeros(len(values), bool)
    filled = values.astype(np.float32)
    for z in np.flatnonzero(missing):
        after = int(np.searchsorted(there, z))
        a, b = there[max(0, after - 1)], there[min(after, len(there) - 1)]
        share = 0.0 if a == b else (z - a) / (b - a)
        filled[z] = (1 - share) * filled[a] + share * filled[b]
    return replace(level, array=filled), missing

"""Align an X-ray and an EM volume of the same tissue on one grid, with the quality of the alignment; see `align`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_connecto.core.amounts import change, percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.xray.align import (
    BlockShift,
    Masked,
    block_shifts,
    coarse_shift,
    correlation,
    fitted,
    sampled,
    shifted,
)
from napari_connecto.workflows.xray.pair_input import as_coarse, bridged, levels_of, part, parts_of, times, voxel_nm3
from napari_connecto.workflows.xray.params import PairParams

ROUNDS = 5
"""Rounds of matching blocks and refining the map."""
LEAST_CHANCE = 6.0
"""Smallest ratio of the correlation to chance: the best of some thousand shifts of unrelated images reaches 4."""


@shown
@dataclass(frozen=True)
class Pair:
    """Both volumes on one grid.

    Parameters
    ----------
    xray, em
        Of one shape, voxel size and origin, in memory; the X-ray volume is a float, resampled linearly by `affine`.
    valid
        (z, y, x) bool: inside both volumes, and finite in both.
    affine
        (4, 4), from X-ray world to EM world, nm, (z, y, x, 1).
    shift_nm
        (z, y, x): displacement of the grid's centre by `affine`.
    residual_nm
        (n, 3): the local shifts that remain, of each block with structure.
    blocks
        Those n blocks, voxels of the grid.
    correlation, chance
        Of the band-passed images after alignment, negative if contrast is inverted; and its chance level, see
        `align.correlation`.
    """

    xray: Level
    em: Level
    valid: np.ndarray
    affine: np.ndarray
    shift_nm: FVec3
    residual_nm: np.ndarray
    blocks: tuple[Box, ...]
    correlation: float
    chance: float

    @property
    def off_nm(self) -> np.ndarray:
        """(n,): length of each block's residual."""
        return np.linalg.norm(self.residual_nm, axis=1)

    def lines(self) -> Iterator[str]:
        """The alignment in words, one sentence per line."""
        off, stretch = self.off_nm, np.linalg.svd(self.affine[:3, :3], compute_uv=False)
        size = f"{times(self.em.shape)} voxels of {times(self.em.voxel_nm)} nm"
        yield f"common grid: {size}, {percent(self.valid.mean(), 1)} valid"
        least, most = (change(end - 1, 2) for end in (stretch.min(), stretch.max()))
        yield (
            f"X-ray moved by z y x {', '.join(f'{v:.1f}' for v in self.shift_nm)} nm, turned by "
            f"{_angle(self.affine):.2f} degrees, stretched by {least} to {most}"
        )
        yield (
            f"residual in {len(off)} blocks: median {np.median(off):.1f} nm, 90 % below "
            f"{np.percentile(off, 90):.1f} nm, at most {off.max():.1f} nm"
        )
        times_chance = abs(self.correlation) / self.chance
        yield (
            f"correlation of structure {self.correlation:.2f}, {times_chance:.0f} times the chance level"
            f"{'; contrast is inverted' if self.correlation < 0 else ''}"
        )


def pair_volumes(xray: Volume, em: Volume, params: PairParams | None = None) -> Pair:
    """Align an X-ray volume with an EM volume of the same tissue.

    First by their origins, then by one shift, then by an affine map fitted to the shifts of blocks. Sections of the EM
    that are missing (of one value) are interpolated for that, and are not ``valid``.

    Parameters
    ----------
    xray, em
        (z, y, x) with voxel sizes and approximately correct origins in one world. The X-ray's voxels are the larger
        ones. Contrast may be inverted.
    params
        Largest shift, block size and more, see `PairParams`.

    Returns
    -------
    Pair
        ``xray`` and ``em`` on one grid, ``valid`` (where both have data), ``affine`` (4, 4) from X-ray to EM world in
        nm, (z, y, x, 1), ``residual_nm`` (n, 3), ``correlation``; ``lines()`` are sentences.

    Raises
    ------
    VoxelSizeError
        If a voxel size is not stated, or the X-ray's is the smaller one.
    InputError
        If a volume has channels or too few finite values, they overlap too little, or they cannot be aligned; the
        message says how far off they are.

    Examples
    --------
    >>> em = nc.open_sample("xray", "em").levels[0]
    >>> em = nc.Volume.from_array(em.read(nc.Box((0, 0, 0), (96, 96, 96))), em.voxel_nm)
    >>> pair = nc.pair_volumes(nc.simulate_xray(em), em, nc.PairParams(block_nm=500))
    >>> pair.xray.shape == pair.em.shape, float(np.abs(pair.shift_nm).max()) < 5
    (True, True)
    """
    return run(pair_volumes_job(xray, em, params))


def pair_volumes_job(xray: Volume, em: Volume, params: PairParams | None = None) -> Job[Pair]:
    """`pair_volumes` as a job: stages "reading", "shift", "blocks" and "resampling"."""
    params = params or PairParams()
    yield Progress(0, 0, "reading")
    seen, level = levels_of(xray, em, params)
    still, moving = parts_of(seen, level, params, (xray.name, em.name))
    whole_em, missing = bridged(still)
    fixed = Masked.of(whole_em)
    rough = as_coarse(fixed, moving.level.voxel_nm)
    yield Progress(0, 0, "shift")
    affine = shifted(coarse_shift(rough, moving, params.largest_shift_nm))
    for k in range(ROUNDS):
        yield Progress(k, ROUNDS, "blocks")
        affine = fitted(_blocks(rough, moving, affine, params), rough.level.voxel_nm, params.affine) @ affine
    yield Progress(ROUNDS, ROUNDS, "resampling")
    blocks = _blocks(rough, moving, affine, params)
    alike, chance = correlation(rough, sampled(moving, rough.level, affine))
    whole = sampled(moving, still, affine)
    pair = _cropped(
        Pair(
            xray=whole.level,
            em=still,
            valid=whole.valid & fixed.valid & ~missing[:, None, None],
            affine=affine,
            shift_nm=_shift(affine, still),
            residual_nm=np.array([b.shift_nm for b in blocks]),
            blocks=tuple(rough.level.box_in(b.box, still).clip(still.shape) for b in blocks),
            correlation=alike,
            chance=chance,
        )
    )
    _judge(pair, seen, level, params, (xray.name, em.name))
    return pair


def _blocks(rough: Masked, moving: Masked, affine: np.ndarray, params: PairParams) -> list[BlockShift]:
    found = block_shifts(rough, sampled(moving, rough.level, affine), params.block_nm)
    if not found:
        raise InputError(
            f"cannot align: after a shift of {np.abs(affine[:3, 3]).max():.0f} nm, no block of {params.block_nm:g} nm "
            "is in both volumes; check that both show the same tissue, or use smaller blocks (block_nm)"
        )
    return found


def _shift(affine: np.ndarray, level: Level) -> FVec3:
    centre = np.append(level.to_nm(level.box.centre), 1.0)
    z, y, x = (float(v) for v in (centre - np.linalg.inv(affine) @ centre)[:3])
    return (z, y, x)


def _cropped(pair: Pair) -> Pair:
    """Crop to the smallest box that holds all valid voxels."""
    if not pair.valid.any():
        return pair
    sides = [np.flatnonzero(pair.valid.any(axis=tuple(b for b in range(3) if b != a))) for a in range(3)]
    box = Box(vec3([int(s[0]) for s in sides]), vec3([int(s[-1]) + 1 for s in sides]))
    away = [-a for a in box.start]
    return replace(
        pair,
        xray=part(pair.xray, box),
        em=part(pair.em, box),
        valid=pair.valid[box.slices],
        blocks=tuple(b.shift(away).clip(box.shape) for b in pair.blocks),
    )


def _judge(pair: Pair, xray: Level, em: Level, params: PairParams, names: tuple[str, str]) -> None:
    """Refuse volumes that are not a pair; the levels are uncropped."""
    off, allowed = float(np.median(pair.off_nm)), params.most_residual_nm or max(xray.voxel_nm)
    moved, clear = float(np.abs(pair.shift_nm).max()), abs(pair.correlation) / pair.chance
    if off > allowed or moved > params.largest_shift_nm or clear < LEAST_CHANCE:
        raise InputError(
            f"cannot align '{names[0]}' to '{names[1]}': shift {moved:.0f} nm (allowed {params.largest_shift_nm:g}), "
            f"median residual of blocks {off:.0f} nm (allowed {allowed:g}), "
            f"correlation {clear:.1f} times the chance level (needed {LEAST_CHANCE:g}); check that both show "
            "the same tissue, their voxel sizes and positions"
        )
    smaller = min(voxel_nm3(level) * level.box.size for level in (xray, em))
    share = float(pair.valid.sum()) * voxel_nm3(pair.em) / smaller
    if share < params.least_overlap:
        raise InputError(
            f"'{names[0]}' and '{names[1]}' share {percent(share, 1)} of the smaller one, at least "
            f"{percent(params.least_overlap)} are needed; give volumes that overlap more"
        )


def _angle(affine: np.ndarray) -> float:
    """Its rotation in degrees, from the polar decomposition."""
    u, _, v = np.linalg.svd(affine[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(u @ v) - 1) / 2, -1, 1))))

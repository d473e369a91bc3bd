"""Align two volumes of the same tissue: first a global shift, then an affine map from the shifts of blocks.

Contrast may differ, also in sign: band-passed images are compared, and correlations count by their magnitude. Block
matching is Ourselin et al.'s (Image Vis. Comput. 19, 25 (2001)). Affine maps are 4 x 4 matrices on world positions in
nm, (z, y, x, 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from scipy import ndimage
from scipy.fft import rfftn
from scipy.optimize import least_squares
from skimage.registration import phase_cross_correlation

from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.core.views.pedestal import wide
from napari_connecto.core.volume import Level

BAND = (1.0, 6.0)
"""Standard deviations of the difference of Gaussians, in voxels of the compared grid."""
COARSE = 2**18
"""Largest grid for the first shift, voxels."""
MOST_BLOCKS = 8
"""Along each axis."""
LEAST_VALID, LEAST_STRUCTURE = 0.7, 0.3
"""Smallest valid share of a block, and its smallest contrast relative to the median block's."""
UPSAMPLING = 30
"""Steps per voxel of a block's shift."""
BEND = 0.05
"""Expected standard deviation of the affine map's terms; larger values from few blocks are taken as noise."""


@dataclass(frozen=True)
class Masked:
    """A level in memory, float32 (float64 if that would round), and its valid voxels (z, y, x)."""

    level: Level
    valid: np.ndarray

    @classmethod
    def of(cls, level: Level) -> Masked:
        """Voxels that are not finite are invalid, and get the median of the others."""
        values = wide(np.asarray(level.array))
        finite = np.isfinite(values)
        if not finite.all():
            values = np.where(finite, values, np.median(values[finite]) if finite.any() else 0)
        return cls(replace(level, array=values), finite)


@dataclass(frozen=True)
class BlockShift:
    """Displacement of a block of the moved volume: ``shift_nm`` (z, y, x) must be added."""

    box: Box
    centre_nm: np.ndarray
    shift_nm: np.ndarray
    correlation: float


def grid(start_nm: np.ndarray, stop_nm: np.ndarray, voxel_nm: FVec3) -> Level:
    """A level without values, only geometry: from one corner on, at least one voxel, within the other level."""
    shape = vec3([max(1, round(float(n))) for n in (stop_nm - start_nm) / voxel_nm])
    z, y, x = (float(v) for v in start_nm)
    return Level(np.broadcast_to(np.float32(0), shape), voxel_nm, (z, y, x))


def sampled(moving: Masked, onto: Level, affine: np.ndarray) -> Masked:
    """``moving`` on another grid, linearly between voxel centres; valid where it is, up to the border of its voxels.

    Parameters
    ----------
    moving, onto
        The level to resample, and the grid.
    affine
        (4, 4), from the world of ``moving`` to that of ``onto``, nm.
    """
    source, back = moving.level, np.linalg.inv(affine)
    matrix = back[:3, :3] * np.array(onto.voxel_nm) / np.array(source.voxel_nm)[:, None]
    first = source.to_voxels(back[:3, :3] @ onto.to_nm((0.5, 0.5, 0.5)) + back[:3, 3]) - 0.5
    shape, options = onto.shape, {"order": 1, "mode": "nearest"}
    values = ndimage.affine_transform(source.array, matrix, first, shape, output=source.array.dtype, **options)
    valid = np.ones(shape, bool)
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    for row, at, size in zip(matrix, first, source.shape, strict=True):
        place = row[0] * z + row[1] * y + row[2] * x + at
        valid &= (place >= -0.5 - 1e-6) & (place <= size - 0.5 + 1e-6)
    if not moving.valid.all():
        share = ndimage.affine_transform(
            moving.valid.astype(np.float32), matrix, first, shape, output=np.float32, **options
        )
        valid &= share > 0.999
    return Masked(replace(onto, array=values), valid)


def banded(part: Masked) -> np.ndarray:
    """Structure of a few voxels, of unit deviation, 0 where it is not valid."""
    values, valid = np.asarray(part.level.array), part.valid
    filled = np.where(valid, values - values[valid].mean(), 0) if valid.any() else np.zeros_like(values)
    fine, coarse = (ndimage.gaussian_filter(filled, sigma, mode="nearest") for sigma in BAND)
    band = np.where(valid, fine - coarse, 0)
    return band / max(float(band.std()), 1e-12)


def correlation(a: Masked, b: Masked) -> tuple[float, float]:
    """Correlation of the band-passed images where both are valid, -1..1, and its chance level.

    The chance level is the root mean square over all cyclic shifts (by Parseval's theorem, without computing them),
    divided by the root of the valid share, since invalid voxels are zeros.
    """
    both = a.valid & b.valid
    one, other = (np.where(both, banded(part), 0) for part in (a, b))
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    if size == 0:
        return 0.0, 1.0
    power = np.abs(rfftn(one)) ** 2 * np.abs(rfftn(other)) ** 2
    twice = 2 * power.sum() - power[..., 0].sum() - (0 if both.shape[2] % 2 else power[..., -1].sum())
    return float((one * other).sum()) / size, float(np.sqrt(twice / both.mean())) / both.size / size


def coarse_shift(fixed: Masked, moving: Masked, margin_nm: float) -> np.ndarray:
    """The shift in nm (z, y, x) that best aligns ``moving`` with ``fixed``, up to ``margin_nm`` along each axis.

    Masked normalised cross-correlation (Padfield, IEEE Trans. Image Process. 21, 2706 (2012)) of both signs.
    """
    start, stop = fixed.level.to_nm((0, 0, 0)) - margin_nm, fixed.level.to_nm(fixed.level.shape) + margin_nm
    low, high = moving.level.to_nm((0, 0, 0)), moving.level.to_nm(moving.level.shape)
    start = np.maximum(start, np.minimum(low, fixed.level.to_nm((0, 0, 0))))
    stop = np.minimum(stop, np.maximum(high, fixed.level.to_nm(fixed.level.shape)))
    voxel = np.maximum(fixed.level.voxel_nm, moving.level.voxel_nm)
    voxel *= max(1.0, (float(np.prod((stop - start) / voxel)) / COARSE) ** (1 / 3))
    place = grid(start, stop, (float(voxel[0]), float(voxel[1]), float(voxel[2])))
    still, other = (smoothed(part, place) for part in (fixed, moving))
    one, two = banded(still), banded(other)
    found = [np.zeros(3)]
    for sign in (1, -1):
        shift, _, _ = phase_cross_correlation(one, sign * two, reference_mask=still.valid, moving_mask=other.valid)
        found.append(np.asarray(shift) * voxel)
    allowed = [s for s in found if (np.abs(s) <= margin_nm).all()]
    return max(allowed, key=lambda s: abs(correlation(still, sampled(other, place, shifted(s)))[0]))


def smoothed(part: Masked, onto: Level) -> Masked:
    """On a grid of larger voxels, without aliasing."""
    sigma = [0.35 * max(0.0, new / old - 1) for new, old in zip(onto.voxel_nm, part.level.voxel_nm, strict=True)]
    blurred = ndimage.gaussian_filter(part.level.array, sigma, mode="nearest")
    return sampled(replace(part, level=replace(part.level, array=blurred)), onto, np.eye(4))


def shifted(nm: np.ndarray) -> np.ndarray:
    """The affine map that only shifts."""
    affine = np.eye(4)
    affine[:3, 3] = nm
    return affine


def block_shifts(fixed: Masked, moved: Masked, block_nm: float) -> list[BlockShift]:
    """Local shifts of ``moved`` to ``fixed``, both on one grid, for half-overlapping blocks with structure.

    Cross-correlation by the Fourier transform, its peak upsampled by `UPSAMPLING` (Guizar-Sicairos et al., Opt. Lett.
    33, 156 (2008)).
    """
    level = fixed.level
    size = vec3([min(n, max(8, round(block_nm / v))) for n, v in zip(level.shape, level.voxel_nm, strict=True)])
    both = fixed.valid & moved.valid
    one, two = banded(fixed), banded(moved)
    window = _window(size)
    starts = [_starts(n, s) for n, s in zip(level.shape, size, strict=True)]
    boxes = [Box(vec3(at), vec3([a + s for a, s in zip(at, size, strict=True)])) for at in product(*starts)]
    boxes = [box for box in boxes if both[box.slices].mean() >= LEAST_VALID]
    contrast = [float(one[box.slices].std()) for box in boxes]
    found = []
    for box, own in zip(boxes, contrast, strict=True):
        a, b = ((image[box.slices] - image[box.slices].mean()) * window for image in (one, two))
        if own < LEAST_STRUCTURE * np.median(contrast) or not a.any() or not b.any():
            continue
        shift, error, _ = phase_cross_correlation(a, b, upsample_factor=UPSAMPLING, normalization=None)
        alike = float(np.sqrt(max(0.0, 1 - error**2)))
        found.append(BlockShift(box, level.to_nm(box.centre), np.asarray(shift) * level.voxel_nm, alike))
    return found


def fitted(blocks: list[BlockShift], voxel_nm: FVec3, affine: bool) -> np.ndarray:
    """The affine map (4, 4), or shift, that fits the blocks' shifts by robust least squares.

    Residuals are scaled by a third of a voxel; the linear part's deviation from the identity is regularised by `BEND`.
    """
    centres, shifts = (np.array([getattr(b, name) for b in blocks]) for name in ("centre_nm", "shift_nm"))
    middle, weight = centres.mean(0), np.array([b.correlation for b in blocks])[:, None]
    if not affine:
        return shifted(np.median(shifts, axis=0))

    def misfit(terms: np.ndarray) -> np.ndarray:
        bend, move = terms[:9].reshape(3, 3), terms[9:]
        off = ((centres - middle) @ bend.T + move - shifts) * weight / (np.array(voxel_nm) / 3)
        return np.concatenate([off.ravel(), terms[:9] / BEND])

    terms = least_squares(misfit, np.zeros(12), loss="soft_l1").x
    linear = np.eye(3) + terms[:9].reshape(3, 3)
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = linear, middle + terms[9:] - linear @ middle
    return result


def _starts(size: int, block: int) -> list[int]:
    """Blocks at even distances of about half a block, at most `MOST_BLOCKS`."""
    count = 1 if size <= block else min(MOST_BLOCKS, int(np.ceil(2 * (size - block) / block)) + 1)
    return sorted({round(float(at)) for at in np.linspace(0, size - block, count)})


def _window(size: tuple[int, int, int]) -> np.ndarray:
    z, y, x = (np.sin(np.pi * (np.arange(n) + 0.5) / n) if n > 1 else np.ones(1) for n in size)
    return z[:, None, None] * y[:, None] * x

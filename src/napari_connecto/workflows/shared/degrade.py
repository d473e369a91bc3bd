"""Degrade one image to the style of another: blur, noise, histogram.

Used to restyle training data for a target (`playback`), and to simulate a microscope. The parts are classical; each
function names its source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from scipy.fft import dctn, idctn
from scipy.optimize import isotonic_regression

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.workflows.shared.patches import candidates

BINS = 36
"""Rings of a spectrum, of one width."""
EDGES = np.linspace(0.0, np.sqrt(0.5), BINS + 1)
"""Their borders in cycles per voxel; the corner of the frequency plane is at 0.7071."""
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
COARSE = 0.06
"""Cycles per voxel up to which a spectrum measures contrast: structures of 17 voxels and more."""
FINE = 0.4
"""Cycles per voxel above which a spectrum is taken as noise: structures below 2.5 voxels."""
KNOWN = 0.1
"""Share of a ring's power that must be structure for the ring to measure sharpness."""
LEVELS = np.concatenate([[0.1, 0.5], np.arange(1.0, 100.0), [99.5, 99.9]])
"""Percentiles of a histogram."""
LEAST = 16
"""Smallest extent along y and x of a patch with a usable spectrum, voxels."""


@dataclass(frozen=True)
class Style:
    """Style of an image, independent of its content.

    Parameters
    ----------
    power
        (`BINS`,) radially averaged power spectral density in the plane, intensity squared x voxel squared; white noise
        of standard deviation s has s squared in every ring.
    noise
        Standard deviation of the residual noise, intensity: the root of the median power above `FINE`. Noise correlated
        over 3 voxels and more counts as structure; structure finer than that counts as noise.
    quantiles
        Intensity at the percentiles `LEVELS`.
    """

    power: np.ndarray = field(repr=False)
    noise: float
    quantiles: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, patches: Sequence[np.ndarray]) -> Style:
        """Of patches (y, x) or (z, y, x), section by section; shapes may differ.

        The spectrum is Welch's (1967): the mean periodogram of Hann-windowed sections, each without its mean.

        Raises
        ------
        InputError
            If there is no patch, or one is smaller than 16 x 16 or contains values that are not finite.
        """
        sections = [section for patch in patches for section in _sections(patch)]
        if not sections:
            raise InputError("no patch to take a style from; give at least one")
        power = np.mean([_spectrum(section) for section in sections], axis=0)
        values = np.concatenate([section.ravel() for section in sections])
        noise = float(np.sqrt(np.median(power[CENTRES >= FINE])))
        return cls(power, noise, np.percentile(values, LEVELS))

    @classmethod
    def of_level(cls, level: Level, *, patches: int = 64, size: int = 128, seed: int = 0) -> Style:
        """Of tissue patches of a level, single sections of ``size`` voxels, see `patches.candidates`.

        Raises
        ------
        InputError
            If the level has no patch with tissue.
        """
        found = candidates(level, (1, size, size), patches, seed, ())
        if not found.boxes:
            raise InputError(
                f"found no patch of {size} x {size} voxels with tissue ({found.skipped_empty} were empty); choose "
                "smaller patches or a region with tissue"
            )
        return cls.of([level.read(box) for box in found.boxes])


def degrade(image: np.ndarray, source: Style, target: Style, seed: int = 0) -> np.ndarray:
    """One image in another style; see `degrade_all`."""
    return degrade_all([image], source, target, seed)[0]


def degrade_all(images: Sequence[np.ndarray], source: Style, target: Style, seed: int = 0) -> list[np.ndarray]:
    """Images of one style in another, as far as losing detail and adding noise can do it: no frequency is amplified.

    In turn: blur by the root of the ratio of both spectra without their noise, where the target has less (`blurring`);
    noise that the target has in addition (`missing_noise`); one monotone map of intensities for all images, from the
    degraded source's quantiles to the target's. Images of equal styles are returned unchanged. Sections are treated
    separately, and nothing is done along z. Detail that a source lacks, or noise that it has in excess, stays; mapping
    to a histogram of more contrast also steepens its edges.

    Parameters
    ----------
    images
        (y, x) or (z, y, x), in the intensities ``source`` was taken from, at the voxel size of both styles.
    source, target
        Styles at one voxel size; their intensities may be unrelated.
    seed
        Random seed of the noise.

    Returns
    -------
    list of np.ndarray
        float64, of the same shapes, in the target's intensities.
    """
    stacks = [np.stack(_sections(image)) for image in images]
    amplitude, noise = blurring(source, target), missing_noise(source, target)
    rng = np.random.default_rng(seed)
    changed = [coloured(rng.standard_normal(s.shape), noise) + filtered(s, amplitude) for s in stacks]
    before, after = (np.percentile(np.concatenate([s.ravel() for s in part]), LEVELS) for part in (stacks, changed))
    # the change of these images' histogram applies to all of the source: they may be a part of it
    start = np.maximum.accumulate(source.quantiles + (after - before))
    mapped = [remapped(stack, start, target.quantiles) for stack in changed]
    return [m.reshape(image.shape) for m, image in zip(mapped, images, strict=True)]


def blurring(source: Style, target: Style) -> np.ndarray:
    """Amplitude (`BINS`,) in 0..1, never rising with frequency, that reduces the source's detail to the target's.

    The root of the ratio of the spectra, less their noise, relative to that ratio at coarse structure, where contrast
    differs but sharpness does not; isotonic regression (Barlow et al. 1972) makes it a blur. A ring is weighted by its
    number of frequencies and by the squared share of structure in both powers. 1 everywhere if the target is sharper.
    """
    gain, own = _gain(source, target), _structure(source)
    known = own > KNOWN * source.power
    ratio = np.where(known, _structure(target) / gain / np.where(known, own, 1.0), 1.0)
    weight = CENTRES * np.where(known, (own / (source.power + target.power / gain)) ** 2, 0.0) + 1e-9
    fitted = isotonic_regression(np.sqrt(np.clip(ratio, 0.0, 1.0)), weights=weight, increasing=False)
    return np.clip(fitted.x, 0.0, 1.0)


def missing_noise(source: Style, target: Style) -> np.ndarray:
    """Power (`BINS`,), squared intensities of the *source*, of the noise to add after `blurring`; never below 0.

    The target's noise at the source's contrast, less the source's own noise after blurring.
    """
    left = blurring(source, target) ** 2 * source.noise**2
    return np.clip(target.noise**2 / _gain(source, target) - left, 0.0, None)


def filtered(image: np.ndarray, amplitude: np.ndarray, axes: Sequence[int] = (-2, -1)) -> np.ndarray:
    """An image with its frequencies scaled by an amplitude (`BINS`,) over `CENTRES`, mirrored at its edges.

    By `multiplied`, isotropic in voxels over ``axes``; linear between rings, and the mean stays. float64.
    """
    if np.all(amplitude == 1.0):
        return np.asarray(image, np.float64)
    return _scaled(np.asarray(image, np.float64), np.concatenate([[1.0], amplitude]), tuple(axes))


def coloured(white: np.ndarray, power: np.ndarray, axes: Sequence[int] = (-2, -1)) -> np.ndarray:
    """White noise of standard deviation 1, filtered to a power (`BINS`,); flat power keeps it white."""
    amplitude = np.sqrt(power)
    return _scaled(white, np.concatenate([amplitude[:1], amplitude]), tuple(axes))


def remapped(image: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Intensities mapped so that rising quantiles ``start`` become ``end``; linear beyond them.

    Histogram specification (Gonzalez and Woods, Digital Image Processing). A constant image is only shifted.
    """
    if np.array_equal(start, end):
        return image
    kept = np.concatenate([[True], np.diff(start) > 0])
    start, end = start[kept], end[kept]
    slope = (end[-1] - end[0]) / (start[-1] - start[0]) if len(start) > 1 else 1.0
    beyond = np.minimum(image - start[0], 0.0) + np.maximum(image - start[-1], 0.0)
    return np.interp(image, start, end) + slope * beyond


def multiplied(image: np.ndarray, gain: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """An image, mirrored at its edges, with its frequencies times ``gain``: entry i of n is i / (2n) cycles per voxel.

    By the discrete cosine transform (Martucci 1994), in the image's precision.
    """
    return idctn(dctn(image, axes=axes, norm="ortho") * gain, axes=axes, norm="ortho")


def _scaled(image: np.ndarray, amplitude: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    shape = [image.shape[axis] for axis in axes]
    squares = np.meshgrid(*[(np.arange(n) / (2 * n)) ** 2 for n in shape], indexing="ij")
    gain = np.interp(np.sqrt(sum(squares)), np.concatenate([[0.0], CENTRES]), amplitude)
    full = np.ones(image.ndim, int)
    full[list(axes)] = shape
    return multiplied(image, gain.reshape(full), axes)


def _structure(style: Style) -> np.ndarray:
    """Power above the noise."""
    return np.clip(style.power - style.noise**2, 0.0, None)


def _gain(source: Style, target: Style) -> float:
    """Squared contrast of the target relative to the source's, at coarse structure."""
    coarse = CENTRES <= COARSE
    own, other = (float((_structure(style) * CENTRES)[coarse].sum()) for style in (source, target))
    if own <= 0 or other <= 0:
        raise InputError("the style has no coarse structure, only noise; take it from patches with tissue")
    return other / own


def _sections(patch: np.ndarray) -> list[np.ndarray]:
    patch = np.asarray(patch, np.float64)
    if patch.ndim not in (2, 3) or min(patch.shape[-2:]) < LEAST:
        raise InputError(f"got a patch of shape {patch.shape}; it is (y, x) or (z, y, x), at least {LEAST} along y, x")
    if not np.isfinite(patch).all():
        raise InputError("got a patch with NaN or infinite values; leave it out")
    return [patch] if patch.ndim == 2 else list(patch)


def _spectrum(section: np.ndarray) -> np.ndarray:
    window, rings, counts = _rings(section.shape)
    windowed = window * (section - (window * section).sum() / window.sum())
    power = np.abs(np.fft.fft2(windowed)) ** 2 / (window**2).sum()
    mean = np.bincount(rings, power.ravel(), BINS) / np.maximum(counts, 1)
    return np.interp(CENTRES, CENTRES[counts > 0], mean[counts > 0])  # small patches leave rings empty


@lru_cache(maxsize=8)
def _rings(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Window, ring of every frequency, and frequencies per ring."""
    window = np.multiply.outer(*[np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in shape])
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(n) for n in shape], indexing="ij")).ravel()
    rings = np.clip(np.searchsorted(EDGES, radius, side="right") - 1, 0, BINS - 1)
    return window, rings, np.bincount(rings, minlength=BINS)

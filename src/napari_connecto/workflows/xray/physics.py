"""The steps of the X-ray forward model, on arrays (z, y, x) of relative electron density: 0 resin, 1 full stain.

The formulas are classical; each function names its source.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.views.pedestal import wide
from napari_connecto.workflows.shared.degrade import multiplied

SIGMA = 1 / np.sqrt(8 * np.log(2))
"""Standard deviation of a Gaussian whose full width at half maximum is 1."""
ENDS = (0.5, 99.5)
"""Percentiles of an EM's intensity taken as resin and full stain."""
BAD_PROJECTIONS = 3
"""Bad projections of a scan, each of which leaves stripes at its own angle."""


def density(em: np.ndarray, stain: str) -> np.ndarray:
    """Relative electron density of an EM image, float32 in 0..1: linear in intensity between its `ENDS`.

    Parameters
    ----------
    em
        Any finite numbers.
    stain
        Appearance of stain: "dark" or "bright".

    Raises
    ------
    InputError
        If some are not finite, or all are the same.
    """
    values = wide(em)
    if not np.isfinite(values).all():
        raise InputError(f"got {np.sum(~np.isfinite(values))} EM voxels without a finite value; give a region without")
    low, high = np.percentile(values, ENDS)
    if low == high:
        raise InputError(f"got an EM region of one value, {low:g}; give one with tissue")
    scaled = np.clip((values - low) / (high - low), 0, 1, dtype=np.float32)
    return 1 - scaled if stain == "dark" else scaled


def transferred(
    rho: np.ndarray, voxel_nm: FVec3, fwhm_nm: FVec3, edge_gain: float, edge_length_nm: float
) -> np.ndarray:
    """Density as imaged: blurred by a Gaussian, with edges enhanced by residual propagation contrast.

    At angular frequency k the factor is ``exp(-(sigma k)^2 / 2) (1 + g (L k)^2) / (1 + (L k)^2)``.

    Parameters
    ----------
    rho
        (z, y, x).
    voxel_nm, fwhm_nm
        Of the array, and of the blur.
    edge_gain, edge_length_nm
        g and L.

    References
    ----------
    Paganin et al., J. Microsc. 206, 33 (2002): by transport of intensity, propagation multiplies the projected density
    of a homogeneous object by 1 + (L k)^2, retrieval divides by it, L from `paganin_length_nm`. Retrieving with a
    delta/beta that is g times too small leaves the fraction above. For a hologram of many Fresnel fringes (Cloetens et
    al., Appl. Phys. Lett. 75, 2912 (1999)) this is only a phenomenological description of the residual contrast.
    """
    axes = [
        np.arange(n, dtype=np.float32) * np.float32(np.pi / (n * v)) for n, v in zip(rho.shape, voxel_nm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    blur = [np.exp(-((SIGMA * w * k) ** 2) / 2) for w, k in zip(fwhm_nm, (z, y, x), strict=True)]
    lk2 = np.float32(edge_length_nm**2) * (z**2 + y**2 + x**2)
    gain = (1 + np.float32(edge_gain) * lk2) / (1 + lk2) * (blur[0] * blur[1] * blur[2])
    return multiplied(rho, gain.astype(np.float32), (0, 1, 2))


def paganin_length_nm(wavelength_nm: float, distance_nm: float, delta_beta: float) -> float:
    """Length at which propagation raises contrast: ``sqrt(wavelength distance (delta/beta) / (4 pi))``.

    The root of Paganin's R delta / mu with mu = 4 pi beta / wavelength (J. Microsc. 206, 33, 2002).
    """
    return float(np.sqrt(wavelength_nm * distance_nm * delta_beta / (4 * np.pi)))


def averaged(image: np.ndarray, ratio: Sequence[float]) -> np.ndarray:
    """Mean over cells of ``ratio`` voxels (z, y, x), each at least 1, voxels weighted by their share inside.

    An incomplete last cell is left out. float32.
    """
    for axis, step in enumerate(ratio):
        size = image.shape[axis]
        edges = np.arange(int(size / step + 1e-6) + 1) * step
        low, high, at = edges[:-1, None], edges[1:, None], np.arange(size)
        weights = np.clip(np.minimum(high, at + 1) - np.maximum(low, at), 0, 1) / step
        image = np.moveaxis(np.tensordot(weights.astype(np.float32), image, axes=(1, axis)), 0, axis)
    return image


def background(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """A slow field: a random quadratic polynomial of the position, of mean 0, at most 1 in size."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape], indexing="ij", sparse=True)
    terms = (z, y, x, z * z, y * y, x * x, z * y, z * x, y * x)
    field = sum(c * term for c, term in zip(rng.standard_normal(len(terms)), terms, strict=True))
    field = np.broadcast_to(field, shape) - np.mean(field)
    return field / max(np.abs(field).max(), 1e-12)


def counted(rho: np.ndarray, photons: float, absorption: float, readout: float, rng: np.random.Generator) -> np.ndarray:
    """Density as measured by counting photons: Beer-Lambert's law, Poisson counts, Gaussian readout noise.

    ``-log(n / photons) / absorption`` with n = Poisson(photons exp(-absorption rho)) + Normal(0, readout), at least 1.
    White from voxel to voxel, unlike the noise of a reconstruction.
    """
    counts = rng.poisson(photons * np.exp(-absorption * rho)) + readout * rng.standard_normal(rho.shape)
    return -np.log(np.maximum(counts, 1) / photons) / absorption


def correlated(noise: np.ndarray, fwhm: float) -> np.ndarray:
    """Noise smoothed by a Gaussian of this full width at half maximum, voxels; its standard deviation is kept."""
    smooth = gaussian_filter(noise, fwhm * SIGMA, mode="wrap")
    return smooth * (noise.std() / max(float(smooth.std()), 1e-12))


def rings(shape: Sequence[int], axis: Sequence[float] | np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Ring artefacts of standard deviation 1, one voxel wide; different in every section.

    A detector pixel with a constant offset leaves a ring at its distance from the axis of rotation, in the section of
    its row (Münch et al., Opt. Express 17, 8567 (2009)). Laplace-distributed: few rings stand out.

    Parameters
    ----------
    shape
        (z, y, x).
    axis
        Of rotation, (y, x), voxels, continuous.
    rng
        Of the offsets.
    """
    y, x = np.ogrid[: shape[1], : shape[2]]
    radius = np.hypot(y + 0.5 - axis[0], x + 0.5 - axis[1]).astype(int)
    return rng.laplace(0, np.sqrt(0.5), (shape[0], radius.max() + 1))[:, radius]


def stripes(shape: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Stripes of standard deviation 1 along `BAD_PROJECTIONS` angles: the errors of projections, smeared back."""
    y, x = np.ogrid[: shape[1], : shape[2]]
    total = np.zeros(tuple(shape))
    for angle in rng.uniform(0, np.pi, BAD_PROJECTIONS):
        place = np.floor(y * np.cos(angle) + x * np.sin(angle)).astype(int)
        place -= place.min()
        total += rng.standard_normal((shape[0], place.max() + 1))[:, place]
    return total / np.sqrt(BAD_PROJECTIONS)

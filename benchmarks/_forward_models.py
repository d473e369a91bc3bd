"""Forward models of X-ray for testing only: none of them is the one that translators are trained with.

``tomography``: projections are propagated, counted, retrieved and back-projected, section by section.
``detector``: a microscope with long tails of blur, saturating contrast and noise of one over the frequency.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import fft2, fftfreq, fftn, ifft2, ifftn, irfftn, rfftn
from skimage.transform import iradon, radon

from napari_connecto.core.volume import Volume
from napari_connecto.workflows.xray import physics
from napari_connecto.workflows.xray.simulate import _scaled

ANGLES = 160
"""Projections over half a turn."""
PHOTONS = 4e4
"""Per pixel of a projection."""
WAVELENGTH_NM, DISTANCE_NM = 0.07, 4e4
"""17.7 keV; a Fresnel number of 0.3 at 30 nm: fringes of more than a voxel."""
PHASE, DELTA_BETA = 0.02, 60.0
"""Phase shift of full stain per voxel, radians; ratio of refraction to absorption, as the retrieval assumes too low."""


def tomography(em: Volume, voxel_nm: float, seed: int) -> Volume:
    """Projections of every section, propagated as a whole, counted, retrieved and back-projected section by section."""
    rng = np.random.default_rng(seed)
    level = em.levels[0]
    rho = physics.density(np.asarray(level.array), "dark")
    rho = physics.averaged(rho, [voxel_nm / v for v in level.voxel_nm])
    side = int(np.ceil(np.hypot(*rho.shape[1:])))
    pads = [(0, 0), *(((side - n) // 2, side - n - (side - n) // 2) for n in rho.shape[1:])]
    padded = np.pad(rho, pads)
    theta = np.linspace(0, 180, ANGLES, endpoint=False)
    stack = np.stack([radon(section, theta, circle=True) for section in padded])  # (z, detector, angle)
    gains = 1 + 0.004 * rng.standard_normal((*stack.shape[:2], 1))  # a pixel's own response: a ring
    retrieved = np.stack([_imaged(stack[..., k], voxel_nm, rng) for k in range(ANGLES)], axis=-1) + np.log(gains)
    sections = np.stack([iradon(s, theta, filter_name="shepp-logan", circle=True) for s in retrieved])
    here = tuple(slice(a, a + n) for (a, _), n in zip(pads, rho.shape, strict=True))
    return _volume(em, -sections[here], voxel_nm, "tomography")


def _imaged(projection: np.ndarray, voxel_nm: float, rng: np.random.Generator) -> np.ndarray:
    """A projected density as phase retrieval gives it back, by Fresnel propagation and Paganin's filter."""
    field = np.exp((1j - 1 / DELTA_BETA) * -PHASE * projection)
    z, s = (fftfreq(n, voxel_nm) for n in projection.shape)
    k2 = z[:, None] ** 2 + s[None] ** 2
    wave = ifft2(fft2(field) * np.exp(-1j * np.pi * WAVELENGTH_NM * DISTANCE_NM * k2))
    counts = rng.poisson(PHOTONS * np.abs(wave) ** 2) / PHOTONS
    wrong = 0.6 * DELTA_BETA  # what is assumed is never what is there
    flat = ifft2(fft2(counts) / (1 + np.pi * WAVELENGTH_NM * DISTANCE_NM * wrong * k2)).real
    return -np.log(np.clip(flat, 1e-6, None)) * DELTA_BETA / (2 * PHASE)


def detector(em: Volume, voxel_nm: float, seed: int) -> Volume:
    """A blur of Lorentzian shape, saturating contrast, and noise whose power falls as one over the frequency."""
    rng = np.random.default_rng(seed)
    level = em.levels[0]
    rho = physics.density(np.asarray(level.array), "dark")
    axes = [2 * np.pi * fftfreq(n, v) for n, v in zip(rho.shape, level.voxel_nm, strict=True)]
    axes[2] = axes[2][: rho.shape[2] // 2 + 1]
    k = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    rho = irfftn(rfftn(rho) * np.exp(-0.45 * voxel_nm * np.abs(k)), s=rho.shape)
    rho = np.tanh(1.8 * physics.averaged(rho.astype(np.float32), [voxel_nm / v for v in level.voxel_nm]))
    frequency = np.sqrt(sum(f**2 for f in np.meshgrid(*[fftfreq(n) for n in rho.shape], indexing="ij", sparse=True)))
    noise = ifftn(fftn(rng.standard_normal(rho.shape)) / np.sqrt(np.maximum(frequency, 0.02))).real
    return _volume(em, -(rho + 0.07 * noise / noise.std()), voxel_nm, "detector")


def _volume(em: Volume, values: np.ndarray, voxel_nm: float, name: str) -> Volume:
    size = (voxel_nm,) * 3
    return Volume.from_array(_scaled(values.astype(np.float32), "uint8"), size, name=f"X-ray ({name}) from {em.name}")


MODELS = {"tomography": (tomography, 30.0), "detector": (detector, 40.0)}
"""By name: the model, and its voxel size in nm."""

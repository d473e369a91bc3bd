"""X-ray microscopes of random properties: the range of forward models that a translator is to serve.

Domain randomisation, Tobin et al., arXiv 1703.06907; the ranges are chosen, see ``docs/simulated.md``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.ndimage import zoom

from napari_connecto.core.geometry import fvec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.xray.params import XrayParams
from napari_connecto.workflows.xray.simulate import simulate_xray_job

RATIO = (2.0, 4.0)
"""X-ray voxels, in EM voxels."""
SHARPNESS = (1.3, 2.3)
"""Resolution, in X-ray voxels."""


def random_microscope(rng: np.random.Generator, voxel_nm: float, xray_stain: str = "dark") -> XrayParams:
    """Parameters of a forward model drawn at random.

    Parameters
    ----------
    rng
        Decides them.
    voxel_nm
        Of the EM, the largest along the three axes.
    xray_stain
        See `XrayParams`.
    """
    size = voxel_nm * rng.uniform(*RATIO)

    def between(low: float, high: float) -> float:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return XrayParams(
        voxel_nm=(size, size, size),
        fwhm_nm=fvec3((size * rng.uniform(*SHARPNESS, 3)).tolist()),
        edge_gain=between(0.6, 3.0),
        edge_length_nm=size * rng.uniform(0.7, 2.0),
        contrast=between(0.6, 1.7),
        photons=between(500, 8000),
        noise_fwhm=float(rng.choice([0.0, rng.uniform(0.5, 2.5)])),
        background=rng.uniform(0.0, 0.2),
        rings=rng.uniform(0.0, 0.05),
        stripes=rng.uniform(0.0, 0.03),
        xray_stain=xray_stain,
        seed=int(rng.integers(2**31)),
    )


def other_xrays_job(
    em: Level, count: int, *, seed: int, percentiles: tuple[float, float], dark: bool
) -> Job[tuple[np.ndarray, ...]]:
    """X-ray of the tissue in an EM level, by random microscopes, on the grid of the EM.

    Parameters
    ----------
    em
        In memory, (z, y, x).
    count, seed
        How many, and what decides them.
    percentiles
        Of the X-ray, mapped to 0 and 1.
    dark
        Whether stain is dark in the X-ray.

    Returns
    -------
    tuple of numpy.ndarray
        (z, y, x) float32, of the EM's shape; at the far ends, the last X-ray voxel continues.
    """
    volume, found = Volume((em,), name="EM"), []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        params = random_microscope(rng, max(em.voxel_nm), "dark" if dark else "bright")
        made = yield from _counted(simulate_xray_job(volume, params), number, count)
        found.append(on_grid(made.levels[0], em, percentiles))
    return tuple(found)


def _counted(job: Job[Volume], number: int, count: int) -> Job[Volume]:
    """One of several simulations: its steps count among those of all."""
    try:
        while True:
            p = next(job)
            yield replace(p, done=number * p.total + p.done, total=count * p.total)
    except StopIteration as end:
        return end.value
    finally:
        job.close()


def on_grid(xray: Level, em: Level, percentiles: tuple[float, float]) -> np.ndarray:
    """An X-ray level that starts where the EM does, interpolated linearly to its grid and scaled, float32."""
    values = np.asarray(xray.array, np.float32)
    low, high = np.percentile(values, percentiles)
    factors = [x / e for x, e in zip(xray.voxel_nm, em.voxel_nm, strict=True)]
    shape = [max(1, round(n * f)) for n, f in zip(values.shape, factors, strict=True)]
    fine = zoom(
        values, [s / n for s, n in zip(shape, values.shape, strict=True)], order=1, mode="nearest", grid_mode=True
    )
    missing = [(0, max(0, n - m)) for n, m in zip(em.shape, fine.shape, strict=True)]
    fine = np.pad(fine, missing, mode="edge")[tuple(slice(n) for n in em.shape)]
    return ((fine - low) / max(float(high - low), 1e-9)).astype(np.float32)

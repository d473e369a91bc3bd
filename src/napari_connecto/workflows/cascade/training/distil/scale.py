"""Diameter of the blobs of an image, before anything is known of them: the scale at which they stand out most.

Maxima of the scale-normalised Laplacian: Lindeberg, Feature detection with automatic scale selection, IJCV 1998.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume

SIDE = 512
"""Voxels in y and x of the sections that are looked at."""
SECTIONS, READ = 3, 12
"""Sections that are looked at: of those that are read, the ones of most contrast."""
SIGMAS = tuple(1.5 * 2 ** (k / 3) for k in range(13))
"""Scales, in voxels; a disc of diameter d stands out most at d / (2 sqrt 2)."""
STRONG, EVEN = 0.5, 1e-3
"""Of the strongest response: weaker maxima are noise or parts of objects; even places have no maxima."""


def typical_diameter(volume: Volume, *, dark: bool = False) -> float:
    """Median diameter of what stands out, nm; a few sections in the middle of the finest level are read.

    Sections cut spheres at any height: their discs are on average pi / 4 as wide.

    Examples
    --------
    >>> cells = nc.phantom("cells", (32, 96, 96), seed=1)
    >>> 7000 < typical_diameter(cells.image) < 15000
    True
    """
    level = volume.levels[0]
    strengths, sigmas = np.empty(0), np.empty(0)
    for image in _sections(level, dark):
        found = _maxima(image)
        strengths, sigmas = np.append(strengths, found[0]), np.append(sigmas, found[1])
    if not strengths.size:
        return float(8 * level.voxel_nm[1])
    strong = sigmas[strengths >= STRONG * np.quantile(strengths, 0.98)]
    diameter = float(2 * np.sqrt(2) * np.median(strong) * level.voxel_nm[1])
    return diameter * 4 / np.pi if level.shape[0] > 1 and diameter > 1.5 * level.voxel_nm[0] else diameter


def _sections(level: Level, dark: bool) -> list[np.ndarray]:
    """Sections (y, x) of the middle, float32, bright objects on dark; those of most contrast."""
    z, y, x = level.shape
    low = [max(0, (n - SIDE) // 2) for n in (y, x)]
    high = [min(n, a + SIDE) for n, a in zip((y, x), low, strict=True)]
    wanted = sorted({int(z * (k + 0.5) / READ) for k in range(READ)})
    read = (level.read(Box((k, low[0], low[1]), (k + 1, high[0], high[1]))) for k in wanted)
    found = [
        (part.mean(axis=0) if part.ndim == 4 else part)[0].astype(np.float32) * (-1 if dark else 1) for part in read
    ]
    return sorted(found, key=lambda image: float(np.median(image) - np.quantile(image, 0.999)))[:SECTIONS]


def _maxima(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Strength and scale (n,) of the maxima over place and scale, away from the smallest and the largest scale."""
    sigmas = [s for s in SIGMAS if 4 * s < min(image.shape)]
    if len(sigmas) < 3:
        return np.empty(0), np.empty(0)
    image = image - np.median(image)
    space = np.stack([-(s**2) * ndimage.gaussian_laplace(image, s) for s in sigmas])
    top = (space == ndimage.maximum_filter(space, (3, 5, 5))) & (space > EVEN * space.max())
    top[[0, -1]] = False
    k, y, x = np.nonzero(top)
    return space[k, y, x], np.array(sigmas)[k]

"""Synthetic volumes with ground truth: deterministic, for samples, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3, Vec3, vec3
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Kind, Volume


@shown
@dataclass(frozen=True)
class Phantom:
    """A synthetic image and what is true of it.

    Parameters
    ----------
    image
        One level, uint8; its metadata says ``synthetic``.
    truth
        Labels by name, on the image's grid: "cells"; or "neurons" and "mitochondria".
    """

    image: Volume
    truth: dict[str, Volume]


def phantom(name: str, shape: Sequence[int] | None = None, seed: int = 0) -> Phantom:
    """Make a synthetic volume; same arguments, same voxels.

    Parameters
    ----------
    name
        "cells": light-sheet fluorescence, 2 x 1 x 1 um, clustered bright cells in dim tissue with vessels and specks.
        "neuropil": electron microscopy, 40 x 8 x 8 nm, neurites with dark membranes, vesicles and mitochondria.
        "neuropil-isotropic": the same as by milling a block's face, 10 x 10 x 10 nm, with thinner neurites.
    shape
        (z, y, x); a default of the sample data's size without it.
    seed
        Of everything random.

    Raises
    ------
    InputError
        For an unknown name, or a shape below (8, 32, 32).
    """
    makers: dict[str, tuple[Callable[[Vec3, np.random.Generator], _Arrays], Vec3, FVec3]] = {
        "cells": (_cells, (64, 512, 512), (2000.0, 1000.0, 1000.0)),
        "neuropil": (partial(_neuropil, _SECTIONS), (32, 512, 512), _SECTIONS.voxel_nm),
        "neuropil-isotropic": (partial(_neuropil, _BLOCKFACE), (162, 162, 162), _BLOCKFACE.voxel_nm),
    }
    if name not in makers:
        raise InputError(f"got phantom '{name}'; there are: {', '.join(makers)}")
    make, default, voxel_nm = makers[name]
    size = vec3(shape) if shape is not None else default
    if any(n < m for n, m in zip(size, (8, 32, 32), strict=True)):
        raise InputError(f"got shape {size}; a phantom needs at least (8, 32, 32) voxels")
    image, truth = make(size, np.random.default_rng(seed))
    metadata = {"synthetic": True, "phantom": name, "seed": seed, "revision": f"{name}-{size}-{seed}"}

    def volume(array: np.ndarray, label: str, kind: Kind) -> Volume:
        base = Volume.from_array(array, voxel_nm, name=label, kind=kind)
        return Volume(base.levels, name=label, kind=kind, metadata=metadata)

    return Phantom(volume(image, name, "image"), {k: volume(v, k, "labels") for k, v in truth.items()})


_Arrays = tuple[np.ndarray, dict[str, np.ndarray]]


def _smooth_noise(rng: np.random.Generator, shape: Vec3, scale: Sequence[float] | np.ndarray) -> np.ndarray:
    """A random field of unit standard deviation that varies over ``scale`` voxels; made coarse, then enlarged."""
    coarse = [max(4, round(3 * n / s) + 3) for n, s in zip(shape, scale, strict=True)]
    field = ndimage.gaussian_filter(rng.standard_normal(coarse), 1.0, mode="nearest")
    zoomed = ndimage.zoom(
        field.astype(np.float32), [n / c for n, c in zip(shape, coarse, strict=True)], order=1, mode="nearest"
    )
    zoomed = zoomed[tuple(slice(0, n) for n in shape)]
    return (zoomed - zoomed.mean()) / (zoomed.std() + 1e-6)


def _stamp(
    array: np.ndarray, centre: np.ndarray, radius: np.ndarray, paint: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    """``array[near] = paint(old, r2)`` around an ellipsoid, ``r2`` the squared distance in units of its radius."""
    low = np.maximum(0, np.floor(centre - 2.5 * radius)).astype(int)
    high = np.minimum(array.shape, np.ceil(centre + 2.5 * radius) + 1).astype(int)
    if (low >= high).any():
        return
    grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    r2 = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radius, strict=True))
    near = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    array[near] = paint(array[near], r2)


def _cells(shape: Vec3, rng: np.random.Generator) -> _Arrays:
    size = np.array(shape, float)
    signal = 14 + 3 * _smooth_noise(rng, shape, (16, 64, 64))
    _vessels(signal, rng)
    for _ in range(int(signal.size / 6e4)):  # specks: bright, but smaller than a cell
        _stamp(signal, rng.uniform(0, size), np.array([0.5, 0.8, 0.8]), _adds(rng.uniform(30, 90)))
    for _ in range(int(signal.size / 8e5)):  # out-of-focus haze: larger than a cell, and dim
        _stamp(signal, rng.uniform(0, size), np.array([6.0, 14, 14]), _adds(rng.uniform(8, 18)))
    cells = np.zeros(shape, np.uint16)
    for label, centre in enumerate(_clustered(rng, size, max(4, int(signal.size / 3e5))), start=1):
        radius = rng.uniform(3.5, 5.5) * np.array([0.5, 1, 1]) * rng.uniform(0.85, 1.15, 3)
        _stamp(signal, centre, radius, _adds(rng.uniform(35, 140)))
        _stamp(cells, centre, radius, _marks(label))
    signal *= _tissue(shape)
    noisy = signal + 4 + rng.standard_normal(shape, np.float32) * np.sqrt(np.maximum(signal, 0) * 0.1 + 1)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), {"cells": cells}


def _marks(label: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda old, r2: np.where((r2 <= 1) & (old == 0), label, old)


def _adds(amplitude: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda old, r2: old + amplitude * np.exp(-r2)


def _tissue(shape: Vec3) -> np.ndarray:
    """1 inside an ellipse that fills most of each section, 0 in the empty margins, softly."""
    _, y, x = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    return 1 / (1 + np.exp(40 * (np.sqrt((y / 0.93) ** 2 + (x / 0.88) ** 2) - 1)))


def _clustered(rng: np.random.Generator, size: np.ndarray, count: int) -> np.ndarray:
    """Positions inside the tissue, four in five of them in a few clusters, none closer than a cell's width."""
    hubs = size * rng.uniform([0.2, 0.25, 0.25], [0.8, 0.75, 0.75], (max(2, count // 30), 3))
    found: list[np.ndarray] = []
    for _ in range(count * 50):
        if len(found) == count:
            break
        if rng.uniform() < 0.8:
            spot = hubs[rng.integers(len(hubs))] + rng.normal(0, 1, 3) * size * [0.12, 0.05, 0.05]
        else:
            spot = size * rng.uniform(0.05, 0.95, 3)
        inside = (np.abs(spot / size - 0.5) < [0.45, 0.38, 0.36]).all()
        if inside and all((((spot - other) * [2, 1, 1]) ** 2).sum() > 11**2 for other in found):
            found.append(spot)
    return np.array(found)


def _vessels(signal: np.ndarray, rng: np.random.Generator) -> None:
    """Bright winding tubes: as bright as cells, but long."""
    size = np.array(signal.shape, float)
    for _ in range(max(1, int(signal.size / 2.5e6))):
        spot, heading = rng.uniform(0, size), rng.standard_normal(3) * [0.3, 1, 1]
        for _ in range(int(size.max() / 2)):
            heading += rng.standard_normal(3) * [0.08, 0.25, 0.25]
            heading /= np.linalg.norm(heading)
            spot = spot + 2 * heading
            _stamp(signal, spot, np.array([1.3, 2.2, 2.2]), lambda old, r2: np.maximum(old, 14 + 45 * np.exp(-r2)))


@dataclass(frozen=True)
class _Tissue:
    """Neuropil as one microscope sees it; lengths in nm.

    Parameters
    ----------
    voxel_nm, psf_nm
        Voxel, and standard deviation of the imaging's blur.
    size
        Of neurites and what is in them, relative to those of the first sample.
    """

    voxel_nm: FVec3
    psf_nm: FVec3
    size: float = 1.0

    def voxels(self, *lengths_nm: float) -> np.ndarray:
        """Lengths (z, y, x) in voxels."""
        return np.array(lengths_nm) / self.voxel_nm


_SECTIONS = _Tissue((40.0, 8.0, 8.0), (0.0, 6.4, 6.4))
_BLOCKFACE = _Tissue((10.0, 10.0, 10.0), (8.0, 8.0, 8.0), size=0.6)


def _neuropil(tissue: _Tissue, shape: Vec3, rng: np.random.Generator) -> _Arrays:
    neurons, gap_nm = _neurites(tissue, shape, rng)
    inside = gap_nm > 0
    cytosol = 165 + 10 * _smooth_noise(rng, shape, tissue.voxels(240, 320, 320))
    cytosol += rng.normal(0, 12, neurons.max() + 1).astype(np.float32)[neurons]
    image = np.where(inside, cytosol, 0) + np.exp(-((gap_nm / 9) ** 2)) * (70 - np.where(inside, cytosol, 0))
    mitochondria = _mitochondria(tissue, image, neurons, gap_nm, rng)
    _vesicles(tissue, image, gap_nm, rng)
    image = ndimage.gaussian_filter(image, tissue.voxels(*tissue.psf_nm))
    image += 5 * _smooth_noise(rng, shape, tissue.voxels(80, 2400, 2400))
    noisy = image + rng.standard_normal(shape, np.float32) * 8
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), {"neurons": neurons, "mitochondria": mitochondria}


def _neurites(tissue: _Tissue, shape: Vec3, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Instances (0 on membranes) and the distance to the membrane's middle in nm: a warped Voronoi diagram."""
    voxel = np.array(tissue.voxel_nm)
    extent = np.array(shape) * voxel
    count = max(8, int(float(np.prod(extent)) / (520 * tissue.size) ** 3 * 1.5))
    seeds = rng.uniform(-300, extent + 300, (int(count * float(np.prod((extent + 600) / extent))), 3))
    owner = np.arange(len(seeds))
    for a in range(len(seeds)):  # two thirds of the cells join their neighbour: processes, not balls
        if rng.uniform() < 0.66:
            near = np.argsort(((seeds - seeds[a]) ** 2).sum(1))[1]
            owner[owner == owner[a]] = owner[near]
    bend = 60 * tissue.size
    warp = [bend * _smooth_noise(rng, shape, tissue.voxels(400, 400, 400)) for _ in range(3)]
    grids = np.indices(shape, np.float32)
    points = np.stack([g * v + w for g, v, w in zip(grids, voxel, warp, strict=True)], -1).reshape(-1, 3)
    distance, index = cKDTree(seeds).query(points, k=4, workers=-1)
    owners = owner[index]
    other = np.where(owners[:, 1:] != owners[:, :1], distance[:, 1:], np.inf).min(1)
    gap = ((other - distance[:, 0]) / 2).reshape(shape).astype(np.float32)
    gap = np.minimum(gap, 400) - 10
    labels = np.unique(owners[:, 0], return_inverse=True)[1]
    neurons = np.where(gap > 0, labels.reshape(shape) + 1, 0).astype(np.uint16)
    return neurons, np.maximum(gap, 0)


def _mitochondria(
    tissue: _Tissue, image: np.ndarray, neurons: np.ndarray, gap_nm: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Dark ellipsoids with cristae, each inside one neurite, gathered in one half of the volume."""
    labels = np.zeros(image.shape, np.uint16)
    usual = image.size * float(np.prod(tissue.voxel_nm)) / 300_000 / 2560 / tissue.size**3
    roomy = np.argwhere(gap_nm > 110 * tissue.size)
    roomy = roomy[rng.permutation(len(roomy))]
    centres: list[np.ndarray] = []
    for spot in roomy[: 40 * max(4, int(usual))]:
        if len(centres) >= max(3, int(usual)):
            break
        wanted = 0.9 if spot[2] < 0.45 * image.shape[2] else 0.08
        far = all((((spot - c) * tissue.voxel_nm) ** 2).sum() > (520 * tissue.size) ** 2 for c in centres)
        if far and rng.uniform() < wanted:
            centres.append(spot)
    for label, spot in enumerate(centres, start=1):
        radius = tissue.voxels(*(rng.uniform([90, 90, 130], [220, 140, 260]) * tissue.size))
        own = neurons == neurons[tuple(spot)]
        body = np.zeros(image.shape, bool)
        _stamp(body, spot.astype(float), radius, lambda old, r2: old | (r2 <= 1))
        body &= own & (gap_nm > 25 * tissue.size)
        labels[body] = label
        where = np.nonzero(body)
        phase = rng.uniform(0, 6)
        y_nm, x_nm = where[1] * tissue.voxel_nm[1], where[2] * tissue.voxel_nm[2]
        image[where] = 105 + 18 * np.sin(y_nm * 0.1125 + np.sin(x_nm * 0.01875 + phase) * 2)
    flat = tissue.voxel_nm[0] > 2 * tissue.voxel_nm[1]
    rim = (ndimage.grey_erosion(labels, (1 if flat else 3, 3, 3)) == 0) & (labels > 0)
    image[rim] = 62
    return labels


def _vesicles(tissue: _Tissue, image: np.ndarray, gap_nm: np.ndarray, rng: np.random.Generator) -> None:
    spots = np.argwhere(gap_nm > 40 * tissue.size)
    hubs = int(image.size * float(np.prod(tissue.voxel_nm)) / 500_000 / 2560)
    for hub in spots[rng.integers(len(spots), size=max(2, hubs))]:
        for _ in range(40):
            spot = hub + rng.normal(0, 1, 3) * tissue.voxels(60, 112, 112)
            radius = tissue.voxels(24, 19.2, 19.2)
            _stamp(image, spot, radius, lambda old, r2: old - 45 * np.exp(-((r2 - 0.8) ** 2) * 6))

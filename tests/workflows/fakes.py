"""A cascade whose every answer is known beforehand: filters instead of networks, a calibration made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.search.rule import Head, ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration

NM = (40.0, 20.0, 20.0)
UNEQUAL = ((1, 2, 2), (2, 2, 2))
TILE: Vec3 = (4, 16, 16)
THRESHOLD = 0.5
SIGMA, RADIUS = 1.0, 2


def dense(image: np.ndarray) -> np.ndarray:
    """What the finest level answers for a whole uint8 image, as the stored map has it: round(255 p)."""
    smooth = ndimage.gaussian_filter(
        image.astype(np.float32) * np.float32(1 / 255), SIGMA, radius=RADIUS, mode="nearest"
    )
    return np.rint(np.clip(smooth, 0, 1) * 255).astype(np.uint8)


class Filter:
    """A predictor that counts its tiles."""

    def __init__(self, voxel_nm: Sequence[float], tile: Vec3 = TILE, name: str = "filter") -> None:
        z, y, x = voxel_nm
        self.card = ModelCard(
            name,
            "detect",
            (z, y, x),
            tile,
            (4, 4, 4),
            (Output("p"),),
            normalisation=Normalisation("range"),
            digest=name,
        )
        self.tiles = 0

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        self.tiles += len(np.unique(seeds))
        return {"p": np.stack([self.answer(tile[0]) for tile in batch])}

    def answer(self, tile: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Blur(Filter):
    """The finest level: a Gaussian of radius 2, within the halo of 4."""

    def answer(self, tile: np.ndarray) -> np.ndarray:
        return np.clip(ndimage.gaussian_filter(tile, SIGMA, radius=RADIUS, mode="nearest"), 0, 1)


class Brightest(Filter):
    """A perfect coarse level: on a pyramid of maxima it never answers less than `Blur` below."""

    def answer(self, tile: np.ndarray) -> np.ndarray:
        return ndimage.maximum_filter(tile, 2 * RADIUS + 1, mode="nearest")


class Always(Filter):
    """A coarse level that lets everything pass."""

    def answer(self, tile: np.ndarray) -> np.ndarray:
        return np.ones_like(tile)


class Never(Filter):
    """A coarse level that lets nothing pass."""

    def answer(self, tile: np.ndarray) -> np.ndarray:
        return np.zeros_like(tile)


def maxima(image: np.ndarray, factor: Vec3) -> np.ndarray:
    """Coarser by ``factor``, by maximum; what does not fill a voxel is dropped, as many writers of pyramids do."""
    z, y, x = (max(1, n // f) for n, f in zip(image.shape, factor, strict=True))
    fz, fy, fx = (min(f, n) for f, n in zip(factor, image.shape, strict=True))
    return image[: z * fz, : y * fy, : x * fx].reshape(z, fz, y, fy, x, fx).max(axis=(1, 3, 5))


def pyramid(image: np.ndarray, factors: Sequence[Vec3] = UNEQUAL, voxel_nm: Sequence[float] = NM) -> Volume:
    """A volume in memory, its coarser levels by maximum, all with the same corner."""
    levels, voxel = [Level(image, tuple(voxel_nm))], np.array(voxel_nm, float)
    for factor in factors:
        voxel = voxel * factor
        levels.append(Level(maxima(np.asarray(levels[-1].array), factor), tuple(voxel.tolist())))
    return Volume(tuple(levels), name="spots", source="memory", metadata={"revision": str(int(image.sum()))})


def spots(shape: Sequence[int] = (12, 70, 90), count: int = 9, seed: int = 0) -> np.ndarray:
    """Bright blobs in dim noise, uint8; some lie on tile borders and at the volume's rim."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 60, shape).astype(np.float32)
    places = np.concatenate([rng.uniform(0, shape, (count, 3)), [[4, 16, 32], np.array(shape) - 1, [0, 0, 0]]])
    for place in places:
        r2 = sum(((g - c) / r) ** 2 for g, c, r in zip(np.indices(shape), place, (1.5, 4, 4), strict=True))
        image = np.maximum(image, 255 * np.exp(-r2 / 2))
    return np.rint(image).astype(np.uint8)


def calibration(factors: Sequence[Vec3] = UNEQUAL, tops: int = 400) -> Calibration:
    """Scores so far apart that `choose_thresholds` uses every level; a quarter of the coarsest chunks hold objects."""
    branching = [int(np.prod(f)) for f in factors]
    n = [tops * int(np.prod(branching[k:])) for k in range(len(factors) + 1)]
    truth = np.zeros(n[0], bool)
    truth[:: 4 * n[0] // tops] = True
    positive, scores, parents = truth, [], []
    for k in range(len(n)):
        scores.append(np.where(positive, 0.9, 0.05))
        if k < len(factors):
            parents.append(np.repeat(np.arange(n[k + 1]), branching[k]))
            positive = positive.reshape(-1, branching[k]).any(axis=1)
    costs = tuple(1.0 for _ in n)
    return Calibration(tuple(scores), tuple(parents), truth, np.flatnonzero(truth), costs, tuple(map(float, branching)))


def cascade(
    coarse: type[Filter] = Brightest,
    factors: Sequence[Vec3] = UNEQUAL,
    *,
    head: Head = "masks",
    tile: Vec3 = TILE,
    voxel_nm: Sequence[float] = NM,
) -> Cascade:
    """`Blur` under one ``coarse`` filter per factor."""
    voxel, stages = np.array(voxel_nm, float), [Blur(voxel_nm, tile, "blur")]
    for k, factor in enumerate(factors, start=1):
        voxel = voxel * factor
        stages.append(coarse(voxel.tolist(), tile, f"{coarse.__name__}-{k}"))
    rule = ObjectRule(head, THRESHOLD, 160.0, 4)
    return Cascade("spots", tuple(stages), rule, calibration(factors))


def calls(cascade: Cascade) -> list[int]:
    """Tiles that each stage was asked for, finest first."""
    return [stage.tiles for stage in cascade.stages]


def grid(shape: Sequence[int], tile: Vec3 = TILE) -> int:
    """How many tiles cover a shape."""
    return int(np.prod([-(-n // t) for n, t in zip(shape, vec3(tile), strict=True)]))

"""Training samples for one level of a cascade: balanced, augmented, endless, seeded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.models.training.fit import Sample
from napari_connecto.workflows.cascade.training.warp import Warp, draw_warp, margin

POSITIVE, HARD = 0.5, 0.25
EMPHASIS = 2
"""Added to the weight of voxels between two objects: few, and all that keeps the objects apart."""
LOOKED_AT = 2**20
"""Voxels whose median is taken, about."""


@dataclass
class Patches:
    """Source of one stage's samples.

    Parameters
    ----------
    level
        Image, in memory, covering the training block and its halo.
    target
        uint8 (z, y, x) of ``block``: the desired output, 255 for 1.
    block
        The training block in voxels of ``level``; the loss counts only inside it.
    card
        Of the stage: tile, halo, output stride.
    hard
        Chunks the stage got wrong; drawn more often.
    known
        Boolean (z, y, x) of ``block``: where the loss counts. None: everywhere.
    between
        Boolean (z, y, x) of ``block``: where two objects are near; there is none there, and the loss counts more.
    contrast
        Greatest factor by which it is raised or lowered, see `contrast.contrast_factor`.
    warped
        Share of the crops that are turned, resized and bent if they are square, see `warp.warped_share`.
    """

    level: Level
    target: np.ndarray
    block: Box
    card: ModelCard
    scaling: Scaling
    hard: list[Box] = field(default_factory=list)
    known: np.ndarray | None = None
    between: np.ndarray | None = None
    contrast: float = 1.0
    warped: float = 0.0

    @cached_property
    def middle(self) -> np.ndarray:
        """(c, 1, 1, 1) median of the scaled image, around which contrast is changed."""
        image = np.asarray(self.level.array)
        step = max(1, round((image.size / LOOKED_AT) ** 0.5))
        image = image[..., ::step, ::step]
        return np.median(self.scaling(image if image.ndim == 4 else image[None]), axis=(1, 2, 3), keepdims=True)

    def draw(self, batch: int, seed: int) -> Iterator[Sample]:
        """Endless samples: half centred near an object, a quarter (once known) hard negatives, the rest anywhere.

        If only a part is known, the rest is drawn near that.
        """
        rng = np.random.default_rng(seed)
        positives = np.argwhere(self.target >= 128) + self.block.start
        known = None if self.known is None else np.argwhere(self.known) + self.block.start
        while True:
            parts = [self._one(rng, positives, known) for _ in range(batch)]
            image, target, weight = (np.stack([part[i] for part in parts]) for i in range(3))
            yield image, target, weight

    def _one(
        self, rng: np.random.Generator, positives: np.ndarray, known: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        start = self._start(rng, positives, known)
        tile = Box(start, vec3([a + t for a, t in zip(start, self.card.tile, strict=True)]))
        read = tile.grow(self.card.halo)
        square = read.shape[1] == read.shape[2]
        warp = draw_warp(rng, read.shape[1]) if square and rng.uniform() < self.warped else None
        around = 0 if warp is None else margin(read.shape[1])
        wide = read.grow((0, around, around))
        image = self.level.read_padded(wide)
        image = self.scaling(image if image.ndim == 4 else image[None])
        target, weight = self._answer(wide, warp)
        image = image if warp is None else warp.linear(image)
        return augment(rng, image, target, weight, square=square, middle=self.middle, contrast=self.contrast)

    def _start(self, rng: np.random.Generator, positives: np.ndarray, known: np.ndarray | None) -> Vec3:
        tile = np.array(self.card.tile)
        kind = rng.uniform()
        if kind < POSITIVE and len(positives):
            start = _near(rng, positives, tile)
        elif kind < POSITIVE + HARD and self.hard:
            start = np.array(self.hard[rng.integers(len(self.hard))].start) + rng.integers(-tile // 4, tile // 4 + 1)
        elif known is not None and len(known):
            start = _near(rng, known, tile)
        else:
            start = np.array([rng.integers(a, max(a + 1, b - t + 1)) for a, b, t in self._ranges()])
        first = np.array(self.block.start)
        return vec3(np.clip(start, first, np.maximum(first, np.array(self.block.stop) - tile)).tolist())

    def _ranges(self) -> Iterator[tuple[int, int, int]]:
        return zip(self.block.start, self.block.stop, self.card.tile, strict=True)

    def _answer(self, wide: Box, warp: Warp | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Target and weight of a crop at the output's stride, (1, z, y, x) each; of a wider one, if it is warped."""
        output = self.card.outputs[0]
        inside = wide.clip(self.block)
        to = inside.shift([-s for s in wide.start]).slices
        own = inside.shift([-s for s in self.block.start]).slices

        def shown(found: np.ndarray | bool, kind: type) -> np.ndarray:
            whole: np.ndarray = np.zeros(wide.shape, kind)
            whole[to] = found if isinstance(found, bool) else found[own]
            if warp is not None:
                whole = np.rint(warp.linear(whole)).astype(kind) if kind is np.uint8 else warp.nearest(whole)
            return whole[tuple(slice(t, n - t) for t, n in zip(output.trimmed, whole.shape, strict=True))]

        target, known = shown(self.target, np.uint8), shown(True if self.known is None else self.known, bool)
        gap = None if self.between is None else shown(self.between, bool)
        if gap is not None:
            target[gap] = 0
        cells = pool(target, output.stride)
        if self.known is None:
            weight = pool(known, output.stride)
        else:  # an unknown part of a cell may hold an object
            weight = ~pool(~known, output.stride) | (pool(np.where(known, target, 0), output.stride) >= 128)
        weight = weight.astype(np.float32)
        if gap is not None:
            weight *= 1 + EMPHASIS * pool(gap, output.stride)
        return cells[None].astype(np.float32) / 255, weight[None]


def _near(rng: np.random.Generator, voxels: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Start of a tile that contains one of these voxels (n, 3)."""
    return np.asarray(voxels[rng.integers(len(voxels))] - (tile * rng.uniform(0.1, 0.9, 3)).astype(int))


def pool(array: np.ndarray, stride: Vec3) -> np.ndarray:
    """Maximum over cells of ``stride`` voxels; the shape must be a multiple of it."""
    z, y, x = (n // s for n, s in zip(array.shape, stride, strict=True))
    return array.reshape(z, stride[0], y, stride[1], x, stride[2]).max(axis=(1, 3, 5))


def augment(
    rng: np.random.Generator,
    image: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    *,
    square: bool,
    middle: np.ndarray | float = 0.0,
    contrast: float = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Flips, quarter turns in the plane, contrast around ``middle``, brightness and noise; arrays are (c, z, y, x)."""
    arrays = [image, target, weight]
    flips = tuple(axis for axis in (1, 2, 3) if rng.uniform() < 0.5)
    arrays = [np.flip(a, flips) for a in arrays]
    if square and rng.uniform() < 0.5:
        arrays = [a.swapaxes(2, 3) for a in arrays]
    image = middle + (arrays[0] - middle) * contrast ** rng.uniform(-1, 1)
    image = image * rng.uniform(0.8, 1.25) + rng.uniform(-0.08, 0.08)
    image = image + rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(0, 0.03))
    return np.ascontiguousarray(image, np.float32), np.ascontiguousarray(arrays[1]), np.ascontiguousarray(arrays[2])

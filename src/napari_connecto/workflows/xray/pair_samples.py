"""Aligned X-ray and EM as training samples of a translator: each a function of its number, so that runs resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.models.training.fit import Sample

VALID, TRIES = 0.5, 50
"""Required share of valid voxels in a crop, and the number of draws until then."""
GAIN, OFFSET, NOISE = 0.1, 0.05, 0.02
"""Largest change of an X-ray crop's contrast and brightness, and its added noise, on the scale 0 to 1."""


@dataclass(frozen=True)
class Scene:
    """X-ray and EM on one grid, (z, y, x) float32, scaled; ``valid`` is where both are known."""

    xray: np.ndarray
    em: np.ndarray
    valid: np.ndarray

    def within(self, box: Box) -> Scene:
        """A part of the scene."""
        return Scene(*(a[box.slices] for a in (self.xray, self.em, self.valid)))


@dataclass(frozen=True)
class PairSamples:
    """Random crops, mirrored, rotated in plane where voxels are square, with jittered X-ray contrast and brightness.

    Parameters
    ----------
    scene
        The training part.
    crop
        Voxels (z, y, x), at most the scene's.
    square
        Whether voxels are as high as wide, so that quarter turns are valid.
    changed
        False: crops without augmentation.
    """

    scene: Scene
    crop: Vec3
    batch: int
    seed: int
    square: bool = True
    changed: bool = True

    def __post_init__(self) -> None:
        if any(c > n for c, n in zip(self.crop, self.scene.em.shape, strict=True)):
            raise InputError(f"got crops of {self.crop} voxels from a block of {self.scene.em.shape}; use smaller ones")
        if not self.scene.valid.any():
            raise InputError("X-ray and EM do not overlap in the training block; align or crop them")

    def from_step(self, step: int) -> Iterator[Sample]:
        """Samples number ``step``, ``step + 1``, ...; the same every time."""
        return (self.at(i) for i in count(step))

    def at(self, step: int) -> Sample:
        """One sample: (n, 1, z, y, x) X-ray, EM and weight."""
        rng = np.random.default_rng([self.seed, step])
        crops = [self._crop(rng) for _ in range(self.batch)]
        xray, em, weight = (np.stack(part)[:, None].astype(np.float32) for part in zip(*crops, strict=True))
        return xray, em, weight

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = self.scene.within(self._box(rng))
        if not self.changed:
            return part.xray, part.em, part.valid
        mirrored = tuple(axis for axis in range(3) if rng.random() < 0.5)
        turns = int(rng.integers(4)) if self.square and self.crop[1] == self.crop[2] else 0
        xray, em, valid = (np.rot90(np.flip(a, mirrored), turns, (1, 2)) for a in (part.xray, part.em, part.valid))
        gain, offset = 1 + GAIN * rng.uniform(-1, 1), OFFSET * rng.uniform(-1, 1)
        noise = rng.uniform(0, NOISE) * rng.standard_normal(xray.shape, np.float32)
        return (xray - 0.5) * gain + 0.5 + offset + noise, em, valid

    def _box(self, rng: np.random.Generator) -> Box:
        """A position with enough valid voxels; after `TRIES`, the best one drawn."""
        drawn: list[tuple[float, Box]] = []
        for _ in range(TRIES):
            shape = self.scene.em.shape
            start = vec3([int(rng.integers(n - c + 1)) for n, c in zip(shape, self.crop, strict=True)])
            box = Box(start, vec3([a + c for a, c in zip(start, self.crop, strict=True)]))
            drawn.append((float(self.scene.valid[box.slices].mean()), box))
            if drawn[-1][0] >= VALID:
                break
        return max(drawn, key=lambda d: d[0])[1]

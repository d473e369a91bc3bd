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
class Taught:
    """What a teacher makes of a scene's X-ray, on the scale of its EM: brightness and two variances, float32."""

    mean: np.ndarray
    variance: np.ndarray
    epistemic: np.ndarray


@dataclass(frozen=True)
class Scene:
    """X-ray and EM on one grid, (z, y, x) float32, scaled; ``valid`` is where both are known.

    Parameters
    ----------
    others
        X-ray of the same tissue as other microscopes see it, like ``xray``.
    membrane
        Probability of membrane in the EM, 0 to 1; None: not known.
    taught
        Answer of a teacher to ``xray``; None: there is none.
    """

    xray: np.ndarray
    em: np.ndarray
    valid: np.ndarray
    others: tuple[np.ndarray, ...] = ()
    membrane: np.ndarray | None = None
    taught: Taught | None = None

    def within(self, box: Box) -> Scene:
        """A part of the scene."""
        here = box.slices
        taught = self.taught and Taught(
            *(a[here] for a in (self.taught.mean, self.taught.variance, self.taught.epistemic))
        )
        return Scene(
            self.xray[here],
            self.em[here],
            self.valid[here],
            others=tuple(a[here] for a in self.others),
            membrane=None if self.membrane is None else self.membrane[here],
            taught=taught,
        )

    def targets(self, name: str, own: bool) -> tuple[np.ndarray, np.ndarray]:
        """What an output of a translator of this name is to be, and its weight; ``own``: for the scene's own X-ray."""
        taught = self.taught if own else None
        known = self.valid.astype(np.float32)
        if name == "mean":
            return self.em if taught is None else taught.mean, known
        if name == "log_variance":
            return np.zeros_like(self.em) if taught is None else taught.variance, known
        if name == "log_epistemic" and taught is not None:
            return np.log(np.maximum(taught.epistemic, 1e-12)), known
        if name == "membrane" and self.membrane is not None:
            return self.membrane, known
        return np.zeros_like(self.em), np.zeros_like(known)


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
        False: crops without augmentation, of the scene's own X-ray.
    outputs
        Names of the maps that are learnt, see `Scene.targets`.
    """

    scene: Scene
    crop: Vec3
    batch: int
    seed: int
    square: bool = True
    changed: bool = True
    outputs: tuple[str, ...] = ("mean",)

    def __post_init__(self) -> None:
        if any(c > n for c, n in zip(self.crop, self.scene.em.shape, strict=True)):
            raise InputError(f"got crops of {self.crop} voxels from a block of {self.scene.em.shape}; use smaller ones")
        if not self.scene.valid.any():
            raise InputError("X-ray and EM do not overlap in the training block; align or crop them")

    def from_step(self, step: int) -> Iterator[Sample]:
        """Samples number ``step``, ``step + 1``, ...; the same every time."""
        return (self.at(i) for i in count(step))

    def at(self, step: int) -> Sample:
        """One sample: (n, 1, z, y, x) X-ray, and (n, outputs, z, y, x) targets and weights."""
        rng = np.random.default_rng([self.seed, step])
        crops = [self._crop(rng) for _ in range(self.batch)]
        xray, target, weight = (np.stack(part).astype(np.float32) for part in zip(*crops, strict=True))
        return xray[:, None], target, weight

    def _crop(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        part = self.scene.within(self._box(rng))
        if not self.changed:
            return part.xray, *self._targets(part, own=True)
        mirrored = tuple(axis for axis in range(3) if rng.random() < 0.5)
        turns = int(rng.integers(4)) if self.square and self.crop[1] == self.crop[2] else 0
        number = int(rng.integers(2 * len(part.others))) - len(part.others) if part.others else -1
        xray = part.xray if number < 0 else part.others[number]
        target, weight = self._targets(part, own=number < 0)
        xray = np.rot90(np.flip(xray, mirrored), turns, (1, 2))
        target, weight = (np.rot90(np.flip(a, tuple(m + 1 for m in mirrored)), turns, (2, 3)) for a in (target, weight))
        gain, offset = 1 + GAIN * rng.uniform(-1, 1), OFFSET * rng.uniform(-1, 1)
        noise = rng.uniform(0, NOISE) * rng.standard_normal(xray.shape, np.float32)
        return (xray - 0.5) * gain + 0.5 + offset + noise, target, weight

    def _targets(self, part: Scene, own: bool) -> tuple[np.ndarray, np.ndarray]:
        """Stacked, (outputs, z, y, x)."""
        both = [part.targets(name, own) for name in self.outputs]
        return np.stack([t for t, _ in both]), np.stack([w for _, w in both])

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

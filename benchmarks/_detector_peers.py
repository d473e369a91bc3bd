"""What a user would do without this package: threshold and watershed, a pixel forest, a U-Net.

Each is trained on a part of the training images and chosen (resolution, threshold, splitting, least size) on the rest
of them, within the given CPU seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from _detector_data import Data, Scene
from _detector_objects import Rule, best_threshold, choose_rule, objects, typical_radius
from scipy import ndimage
from skimage.filters import threshold_otsu
from skimage.transform import resize

HELD_OUT = 0.35
"""Share of the training images that the choices are made on; that of `TrainParams.validation`."""
FEW = 4
"""Sections below which every one of them is in both parts."""
CHOOSING = 1_700_000
"""Voxels at most to choose by."""
CHOSEN = 0.8
"""Share of the budget after which no other way is tried."""
Evidence = Callable[[np.ndarray], np.ndarray]
"""Image (c, z, y, x) to a map (z, y, x), higher on objects."""


@dataclass(frozen=True)
class Peer:
    """A trained method: a map, and the rule that makes objects of it."""

    evidence: Evidence
    rule: Rule
    radius: float
    data: Data
    chosen: str

    def __call__(self, scene: Scene) -> np.ndarray:
        return objects(self.evidence(scene.image), self.rule, self.data, self.radius)


class Clock:
    """CPU seconds of this process since the start, against a budget."""

    def __init__(self, budget_s: float) -> None:
        self.started, self.budget_s = time.process_time(), budget_s

    def used(self) -> float:
        """Share of the budget."""
        return (time.process_time() - self.started) / self.budget_s


def halves(scene: Scene) -> tuple[Scene, Scene]:
    """A part to fit and a part to choose by: later sections, or the lower rows where there are fewer than `FEW`."""
    depth, height, width = scene.truth.shape
    if depth < FEW:
        cut = round(height * (1 - HELD_OUT))
        return scene.part(slice(None), slice(0, cut)), scene.part(slice(None), slice(cut, None))
    cut = depth - round(depth * HELD_OUT)
    few = max(1, min(depth - cut, CHOOSING // (height * width)))
    return scene.part(slice(0, cut)), scene.part(slice(depth - few, None))


def best_of(scene: Scene, held_out: Scene, data: Data, ways: Iterator[tuple[str, Evidence]], clock: Clock) -> Peer:
    """Of the ways that the budget allows, the two of best Dice on the held-out part; of these the best by rule."""
    tried = []
    for name, evidence in ways:
        answer = evidence(held_out.image)
        tried.append((best_threshold(answer, held_out)[2], name, evidence, answer))
        tried = sorted(tried, key=lambda way: -way[0])[:2]
        if clock.used() > CHOSEN:
            break
    ruled = [(*choose_rule(answer, held_out, data), name, evidence) for _, name, evidence, answer in tried]
    rule, _, name, evidence = max(ruled, key=lambda way: way[1])
    return Peer(evidence, rule, typical_radius(scene.truth, data), data, f"{name}, {rule}")


def averaged(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares within the sections of (c, z, y, x); the last square repeats the border."""
    padded = np.pad(image, ((0, 0), (0, 0), *((0, -n % factor) for n in image.shape[2:])), mode="edge")
    c, z, y, x = padded.shape
    return padded.reshape(c, z, y // factor, factor, x // factor, factor).mean(axis=(3, 5), dtype=np.float32)


def restored(evidence: np.ndarray, factor: int, shape: tuple[int, ...]) -> np.ndarray:
    """A map on the image's own grid of ``shape`` (z, y, x), linear within the sections."""
    if factor == 1:
        return evidence
    y, x = (n * factor for n in evidence.shape[1:])
    return np.stack([resize(plane, (y, x), order=1, mode="edge")[: shape[1], : shape[2]] for plane in evidence])


def scaled(image: np.ndarray) -> np.ndarray:
    """Each channel from its first to its 99.5th percentile."""
    image = image.astype(np.float32)
    low, high = (np.percentile(image, q, axis=(1, 2, 3), keepdims=True) for q in (1, 99.5))
    return (image - low) / np.maximum(high - low, 1e-6)


def classical(scene: Scene, data: Data, budget_s: float, seed: int) -> Peer:
    """Otsu's threshold, a local threshold or a Laplacian of Gaussian; the best of them by the training images."""
    clock = Clock(budget_s)
    _, held_out = halves(scene)
    radius = typical_radius(scene.truth, data) / data.voxel_nm[1]
    return best_of(scene, held_out, data, _textbook(data, radius, len(scene.image)), clock)


def _textbook(data: Data, radius: float, channels: int) -> Iterator[tuple[str, Evidence]]:
    smoothings = [s for s in (1.0, 2.0, 4.0) if s <= max(1.0, radius / 2)]
    for sign, channel in ((s, c) for s in (1, -1) for c in range(channels)):
        where = f"{'bright' if sign > 0 else 'dark'}{f', channel {channel}' if channels > 1 else ''}"
        for sigma in smoothings:
            yield f"Otsu, {where}, sigma {sigma:g}", _Otsu(sign, channel, sigma, data.patch)
            yield f"local, {where}, sigma {sigma:g}", _Local(sign, channel, sigma, 4 * radius)
        yield f"LoG, {where}", _Local(sign, channel, radius / 2**0.5, 1.6 * radius / 2**0.5)


@dataclass(frozen=True)
class _Otsu:
    """Grey values in units of Otsu's threshold of their image, or of their patch of a mosaic."""

    sign: int
    channel: int
    sigma: float
    patch: int | None

    def __call__(self, image: np.ndarray) -> np.ndarray:
        out = _smooth(self.sign * image[self.channel].astype(np.float32), self.sigma)
        side = self.patch or max(out.shape)
        for plane in out:
            for y in range(0, plane.shape[0], side):
                for x in range(0, plane.shape[1], side):
                    here = plane[y : y + side, x : x + side]
                    here -= threshold_otsu(here) if here.min() < here.max() else here.max()
                    here /= max(float(here.std()), 1e-6)
        return out


@dataclass(frozen=True)
class _Local:
    """Grey values above those around, by two Gaussians: a local threshold, or nearly a Laplacian of Gaussian."""

    sign: int
    channel: int
    sigma: float
    around: float

    def __call__(self, image: np.ndarray) -> np.ndarray:
        image = self.sign * image[self.channel].astype(np.float32)
        return _smooth(image, self.sigma) - _smooth(image, self.around)


def _smooth(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (0, sigma, sigma))

"""A random forest on multiscale features of pixels, as in ilastik or Labkit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from _detector_data import Data, Scene
from _detector_peers import Clock, Peer, averaged, best_of, halves, restored, scaled
from skimage.feature import multiscale_basic_features

try:
    from sklearn.ensemble import RandomForestClassifier
except ImportError:
    RandomForestClassifier = None

FACTORS = (4, 2, 1)
TREES, LEAF, PIXELS, PIXELS_A_TREE = 60, 4, 40_000, 8_000
"""Trees, least pixels of a leaf, pixels to learn from, half of them on objects, and pixels that each tree sees."""
AREA = 1_500_000
"""Pixels whose features are computed, about, but at least a section."""


def forest(scene: Scene, data: Data, budget_s: float, seed: int) -> Peer:
    """Intensity, edges and texture at scales of 1 to 16 pixels; at the best of three resolutions."""
    if RandomForestClassifier is None:
        raise ImportError("the random forest needs scikit-learn: pip install scikit-learn")
    clock = Clock(budget_s)
    fitting, held_out = halves(scene)
    return best_of(scene, held_out, data, _forests(fitting, seed, clock), clock)


def _forests(scene: Scene, seed: int, clock: Clock) -> Iterator[tuple[str, _Forest]]:
    """The finest resolution comes last, which is dear, and only if half of the budget is left."""
    rng = np.random.default_rng(seed)
    for factor in FACTORS:
        if min(scene.truth.shape[1:]) < 24 * factor or (factor == 1 and clock.used() > 0.5):
            continue
        features, inside = _sampled(scene, factor, rng)
        trees = RandomForestClassifier(
            TREES, min_samples_leaf=LEAF, max_samples=min(1.0, PIXELS_A_TREE / len(inside)), random_state=seed
        )
        yield f"averaged {factor} x {factor}", _Forest(trees.fit(features, inside), factor)


def _sampled(scene: Scene, factor: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features and classes of pixels, half of them on objects, from as many sections as `AREA` allows."""
    image = scaled(averaged(scene.image, factor))
    truth = averaged((scene.truth > 0)[None], factor)[0] >= 0.5
    known = np.ones_like(truth) if scene.known is None else averaged(scene.known[None], factor)[0] > 0.5
    planes = rng.permutation(len(truth))[: max(1, AREA // truth[0].size)]
    rows, classes = [], []
    for z in planes:
        features = _features(image[:, z])
        for value in (False, True):
            at = np.flatnonzero((truth[z] == value) & known[z])
            at = rng.choice(at, min(len(at), PIXELS // 2 // len(planes)), replace=False)
            rows.append(features.reshape(-1, features.shape[-1])[at])
            classes.append(np.full(len(at), value))
    return np.concatenate(rows), np.concatenate(classes)


def _features(plane: np.ndarray) -> np.ndarray:
    """(c, y, x) to (y, x, features)."""
    return multiscale_basic_features(plane, sigma_min=1, sigma_max=16, channel_axis=0, workers=1)


@dataclass(frozen=True)
class _Forest:
    trees: object
    factor: int

    def __call__(self, image: np.ndarray) -> np.ndarray:
        coarse = scaled(averaged(image, self.factor))
        planes = []
        for z in range(coarse.shape[1]):
            features = _features(coarse[:, z])
            answer = self.trees.predict_proba(features.reshape(-1, features.shape[-1]))[:, 1]  # type: ignore[attr-defined]
            planes.append(answer.reshape(features.shape[:2]))
        return restored(np.stack(planes).astype(np.float32), self.factor, image.shape[1:])

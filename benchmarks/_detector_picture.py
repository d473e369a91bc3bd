"""A picture of an answer: outlines of found objects in red, of true ones in green, of both in yellow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _detector_data import Scene
from skimage.io import imsave
from skimage.segmentation import find_boundaries

SIDE = 768
"""Pixels shown at most, of the middle section's corner."""


def picture(path: Path, scene: Scene, found: np.ndarray) -> None:
    """Write a PNG."""
    here = (len(found) // 2, slice(0, SIDE), slice(0, SIDE))
    grey = scene.image[(slice(None), *here)].max(axis=0).astype(np.float32)
    low, high = np.percentile(grey, (1, 99.5))
    shade = np.clip((grey - low) / max(float(high - low), 1e-6), 0, 1)
    out = np.rint(np.stack([shade] * 3, axis=-1) * 200).astype(np.uint8)
    red, green = (find_boundaries(labels[here], mode="inner") for labels in (found, scene.truth))
    out[red | green] = 0
    out[red, 0], out[green, 1] = 255, 255
    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, out, check_contrast=False)

"""Real images with truth, each in a part to learn from and a part to report on.

What is made is said: the scene of nuclei is a mosaic, real patches on an empty canvas.
"""

from __future__ import annotations

import os
from pathlib import Path

import cc3d
import h5py
import numpy as np

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("NAPARI_CONNECTO_DATA", HERE.parent / "../shared/data")).resolve()
CACHE = HERE / "cache"


def nuclei_mosaic(part: str, side: int, coverage: float) -> tuple[np.ndarray, np.ndarray]:
    """Image and instances (1, y, x): 256 x 256 parts of the fluorescence images on a dark canvas.

    Even images train, odd ones test. The canvas is ``side`` wide, three quarters of it to train, and ``coverage`` is
    the share of it that images fill.
    """
    rng = np.random.default_rng(0 if part == "train" else 1)
    side = side * 3 // 4 if part == "train" else side
    cells = [(y, x) for y in range(0, side - 255, 256) for x in range(0, side - 255, 256)]
    spots = rng.permutation(len(cells))[: round(coverage * len(cells))]
    image, truth, count, spreads = np.zeros((side, side), np.float32), np.zeros((side, side), np.uint32), 0, []
    filled = np.zeros((side, side), bool)
    with h5py.File(DATA / "dsb2018_fluorescence/nuclei.h5") as file:
        names = sorted(file)[0 if part == "train" else 1 :: 2]
        for spot, name in zip(spots, rng.permutation(names), strict=False):
            picture, ids = _window(file[name]["image"][...], file[name]["nuclei"][...], rng)
            dark = picture[ids == 0]
            low = float(np.median(dark))
            spreads.append(1.4826 * float(np.median(np.abs(dark - low))))
            y, x = cells[spot]
            here = (slice(y, y + picture.shape[0]), slice(x, x + picture.shape[1]))
            image[here], filled[here] = picture - low, True
            truth[here] = np.where(ids > 0, ids.astype(np.uint32) + count, 0)
            count += int(ids.max())
    noise = rng.standard_normal(image.shape, np.float32) * max(1.0, float(np.median(spreads)))
    image = np.clip(np.rint(np.where(filled, image, noise) + 10), 0, 255).astype(np.uint8)
    return image[None], truth[None]


def _window(picture: np.ndarray, ids: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = (int(rng.integers(0, max(1, n - 255))) for n in picture.shape)
    here = (slice(y, y + 256), slice(x, x + 256))
    return picture[here].astype(np.float32), ids[here]


def per_section(mask: np.ndarray) -> np.ndarray:
    """Connected parts of each section by itself, numbered on."""
    out, count = np.zeros(mask.shape, np.uint32), 0
    for z, plane in enumerate(mask):
        labels = cc3d.connected_components(plane > 0, connectivity=8).astype(np.uint32)
        out[z] = np.where(labels > 0, labels + count, 0)
        count += int(labels.max())
    return out

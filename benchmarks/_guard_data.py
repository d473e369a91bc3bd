"""Fluorescent nuclei (Data Science Bowl 2018, CC0) and a small model of them, for the guard of masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import h5py
import numpy as np
from _em_data import DATA

import napari_connecto as nc
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit

Pairs = list[tuple[np.ndarray, np.ndarray]]
SEED, STEPS, BATCH, SIDE = 3, 300, 4, 160
CARD = ModelCard(
    "nuclei",
    "detect",
    (500.0, 500.0, 500.0),
    (1, 256, 256),
    (0, 16, 16),
    (Output("foreground"),),
    normalisation=Normalisation("percentile", 1.0, 99.8),
    network={"kind": "unet", "dims": 2, "width": 8, "depth": 4},
    training="Data Science Bowl 2018, stage 1, images of 256 x 256",
    licence="CC0",
)


def nuclei() -> dict[str, Pairs]:
    """Images (y, x) and nuclei, by the longer side of the image, in the order of their ids."""
    found: dict[str, Pairs] = {}
    with h5py.File(DATA / "dsb2018_fluorescence/nuclei.h5") as file:
        for name in sorted(file):
            image, truth = (np.asarray(file[name][key]) for key in ("image", "nuclei"))
            image = image[..., :3].mean(-1).astype(np.uint8) if image.ndim == 3 else image
            found.setdefault(str(max(image.shape)), []).append((image, truth.astype(np.uint32)))
    return {size: pairs for size, pairs in found.items() if len(pairs) >= 6}


def nuclei_model(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> TorchPredictor:
    """A U-Net trained on them."""
    scaled = []
    for image, truth in pairs:
        scaling = CARD.normalisation.resolve(nc.Volume.from_array(image, CARD.voxel_nm))
        scaled.append((scaling(image), (truth > 0).astype(np.float32)))

    def samples(step: int) -> Iterator[Sample]:
        return (sample(i) for i in count(step))

    def sample(step: int) -> Sample:
        rng = np.random.default_rng([SEED, step])
        parts = []
        for k in rng.integers(len(scaled), size=BATCH):
            at = [int(rng.integers(n - SIDE + 1)) for n in scaled[k][0].shape]
            turn = int(rng.integers(4))
            here = tuple(slice(a, a + SIDE) for a in at)
            parts.append([np.rot90(a[here], turn)[None, None] for a in scaled[k]])
        image, target = (np.stack(a).astype(np.float32) for a in zip(*parts, strict=True))
        return image, target, np.ones_like(target)

    return nc.run(fit(new_model(CARD, SEED, device="cpu"), samples, FitParams(steps=STEPS, learning_rate=3e-3)))

"""Bright discs a few voxels apart, a small network that finds them, and a guard of that network: learnt in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import numpy as np

from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.workflows.inspect.guard.fit import fit_guard
from napari_connecto.workflows.inspect.guard.params import GuardParams

NM = (40.0, 8.0, 8.0)
SPACING, RADIUS = 30, 13
CARD = ModelCard(
    "discs",
    "detect",
    NM,
    (1, 64, 64),
    (0, 8, 8),
    (Output("foreground"),),
    normalisation=Normalisation("range"),
    network={"kind": "unet", "dims": 2, "width": 4, "depth": 2},
)


def scene(seed: int, side: int = 256) -> tuple[np.ndarray, np.ndarray]:
    """Image and discs (1, side, side), each disc with its own number."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((side, side))
    discs = np.zeros((side, side), np.uint16)
    for n, (y, x) in enumerate(np.ndindex(side // SPACING, side // SPACING), 1):
        centre = (np.array([y, x]) + 0.5) * SPACING + rng.uniform(-1, 1, 2)
        discs[np.hypot(rows - centre[0], columns - centre[1]) <= RADIUS] = n
    image = np.where(discs > 0, 190, 60) + rng.normal(0, 8, discs.shape)
    return np.clip(image, 0, 255).astype(np.uint8)[None], discs[None]


def volume(array: np.ndarray, name: str) -> Volume:
    """With the voxels of the model."""
    return Volume.from_array(array, NM, name=name)


def make(folder: Path) -> None:
    """The network and its guard."""
    image, discs = scene(1)
    scaled = CARD.normalisation.resolve(volume(image, "discs"))(image)

    def samples(step: int) -> Iterator[Sample]:
        for k in count(step):
            y, x = np.random.default_rng(k).integers(0, 256 - 64, 2)
            here = (slice(None), slice(y, y + 64), slice(x, x + 64))
            target = (discs[here] > 0).astype(np.float32)[None, None]
            yield scaled[here][None, None].astype(np.float32), target, np.ones_like(target)

    model = run(fit(new_model(CARD, 0, device="cpu"), samples, FitParams(steps=60, learning_rate=1e-2)))
    save_model(model, folder)
    model = load_model(folder, device="cpu", backend="torch")
    params = GuardParams(scenes=16, pairs=160, steps=120, tiles=40, false_alarm=0.2, width=8)
    fit_guard(model, [scene(2)], params, held_out=[scene(3)]).save(folder)

"""An encoder from published weights against the same from random ones and the small U-Net, in the same CPU time.

``OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/encoders.py [SECONDS [SEEDS]]`` needs the real data and the package
of the extra ``pretrained``. Objects are the mitochondria of EPFL's CA1 at 20 nm. Networks train on the sections below
50 (z, of 5 nm) and are scored on those from 61 to 91; the part on which cascades are reported is left alone. One line
per network and seed: training steps, and Dice at the threshold that is best on the training sections.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import tifffile

from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.models.files import new_model
from napari_connecto.models.pretrained.start import pretrained_model
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.workflows.cascade.training.samples import augment

DATA = Path(os.environ.get("NAPARI_CONNECTO_DATA", "../shared/data"))
FACTOR, TILE, HALO, BATCH = 4, 64, 16, 4
SMALL = {"kind": "unet", "dims": 2, "width": 8, "depth": 3}
TRIED = 6
"""Steps that are timed and thrown away."""


LITE = {"kind": "smp", "encoder": "tu-tf_efficientnet_lite0", "depth": 3}
NETWORKS = {"small": (SMALL, ""), "lite0, pretrained": (LITE, "imagenet"), "lite0, random": (LITE, "")}
RATE = 1e-2
"""Of training a cascade."""


def sections(low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Images in 0..1 and masks, (n, y, x), averaged to 20 nm."""
    at = np.array(json.loads((DATA / "epfl_ca1/slice_z.json").read_text()))
    here = (at >= low) & (at < high)
    image, mask = (tifffile.imread(DATA / f"epfl_ca1/{n}.tif")[here] for n in ("image", "mitochondrion"))
    n, height, width = image.shape
    cells = (n, height // FACTOR, FACTOR, width // FACTOR, FACTOR)
    low_grey, high_grey = np.percentile(image, [1, 99.5])
    small = image.reshape(cells).mean((2, 4), dtype=np.float32)
    share = (mask > 0).reshape(cells).mean((2, 4), dtype=np.float32)
    return (small - low_grey) / (high_grey - low_grey), share


def samples(image: np.ndarray, target: np.ndarray, seed: int) -> Iterator[Sample]:
    """Batches of patches, half of them around an object."""
    rng, read = np.random.default_rng(seed), TILE + 2 * HALO
    objects = np.argwhere(target > 0.5)
    while True:
        batch = []
        for _ in range(BATCH):
            n, *at = objects[rng.integers(len(objects))] if rng.uniform() < 0.5 else rng.integers(0, image.shape)
            y, x = (int(np.clip(a - read // 2, 0, m - read)) for a, m in zip(at, image.shape[1:], strict=True))
            here = slice(n, n + 1), slice(y, y + read), slice(x, x + read)
            whole = np.ones((1, 1, read, read), np.float32)
            batch.append(augment(rng, image[here][None], target[here][None], whole, square=True))
        yield tuple(np.stack(parts) for parts in zip(*batch, strict=True))  # type: ignore[misc]


def answers(model: Predictor, image: np.ndarray) -> np.ndarray:
    """Probability of every pixel; sections are reflected to multiples of the tile."""
    height, width = image.shape[1:]
    grown = [(HALO, HALO + -n % TILE) for n in (height, width)]
    out = []
    for section in image:
        padded = np.pad(section, grown, mode="reflect")[None, None, None].astype(np.float32)
        answer = model(padded, [0])["foreground"][0, 0]
        out.append(answer[HALO : HALO + height, HALO : HALO + width])
    return np.stack(out)


def dice(answer: np.ndarray, target: np.ndarray, threshold: float) -> float:
    found, true = answer > threshold, target > 0.5
    return float(2 * (found & true).sum() / max(1, found.sum() + true.sum()))


def trained(name: str, seconds: float, seed: int, image: np.ndarray, target: np.ndarray) -> tuple[Predictor, int]:
    """As many steps as fit into this CPU time, by a few that are timed."""
    network, weights = NETWORKS[name]
    tile, halo = (1, TILE, TILE), (0, HALO, HALO)
    card = ModelCard(name, "detect", (5, 20, 20), tile, halo, (Output("foreground"),), network=network)
    begin = partial(pretrained_model, wanted=weights, device="cpu") if weights else partial(new_model, device="cpu")
    model = begin(card, seed)
    started = 0.0
    for _ in fit(model, samples(image, target, seed), FitParams(steps=TRIED + 1)):
        started = started or time.process_time()
    steps = max(10, int(seconds * TRIED / (time.process_time() - started)))
    return run(fit(model, samples(image, target, seed), FitParams(steps=steps, learning_rate=RATE))), steps


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    seeds = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    train, held_out = sections(0, 50), sections(61, 92)
    print(f"{seconds:g} CPU seconds each; {len(train[0])} sections to train, {len(held_out[0])} held out", flush=True)
    for seed in range(seeds):
        for name in NETWORKS:
            begun = time.process_time()
            model, steps = trained(name, seconds, seed, *train)
            spent = time.process_time() - begun
            known = answers(model, train[0])
            best = max(np.arange(0.1, 0.95, 0.05), key=lambda t: dice(known, train[1], t))
            begun = time.process_time()
            found = answers(model, held_out[0])
            cost = (time.process_time() - begun) / len(found)
            print(
                f"seed {seed}, {name}: {steps} steps, {spent:.0f} s; Dice {dice(found, held_out[1], best):.3f} "
                f"at {best:.2f}, {dice(found, held_out[1], 0.5):.3f} at 0.5; {cost:.3f} s a section",
                flush=True,
            )


if __name__ == "__main__":
    main()

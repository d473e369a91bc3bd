"""When, where and from which size on a membrane network knows mitochondria: `python benchmarks/emergence.py`.

Trains small U-Nets on membranes alone, keeps checkpoints, and reads membranes and mitochondria from every stage. What
is finished is kept in benchmarks/cache/emergence, so that a run that was stopped goes on. ``--report`` prints the
tables of what there is and draws docs/images/emergence.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from _emergence_report import report
from _real_data import CACHE, DATA

import napari_connecto as nc
from napari_connecto.core.metrics import dice
from napari_connecto.core.model import ModelCard, Normalisation, Output, Predictor
from napari_connecto.models.files import load_model, new_model, save_model
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.workflows.shared.em_labels import boundary_target, to_em
from napari_connecto.workflows.shared.whole import boundary_of

PLACE = CACHE / "emergence"
STEPS = (10, 20, 30, 40, 60, 80, 100, 140, 180, 240, 300, 400, 500)
WIDTHS, WIDTH, SEEDS = (2, 4, 8, 16), 8, (0, 1, 2)
CROP, BATCH = 96, 4
PARAMS = nc.ConceptParams(pixels=8_000, sections=4, block=64, gap=8, autoencoder=False, ablation=False, untrained=3)
FULL = replace(PARAMS, autoencoder=True, ablation=True, untrained=1)
TILE, SMALL_TILE = (1, 512, 512), (1, 128, 128)


@dataclass(frozen=True)
class Scene:
    """An image, where its membranes and mitochondria are, and the sections to learn from and to read."""

    image: np.ndarray
    membranes: np.ndarray
    mitochondria: np.ndarray
    voxel_nm: tuple[float, float, float]
    learn: slice
    read: slice

    def volume(self) -> nc.Volume:
        """The sections to read."""
        return nc.Volume.from_array(self.image[self.read], self.voxel_nm)

    def masks(self) -> dict[str, np.ndarray]:
        """On the sections to read."""
        return {"membranes": self.membranes[self.read], "mitochondria": self.mitochondria[self.read]}


def isbi() -> Scene:
    """ISBI 2012: sections 0-17 to learn from, 20-29 to read."""
    image, membranes, mitochondria = (
        tifffile.imread(DATA / f"isbi2012/{name}.tif") for name in ("image", "membrane", "mitochondria")
    )
    return Scene(image, membranes > 0, mitochondria > 0, (50.0, 4.0, 4.0), slice(0, 18), slice(20, 30))


def synthetic() -> Scene:
    """The phantom "neuropil": sections 0-13 to learn from, 18-27 to read."""
    made = nc.phantom("neuropil", (28, 512, 512), seed=5)
    neurons, mitochondria = (np.asarray(made.truth[name].levels[0].array) for name in ("neurons", "mitochondria"))
    membranes = boundary_target(to_em(neurons, "instances"))[0] > 0
    image = np.asarray(made.image.levels[0].array)
    return Scene(image, membranes, mitochondria > 0, (40.0, 8.0, 8.0), slice(0, 14), slice(18, 28))


SCENES = {"isbi2012": isbi, "phantom": synthetic}


def card(scene: Scene, width: int) -> ModelCard:
    """A 2-D U-Net of four levels."""
    return ModelCard(
        f"membranes-{width}",
        "boundary",
        scene.voxel_nm,
        (1, 192, 192),
        (0, 32, 32),
        (Output("boundary"),),
        normalisation=Normalisation("percentile", 1, 99),
        network={"kind": "unet", "dims": 2, "width": width, "depth": 4},
    )


def samples(scene: Scene, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Random crops of the sections to learn from, flipped and turned; targets are membranes."""
    rng = np.random.default_rng(seed)
    scale = Normalisation("percentile", 1, 99).resolve(nc.Volume.from_array(scene.image, scene.voxel_nm))
    image, truth = scale(scene.image[scene.learn]), scene.membranes[scene.learn]
    while True:
        crops = []
        for _ in range(BATCH):
            z, y, x = (int(rng.integers(0, n - c + 1)) for n, c in zip(image.shape, (1, CROP, CROP), strict=True))
            here = (slice(z, z + 1), slice(y, y + CROP), slice(x, x + CROP))
            turns, flip = int(rng.integers(4)), bool(rng.integers(2))
            pair = [np.rot90(a[here].astype(np.float32), turns, (1, 2)) for a in (image, truth)]
            crops.append([np.flip(a, 2) if flip else a for a in pair])
        batch, target = (np.stack([c[i] for c in crops])[:, None] for i in (0, 1))
        yield batch, target, np.ones_like(target)


def path_of(name: str, width: int, seed: int, step: int) -> Path:
    """Folder of a checkpoint."""
    return PLACE / name / f"width-{width}-seed-{seed}" / f"step-{step}"


def trained(name: str, scene: Scene, width: int, seed: int) -> dict[int, Predictor]:
    """Checkpoints of one training by step; of other widths than `WIDTH` the last alone."""
    wanted = STEPS if width == WIDTH else STEPS[-1:]
    if not (path_of(name, width, seed, STEPS[-1]) / "card.json").exists():
        reached = iter(range(10, STEPS[-1] + 1, 10))

        def keep(model: Predictor) -> float:
            step = next(reached)
            if step in wanted:
                save_model(model, path_of(name, width, seed, step), overwrite=True)
            return float(step)  # the last is the best

        start = new_model(card(scene, width), seed, device="cpu")
        params = FitParams(steps=STEPS[-1], validate_every=10, learning_rate=3e-3)
        nc.run(fit(start, samples(scene, seed), params, validate=keep))
    folders = {step: path_of(name, width, seed, step) for step in wanted}
    return {step: load_model(f, device="cpu", backend="torch", tile=TILE) for step, f in folders.items()}


def quality(scene: Scene, model: Predictor) -> float:
    """Dice of the membranes on the sections to read."""
    volume = scene.volume()
    scaled = model.card.normalisation.resolve(volume)(np.asarray(volume.levels[0].array))
    return dice(boundary_of(model, scaled) > 0.5, scene.masks()["membranes"])


def kept(path: Path, make: Any) -> dict[str, Any]:
    """JSON of a file, made where it is missing."""
    if not path.exists():
        found = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found))
        print(path.relative_to(PLACE), flush=True)
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def run_scene(name: str, seed: int, kinds: Sequence[str]) -> None:
    """What is asked for of one scene and seed."""
    scene = SCENES[name]()
    steps = trained(name, scene, WIDTH, seed)
    last = {STEPS[-1]: steps[STEPS[-1]]}

    def read(models: Any, params: nc.ConceptParams, sizes: Any = None) -> dict[str, Any]:
        found = nc.concepts(models, scene.volume(), scene.masks(), replace(params, seed=seed), sizes=sizes)
        return found.to_json()

    if "time" in kinds:
        kept(PLACE / name / f"time-{seed}.json", lambda: read(steps, PARAMS))
    if "full" in kinds:
        small = load_model(path_of(name, WIDTH, seed, STEPS[-1]), device="cpu", backend="torch", tile=SMALL_TILE)
        kept(PLACE / name / f"full-{seed}.json", lambda: read(small, FULL))
    if "scale" in kinds:
        sizes = {width: trained(name, scene, width, seed)[STEPS[-1]] for width in WIDTHS}
        kept(PLACE / name / f"dice-{seed}.json", lambda: {str(w): quality(scene, m) for w, m in sizes.items()})
        kept(PLACE / name / f"scale-{seed}.json", lambda: read(last, PARAMS, sizes))


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", nargs="*", help="default: isbi2012 and phantom")
    parser.add_argument("--seeds", type=int, nargs="*", default=SEEDS)
    parser.add_argument("--kinds", nargs="*", default=("time", "full", "scale"))
    parser.add_argument("--report", action="store_true", help="tables and figure of what there is")
    asked = parser.parse_args()
    if asked.report:
        report(PLACE, Path(__file__).parents[1] / "docs/images/emergence.png")
        return
    for seed in asked.seeds:
        for name in asked.scenes or SCENES:
            run_scene(name, seed, asked.kinds)


if __name__ == "__main__":
    main()

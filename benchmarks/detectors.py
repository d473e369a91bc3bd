"""Trained cascades against what a user would otherwise do: ``python benchmarks/detectors.py [--budget 300]``.

Every method learns from the same labels for the same CPU seconds, on one thread. Each run is a line of
``benchmarks/cache/detectors.jsonl``, so a second start goes on where the first ended; ``--table`` prints the lines that
are there. ``benchmarks/cache/detectors`` holds a picture of each answer. Real data are looked for beside the project
(NAPARI_CONNECTO_DATA says where else).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial, reduce
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from _detector_data import DATASETS, Data, Scene
from _detector_forest import forest
from _detector_objects import Score, score, typical_radius
from _detector_peers import classical
from _detector_picture import picture
from _detector_table import table
from _detector_unet import unet
from _real_data import CACHE, DATA

import napari_connecto as nc
from napari_connecto.workflows.cascade.training import stage

LINES, PICTURES = CACHE / "detectors.jsonl", CACHE / "detectors"
Method = Callable[[Scene, Data, float, int], Any]


def main() -> None:
    """Measure what is missing, then print the table."""
    asked = _asked()
    if asked.table:
        table(_lines(), asked.budget)
        return
    if not DATA.is_dir():
        raise SystemExit("no real data: set NAPARI_CONNECTO_DATA to its folder")
    torch.set_num_threads(1)
    for seed in range(asked.seeds):
        for name in DATASETS:
            for method in METHODS:
                if asked.only in name and method in asked.methods:
                    _measure_missing(name, method, asked.budget, seed, asked.fresh)
    table(_lines(), asked.budget)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="datasets whose name holds this")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    budgets = [int(budget.seconds) for budget in stage.BUDGETS.values()]
    parser.add_argument("--budget", type=int, default=budgets[0], choices=budgets, help="CPU seconds to learn")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="measure again what was measured with an older commit")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    return parser.parse_args()


def _measure_missing(name: str, method: str, budget_s: float, seed: int, fresh: bool) -> None:
    key = {"data": name, "method": method, "budget_s": budget_s, "seed": seed}
    commit = _commit()
    for line in _lines():
        if key.items() <= line.items() and (line["commit"] == commit or not fresh):
            return
    try:
        rows = measure(name, method, budget_s, seed)
    except (nc.ConnectoError, ImportError) as error:
        rows = [{"error": str(error)}]
    LINES.parent.mkdir(parents=True, exist_ok=True)
    for row in rows:
        with LINES.open("a") as file:
            file.write(json.dumps(key | row | {"commit": commit}) + "\n")
        print(key, {k: round(v, 3) if isinstance(v, float) else v for k, v in row.items()}, flush=True)


def _lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in LINES.read_text().splitlines()] if LINES.exists() else []


def _commit() -> str:
    """Of the code that is measured; "+" if files were changed since."""
    here = Path(__file__).parent.parent
    told = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=here, capture_output=True, text=True)
    return told.stdout.strip()


def measure(name: str, method: str, budget_s: float, seed: int) -> list[dict[str, Any]]:
    """Train on one part, report on the other, with CPU seconds of each; a cascade also without its gates."""
    data = DATASETS[name]
    (scene,), started = data.read("train"), time.process_time()
    trained = METHODS[method](scene, data, budget_s, seed)
    row = {"train_s": time.process_time() - started, "chosen": trained.chosen}
    ways = {method: trained}
    if method == "cascade":
        ways["exhaustive"] = trained.exhaustive()
    return [
        {"method": way} | row | _reported(answer, data, PICTURES / f"{name}-{way}-{budget_s}-{seed}.png")
        for way, answer in ways.items()
    ]


def _reported(trained: Callable[[Scene], np.ndarray], data: Data, drawn: Path) -> dict[str, float]:
    """Scores of the part to report on, objects and voxels of several images added up."""
    scores, search_s = [], 0.0
    for scene in data.read("test"):
        started = time.process_time()
        found = trained(scene)
        search_s += time.process_time() - started
        scores.append(score(found, scene, data))
        picture(drawn, scene, found)
    return reduce(Score.__add__, scores).to_json() | {"search_s": search_s}


@dataclass(frozen=True)
class _Cascade:
    """`nc.detect` as it is, without audit."""

    cascade: nc.Cascade
    data: Data
    params: nc.DetectParams

    def __call__(self, scene: Scene) -> np.ndarray:
        if self.cascade.cards[0].channels == 1:
            scene = scene.grey()
        image, _ = scene.volumes(self.data.voxel_nm, "report")
        labels = nc.detect(image, self.cascade, self.params).labels
        assert labels is not None  # the default head draws masks
        level = labels.levels[0]
        return np.asarray(level.read(level.box))

    def exhaustive(self) -> _Cascade:
        """The finest stage everywhere."""
        return replace(self, params=replace(self.params, exhaustive=True))

    @property
    def chosen(self) -> str:
        """Resolution, stages, and the rule of objects."""
        pixels = self.cascade.cards[0].voxel_nm[1] / self.data.voxel_nm[1]
        return f"averaged {pixels:g} x {pixels:g}, {len(self.cascade.cards)} stages, {self.cascade.rule}"


def cascade(scene: Scene, data: Data, budget_s: float, seed: int) -> _Cascade:
    """Default settings but for the budget, whose seconds are those of the processor, for the machine is shared."""
    params = nc.TrainParams(budget=next(name for name, b in stage.BUDGETS.items() if b.seconds == budget_s), seed=seed)
    with mock.patch.object(stage, "fit", partial(stage.fit, clock=time.process_time)):
        trained = nc.train_cascade(*scene.volumes(data.voxel_nm, "train"), params)
    return _Cascade(trained, data, nc.DetectParams(audit=0))


def blobs(scene: Scene, data: Data, budget_s: float, seed: int) -> _Cascade:
    """The built-in detector, which is not trained: of the labels, the typical diameter and whether objects are dark."""
    scene = scene.grey()
    image, _ = scene.volumes(data.voxel_nm, "train")
    grey, inside = scene.image[0], scene.truth > 0
    dark = bool(np.median(grey[inside]) < np.median(grey[~inside]))
    found = nc.detector("blobs", image, diameter_nm=2 * typical_radius(scene.truth, data), dark=dark)
    alone = nc.train_cascade(image, detector=found, params=nc.TrainParams(levels=1, budget="quick", seed=seed))
    rule = replace(alone.rule, flat=data.flat)  # sections that are images of their own, as if each were searched alone
    return _Cascade(replace(alone, rule=rule), data, nc.DetectParams(audit=0))


METHODS: dict[str, Method] = {
    "cascade": cascade,
    "blobs": blobs,
    "classical": classical,
    "forest": forest,
    "U-Net": unet,
}

if __name__ == "__main__":
    main()

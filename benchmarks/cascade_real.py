"""One level against the cascade on real data: ``python benchmarks/cascade_real.py [--only WORD] [--seeds N]``.

Real data are looked for beside the project (NAPARI_CONNECTO_DATA says where else). Trained cascades and finished runs
are kept in ``benchmarks/cache``, so a second start goes on where the first ended; ``--fresh`` measures again.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _real_data import CACHE, DATA, TASKS, Part, Task

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.cascade.estimate import estimate
from napari_connecto.workflows.cascade.evaluate import evaluate

REPEATS = 3


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="tasks whose name holds this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="measure again, with cascades trained already")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit("no real data: set NAPARI_CONNECTO_DATA to its folder")
    tasks = {name: task for name, task in TASKS.items() if asked.only in name}
    for seed in range(asked.seeds):
        for name, task in tasks.items():
            path = CACHE / "results" / f"{task.params.name}-{seed}.json"
            if asked.fresh or not path.exists():
                cell = measure(task, seed)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(cell, indent=1))
                print(f"{name}, seed {seed}: {cell['reason']}", flush=True)
    table(tasks, asked.seeds)


def measure(task: Task, seed: int) -> dict[str, Any]:
    """Train once, then run one level, one level with large chunks, and the cascade, in turns."""
    cascade = trained(task, seed)
    cell: dict[str, Any] = {"reason": cascade.choose().reason, "load": os.getloadavg()[0]}
    volume, truth = task.make("test")
    ways = {
        "one": (cascade, nc.DetectParams(exhaustive=True, audit=0)),
        "wide": (widened(cascade, task.wide), nc.DetectParams(exhaustive=True, audit=0)),
        "cascade": (cascade, nc.DetectParams(audit=0)),
    }
    cell["estimate"] = forecast(volume, cascade)
    for repeat in range(REPEATS):
        for way in sorted(ways, reverse=bool((seed + repeat) % 2)):
            found, row = run(volume, *ways[way])
            if repeat == 0:
                cell[way] = row | accuracy(found, truth)
            else:
                for key in ("seconds", "cpu_s"):
                    cell[way][key] += row[key]
    audited, _ = run(volume, cascade, nc.DetectParams(audit=300))
    cell["audit"] = audited.report["audit"] | {"seconds": audited.report["seconds_audit"]}
    choice = cascade.choose()
    cell["rates"] = [[r.prevalence, r.tpr_object, r.tpr_chunk, r.fpr] for r in choice.rates]
    cell["cost_s"], cell["saving"] = list(cascade.calibration.cost_s), choice.saving
    cell["formulas"] = {"calls": list(choice.predicted.calls), "measured": list(choice.calls)}
    cell["true_prevalence"] = prevalence(cascade, volume, truth)
    return cell


def trained(task: Task, seed: int) -> nc.Cascade:
    """The task's cascade, kept in the cache (which is never committed: not all terms allow derived weights)."""
    folder = CACHE / "cascades" / f"{task.params.name}-{seed}"
    if not folder.exists():
        nc.train_cascade(*task.make("train"), replace(task.params, seed=seed)).save(folder)
    return nc.load_cascade(folder, backend="torch")


def widened(cascade: nc.Cascade, tile: tuple[int, int, int]) -> nc.Cascade:
    """The finest stage alone, with a larger chunk."""
    finest = cascade.stages[0]
    if not isinstance(finest, TorchPredictor):
        raise TypeError("a freshly trained cascade runs on torch")
    stage = TorchPredictor(replace(finest.card, tile=tile), finest.net, str(finest.device))
    return replace(cascade, stages=(stage,))


def forecast(volume: Volume, cascade: nc.Cascade) -> dict[str, float]:
    """What the estimate says before anything is run."""
    said = estimate(volume, cascade, nc.DetectParams(audit=0))
    return {"seconds": said.seconds, "exhaustive": said.seconds_exhaustive}


def run(volume: Volume, cascade: nc.Cascade, params: nc.DetectParams) -> tuple[nc.Detections, dict[str, Any]]:
    """One search, timed from the call to the detections, by the clock and by processor seconds (less of the load)."""
    started, cpu = time.perf_counter(), time.process_time()
    found = nc.detect(volume, cascade, params)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    levels = found.report["levels"]
    keys = ("name", "calls", "calls_predicted", "seconds", "bytes", "chunks", "passed")
    return found, {
        "seconds": [seconds],
        "cpu_s": [cpu],
        "calls": sum(level["calls"] for level in levels),
        "predicted": sum(level["calls_predicted"] for level in levels),
        "bytes": sum(level["bytes"] for level in levels),
        "levels": [{key: level[key] for key in keys} for level in levels],
        "objects": len(found),
    }


def accuracy(found: nc.Detections, truth: Volume) -> dict[str, Any]:
    """F1 of objects, Dice of masks (None for centres)."""
    score = evaluate(found, truth)
    return {"F1": score.objects.f1, "Dice": score.dice, "recall": score.objects.recall}


def prevalence(cascade: nc.Cascade, volume: Volume, truth: Volume) -> float:
    """Share of the finest chunks of the test part that hold a labelled voxel."""
    tile = cascade.cards[0].tile
    array = np.asarray(truth.levels[0].array) > 0
    pad = [(0, -n % t) for n, t in zip(array.shape, tile, strict=True)]
    grid = np.pad(array, pad)
    z, y, x = (n // t for n, t in zip(grid.shape, tile, strict=True))
    return float(grid.reshape(z, tile[0], y, tile[1], x, tile[2]).any(axis=(1, 3, 5)).mean())


def table(tasks: dict[str, Task], seeds: int) -> None:
    """Mean over seeds, smallest and largest in brackets where it matters."""
    print("| data | way | score | time | saved | cpu saved | calls | expected | MB read |")
    for name, task in tasks.items():
        cells = [_read(CACHE / "results" / f"{task.params.name}-{seed}.json") for seed in range(seeds)]
        for way in ("one", "wide", "cascade"):
            print(_row(name, task, way, [cell for cell in cells if cell]))


def _read(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def _row(name: str, task: Task, way: str, cells: list[dict[str, Any]]) -> str:
    if not cells:
        return f"| {name} | not measured |"
    time_s = [float(np.median(c[way]["seconds"])) for c in cells]
    score = [c[way][task.metric] for c in cells]
    saved = [1 - t / float(np.median(c["one"]["seconds"])) for t, c in zip(time_s, cells, strict=True)]
    cpu = [1 - min(c[way]["cpu_s"]) / min(c["one"]["cpu_s"]) for c in cells]
    parts = [
        f"{np.mean(score):.3f}",
        f"{np.mean(time_s):.2f} s",
        f"{np.mean(saved):.0%} ({min(saved):.0%} to {max(saved):.0%})",
        f"{np.mean(cpu):.0%}",
        f"{np.mean([c[way]['calls'] for c in cells]):.0f}",
        f"{np.mean([c[way]['predicted'] for c in cells]):.0f}",
        f"{np.mean([c[way]['bytes'] for c in cells]) / 1e6:.1f}",
    ]
    return f"| {name} | {way} | " + " | ".join(parts) + " |"


__all__ = ["Part", "main"]

if __name__ == "__main__":
    main()

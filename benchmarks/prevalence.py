"""What a cascade calls, saves and loses from 0.1 to 30 % of chunks that hold an object, over many scenes.

``python benchmarks/prevalence.py [--figure FILE]``. Real data are looked for beside the project (NAPARI_CONNECTO_DATA
says where else). Finished scenes are kept in ``benchmarks/cache``; ``--fresh`` measures again.

Unlike `cascade_real.py`, nothing is timed but single calls: a search here is counted in calls, and its cost is their
number times the processor seconds of a call, so a busy machine does not change it. The detector answers by its
threshold without the network that makes it slow; calls are the same.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from typing import Any

import numpy as np
from _real_data import CACHE, DATA
from _sparse_scene import CHUNK, StandIn, scene, unet
from cascade_real import DIAMETER_NM, cascade_for

import napari_connecto as nc
from napari_connecto.core.model import Predictor
from napari_connecto.workflows.cascade.matching import match_points

PREVALENCE = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
SIDE, SCENES, WIDE = 4096, 10, 512
FORCED = nc.DetectParams(force_cascade=True, audit=0, ood_check="off")
EXHAUSTIVE = nc.DetectParams(exhaustive=True, audit=0, ood_check="off")

HEADER = (
    "| chunks with an object | scenes | calls at the finest level (range) | predicted | by the formulas | saved (range)"
    " | predicted | objects kept | stated | scenes within |\n|---|---|---|---|---|---|---|---|---|---|"
)


def main() -> None:
    """Measure what is missing, then print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="measure again")
    parser.add_argument("--figure", help="PNG to draw")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit("no real data: set NAPARI_CONNECTO_DATA to its folder")
    prices = kept("prices", asked.fresh, call_seconds)
    print(HEADER)
    rows = []
    for prevalence in PREVALENCE:
        runs = [kept(f"{prevalence}-{n}", asked.fresh, partial(one_scene, prevalence, n)) for n in range(SCENES)]
        rows.append(summary(prevalence, runs, prices))
        print(line(rows[-1]), flush=True)
    if asked.figure:
        figure(rows, asked.figure)


def kept(name: str, fresh: bool, measured: Any) -> Any:
    """A measurement from the cache, made if it is not there."""
    path = CACHE / "results" / f"prevalence-{name}.json"
    if fresh or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured()))
    return json.loads(path.read_text())


def call_seconds() -> dict[str, float]:
    """Processor seconds per chunk: the detector in its own and in the best larger tiles, and both gates."""
    volume, _ = scene(0.02, "test", 0, 1024)
    network = unet()
    stages = {"wide": StandIn((1, WIDE, WIDE), network), "0": StandIn(net=network)}
    stages |= {str(k): stage for k, stage in enumerate(cascade_for(0.02).stages) if k}
    chunks = {"wide": (WIDE // CHUNK) ** 2}
    return {name: seconds(volume, stage) / chunks.get(name, 1) for name, stage in stages.items()}


def seconds(volume: nc.Volume, stage: Predictor, times: int = 9) -> float:
    """Median processor seconds of a call on one tile."""
    shape = tuple(t + 2 * h for t, h in zip(stage.card.tile, stage.card.halo, strict=True))
    batch = np.resize(volume.levels[0].array[0], shape).astype(np.float32)[None, None] / 255
    stage(batch, [0])
    taken = []
    for _ in range(times):
        start = time.process_time()
        stage(batch, [0])
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def one_scene(prevalence: float, number: int) -> dict[str, Any]:
    """Calls, expected and made, and what the cascade keeps of all that the detector finds."""
    cascade = cascade_for(prevalence, slow=False)
    volume, _ = scene(prevalence, "test", 100 + number, SIDE)
    everything = nc.detect(volume, cascade, EXHAUSTIVE)
    found = nc.detect(volume, cascade, FORCED)
    choice = cascade.choose()
    levels = found.report["levels"]
    return {
        "calls": {level["name"]: level["calls"] for level in levels},
        "predicted": {level["name"]: level["calls_predicted"] for level in levels},
        "formulas": list(choice.predicted.calls),
        "kept": len(match_points(found.centre_nm, everything.centre_nm, DIAMETER_NM / 2).truth),
        "of": len(everything),
        "low": choice.recall_interval[0],
    }


def summary(prevalence: float, runs: list[dict[str, Any]], prices: dict[str, float]) -> dict[str, Any]:
    """One row: counts over the scenes, and seconds saved against the cheapest exhaustive search."""
    chunks = (SIDE // CHUNK) ** 2
    best_s = chunks * min(prices["0"], prices["wide"])
    finest = next(name for name in runs[0]["calls"] if name.endswith("0"))

    def saved(key: str) -> list[float]:
        return [1 - sum(n * prices[name[-1]] for name, n in run[key].items()) / best_s for run in runs]

    formulas = runs[0]["formulas"]
    by_formulas = 1 - sum(n * chunks * prices[str(k)] for k, n in enumerate(formulas)) / best_s
    return {
        "prevalence": prevalence,
        "scenes": len(runs),
        "made": [run["calls"][finest] for run in runs],
        "predicted": float(np.mean([run["predicted"][finest] for run in runs])),
        "formulas": formulas[0] * chunks,
        "saved": saved("calls"),
        "saved_predicted": float(np.mean(saved("predicted"))),
        "saved_formulas": by_formulas,
        "kept": (sum(run["kept"] for run in runs), sum(run["of"] for run in runs)),
        "low": runs[0]["low"],
        "within": sum(run["kept"] >= run["low"] * run["of"] for run in runs),
    }


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    made, saved = row["made"], row["saved"]
    (kept_, of), low = row["kept"], row["low"]
    parts = [
        f"{row['prevalence']:.1%}",
        f"{row['scenes']}",
        f"{np.mean(made):.0f} ({min(made)} to {max(made)})",
        f"{row['predicted']:.0f}",
        f"{row['formulas']:.0f}",
        f"{np.mean(saved):.0%} ({min(saved):.0%} to {max(saved):.0%})",
        f"{row['saved_predicted']:.0%}",
        f"{kept_} of {of}",
        f"at least {low:.1%}",
        f"{row['within']} of {row['scenes']}",
    ]
    return "| " + " | ".join(parts) + " |"


def figure(rows: list[dict[str, Any]], path: str) -> None:
    """Processor time saved over prevalence: measured in every scene, predicted, and by the formulas."""
    from matplotlib.figure import Figure

    percent = [100 * row["prevalence"] for row in rows]
    drawing = Figure((5.6, 3.4), layout="constrained")
    axes = drawing.subplots()
    for row, x in zip(rows, percent, strict=True):
        axes.plot([x] * len(row["saved"]), row["saved"], ".", color="#56B4E9", ms=4, zorder=1)
    axes.plot(percent, [np.mean(row["saved"]) for row in rows], "o-", color="#0072B2", label="made, mean of the scenes")
    axes.plot(percent, [row["saved_predicted"] for row in rows], "x--", color="#D55E00", label="predicted")
    axes.plot(percent, [row["saved_formulas"] for row in rows], ":", color="#444444", label="by the formulas")
    axes.axhline(0, color="#999999", lw=0.8)
    axes.axhline(0.75, color="#999999", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="chunks that hold an object (%)", ylabel="processor time saved", ylim=(-1, 1))
    axes.legend(fontsize=8)
    drawing.savefig(path, dpi=110)


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()

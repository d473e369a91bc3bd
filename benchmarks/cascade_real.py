"""A cascade around a slow detector against the best exhaustive search, over prevalence.

``python benchmarks/cascade_real.py``. Real data are looked for beside the project (NAPARI_CONNECTO_DATA says where
else). Finished rows are kept in ``benchmarks/cache``, so a second start goes on where the first ended; ``--fresh``
measures again. ``--figure FILE`` draws what is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from _real_data import CACHE, DATA
from _sparse_scene import StandIn, scene, unet

import napari_connecto as nc
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.evaluate import evaluate
from napari_connecto.workflows.cascade.matching import match_points
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibrate import calibrate_job
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.training.examples import from_labels

PREVALENCE = (0.005, 0.01, 0.02, 0.05, 0.1, 0.3)
DIAMETER_NM, LEAST = 10_000.0, 40
ENRICHED, REPEATS = 0.05, 6
AUDIT = 8
"""Chunks, 3 % of a scene, as a default audit of 300 is of a volume of 10 000 chunks."""


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="measure again")
    parser.add_argument("--side", type=int, default=2048, help="pixels of a scene along y and x")
    parser.add_argument("--prevalence", type=float, nargs="*", help="shares of chunks that hold an object")
    parser.add_argument("--figure", help="PNG to draw")
    asked = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit("no real data: set NAPARI_CONNECTO_DATA to its folder")
    wide = kept("wide", asked, lambda: wide_run(asked.side))
    rows = []
    for prevalence in asked.prevalence or PREVALENCE:
        row = kept(str(prevalence), asked, partial(measure, prevalence, asked.side))
        rows.append(row | {"wide": wide})
        print(line(rows[-1]), flush=True)
    if asked.figure:
        figure(rows, asked.figure)


def kept(name: str, asked: argparse.Namespace, measured: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A measurement from the cache, made if it is not there."""
    path = CACHE / "results" / f"sparse-{asked.side}-{name}.json"
    if asked.fresh or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(measured(), indent=1))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def wide_run(side: int) -> dict[str, Any]:
    """An exhaustive search in tiles of 512 x 512, at 2 %: what the detector takes does not depend on the image.

    On a busy machine the plan has no such tiles, because a call would take longer than a second.
    """
    volume, truth = scene(0.02, "test", 0, side)
    wide = replace(cascade_for(0.02), stages=(StandIn((1, 512, 512), unet()),))
    return one_run(volume, truth, wide, nc.DetectParams(exhaustive=True, audit=0, ood_check="off"))


def trained() -> nc.Cascade:
    """Networks of two coarse levels (and a finest one, which is not used), from training images; kept."""
    folder = CACHE / "cascades" / "sparse-gates"
    if not folder.exists():
        params = nc.TrainParams(name="nuclei", head="masks", dims="2d", levels=3, steps=150)
        nc.train_cascade(*scene(0.2, "train", 1000, 2048), params).save(folder)
    return nc.load_cascade(folder, device="cpu", backend="torch")


def cascade_for(prevalence: float, seed: int = 0, slow: bool = True) -> nc.Cascade:
    """Scores of a scene of training images, for thresholds at this prevalence.

    Below `ENRICHED`, that of a scene with more objects, of which the empty places count more: so are places weighted
    that a training around a detector chooses.
    """
    gates, rich = trained().stages[1:], max(prevalence, ENRICHED)
    path = CACHE / "results" / f"sparse-calibration-{rich}-{seed}.json"
    rule = ObjectRule("masks", 0.5, DIAMETER_NM, LEAST)
    if not path.exists():
        volume, labels = scene(rich, "train", seed)
        block = Box.of(volume.levels[0].shape)
        examples = from_labels(labels, "masks", DIAMETER_NM)
        calibration, _ = run(calibrate_job(volume, examples, block, (StandIn(), *gates), rule))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(calibration.to_json()))
    calibration = weighted(Calibration.from_json(json.loads(path.read_text())), prevalence)
    finest = StandIn(net=unet()) if slow else StandIn()
    return nc.Cascade("nuclei", (finest, *gates), rule, calibration)


def weighted(calibration: Calibration, prevalence: float) -> Calibration:
    """The coarsest chunks weighted so that this share of the finest ones holds an object, if there are more."""
    held = calibration.chunk_truth(len(calibration.scores) - 1)
    positive = calibration.truth.mean()
    if prevalence >= positive or held.all():
        return calibration
    inside = held[calibration.ancestors(np.arange(len(calibration.truth)), 0, len(calibration.scores) - 1)].mean()
    share = prevalence / positive * inside  # of the volume's chunks that lie in such places
    weights = np.where(held, share / held.mean(), (1 - share) / (1 - held.mean()))
    return replace(calibration, weights=weights / weights.mean())


def measure(prevalence: float, side: int) -> dict[str, Any]:
    """One row: the estimate, the best exhaustive search, the cascade, and its recall in repeated scenes."""
    volume, truth = scene(prevalence, "test", 0, side)
    cascade = cascade_for(prevalence)
    ways = {
        "exhaustive": nc.DetectParams(exhaustive=True, audit=0, ood_check="off"),
        "cascade": nc.DetectParams(force_cascade=True, audit=AUDIT, ood_check="off"),
        "auto": nc.DetectParams(audit=AUDIT, ood_check="off"),
    }
    row: dict[str, Any] = {"prevalence": prevalence}
    said = nc.estimate(volume, cascade, ways["cascade"])
    row["estimate"] = {"seconds": said.seconds, "exhaustive": said.seconds_exhaustive, "reason": said.notes[-1]}
    row["auto"] = len(nc.estimate(volume, cascade, ways["auto"]).levels) > 1
    choice = cascade.choose()
    row["formulas"] = {"predicted": list(choice.predicted.calls), "calibration": list(choice.calls)}
    for way in ("exhaustive", "cascade"):
        row[way] = one_run(volume, truth, cascade, ways[way])
    if prevalence == 0.02:
        row["recall"] = [recall(prevalence, side, seed) for seed in range(REPEATS)]
    return row


def one_run(volume: Volume, truth: Volume, cascade: nc.Cascade, params: nc.DetectParams) -> dict[str, Any]:
    """A search by the clock and by processor seconds, without what timing the stages takes (kept from the estimate)."""
    started, cpu = time.perf_counter(), time.process_time()
    found = nc.detect(volume, cascade, params)
    report = found.report
    return {
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "phases": report["phases"],
        "tiles": report["tiles"],
        "calls": {level["name"]: [level["calls_predicted"], level["calls"]] for level in report["levels"]},
        "bytes": sum(level["bytes"] for level in report["levels"]),
        "audit": report["audit"],
        "f1": evaluate(found, truth).objects.f1,
        "objects": len(found),
    }


def recall(prevalence: float, side: int, seed: int) -> dict[str, float]:
    """Of what an exhaustive search of a new scene finds, how much the cascade finds."""
    cascade = cascade_for(prevalence, slow=False)
    volume, _ = scene(prevalence, "test", seed + 1, side)
    quiet = nc.DetectParams(exhaustive=True, audit=0, ood_check="off")
    everything = nc.detect(volume, cascade, quiet)
    found = nc.detect(volume, cascade, replace(quiet, exhaustive=False, force_cascade=True))
    kept = len(match_points(found.centre_nm, everything.centre_nm, DIAMETER_NM / 2).truth)
    choice = cascade.choose()
    return {"kept": kept, "of": len(everything), "low": choice.recall_interval[0], "gated": len(choice.levels) > 1}


def saved(row: dict[str, Any], key: str) -> float:
    """Share of the best exhaustive search's time that the cascade saves."""
    return 1 - row["cascade"][key] / min(row["exhaustive"][key], row["wide"][key])


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    one, gated = row["exhaustive"], row["cascade"]
    predicted = sum(phase["predicted"] for phase in gated["phases"].values())
    taken = sum(phase["seconds"] for phase in gated["phases"].values())
    calls = "; ".join(f"{p:.0f} / {n}" for p, n in gated["calls"].values())
    parts = [
        f"{row['prevalence']:.1%}",
        f"{one['wall_s']:.1f} ({one['cpu_s']:.1f})",
        f"{row['wide']['wall_s']:.1f} ({row['wide']['cpu_s']:.1f})",
        f"{gated['wall_s']:.1f} ({gated['cpu_s']:.1f})",
        f"{saved(row, 'wall_s'):.0%} ({saved(row, 'cpu_s'):.0%})",
        f"{predicted:.1f} / {taken:.1f}",
        calls,
        f"{one['f1']:.3f} / {gated['f1']:.3f}",
        "cascade" if row["auto"] else "one level",
    ]
    return "| " + " | ".join(parts) + " |"


def figure(rows: list[dict[str, Any]], path: str) -> None:
    """Saving over prevalence: measured, expected beforehand, and by the formulas."""
    from matplotlib.figure import Figure

    percent = [100 * row["prevalence"] for row in rows]
    drawing = Figure((5.6, 3.4), layout="constrained")
    axes = drawing.subplots()
    expected = [1 - row["estimate"]["seconds"] / row["estimate"]["exhaustive"] for row in rows]
    axes.plot(percent, [saved(row, "cpu_s") for row in rows], "o-", color="#0072B2", label="measured, processor time")
    axes.plot(percent, [saved(row, "wall_s") for row in rows], "s", color="#56B4E9", label="measured, wall time")
    axes.plot(percent, expected, "x--", color="#D55E00", label="estimate beforehand")
    by_formulas = [1 - formula_s(row) / row["estimate"]["exhaustive"] for row in rows]
    axes.plot(percent, by_formulas, ":", color="#444444", label="formulas, with the measured seconds per call")
    axes.axhline(0, color="#999999", lw=0.8)
    axes.axhline(0.75, color="#999999", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="chunks that hold an object (%)", ylabel="time saved", ylim=(-0.6, 1))
    axes.legend(fontsize=8)
    drawing.savefig(path, dpi=110)


def formula_s(row: dict[str, Any]) -> float:
    """Seconds by the formulas' calls: each phase of the estimate scaled by calls of the formulas over measured ones."""
    total = 0.0
    for name, phase in row["cascade"]["phases"].items():
        k = int(name[-1]) if name.startswith("level ") else None
        known = row["formulas"]["calibration"][k] if k is not None else 0.0
        total += phase["predicted"] * (row["formulas"]["predicted"][k] / known if k is not None and known else 1.0)
    return total


if __name__ == "__main__":
    np.seterr(over="ignore")
    main()

"""Does the nearest source transfer best, and does it beat training from scratch: ``python benchmarks/transfer.py``.

Every dataset with neuron boundaries is a target once, all others are sources. ``--table`` prints what is measured so
far; ``--only WORD`` takes the targets whose name holds it, so that two processes can share the work.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from _transfer import (
    AS_IT_IS,
    CACHE,
    DATASETS,
    NAMES,
    STEPS,
    check_data,
    distances,
    for_target,
    kept,
    measured,
    patches,
    seen_by,
    source,
    source_params,
    tested,
    tuned,
)
from scipy.stats import rankdata, spearmanr

from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams

SCRATCH, LONG = "scratch", " x3"
LONG_ON = ("fly-larva",)
"""Targets on which training from scratch and MMD's pick get three times the steps too, at four patches."""
BUDGET = FineTuneParams(preset="standard", steps=STEPS, crop=96, batch=2, learning_rate=3e-3)
"""The same for every start. Rate and steps were chosen on the train part of fly-larva alone (docs tell the figures)."""
AIM_NEAR = 0.05


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="targets whose name holds one of these, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", default="0,4,4x3,1,16", help="numbers of annotated patches, in this order; x3: longer")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    far = kept(CACHE / "mmd.json", distances)
    if not asked.table:
        targets = [t for t in NAMES if any(word in t for word in asked.only.split(","))]
        for seed in range(asked.seeds):
            for n in asked.n.split(","):
                for target in targets:
                    for start in longer(target, far) if n.endswith("x3") else starts(target, int(n)):
                        cell(target, start, int(n.removesuffix("x3")), seed)
    report(far, asked.seeds)


def starts(target: str, n: int) -> list[str]:
    """What is compared; from scratch there is nothing to measure without labels."""
    sources = [s for s in NAMES if s != target]
    return [*sources, *([SCRATCH] if n else [])]


def longer(target: str, far: dict[str, Any]) -> list[str]:
    """What gets three times the steps."""
    return [SCRATCH + LONG, nearest(target, far) + LONG] if target in LONG_ON else []


def nearest(target: str, far: dict[str, Any]) -> str:
    """MMD's pick among the sources that `rank_domains` compares: those of like voxel size."""
    like = [s for s in far[target] if s != AS_IT_IS] if target != AS_IT_IS else list(far[target])
    return min(like, key=far[target].__getitem__)


def path_of(target: str, start: str, n: int, seed: int) -> Any:
    """Where a cell is kept; without labels there is nothing random."""
    name = start.replace(" ", "_")
    return CACHE / "cells" / target / (f"{name}-0.json" if n == 0 else f"{name}-{n}-{seed}.json")


def cell(target: str, start: str, n: int, seed: int) -> dict[str, Any]:
    """One start adapted to ``n`` patches and measured."""
    return kept(path_of(target, start, n, seed), lambda: _cell(target, start, n, seed))


def _cell(target: str, start: str, n: int, seed: int) -> dict[str, Any]:
    began = time.process_time()
    if n == 0:
        model, params = source(start), for_target(source_params(start), start, target)
        return measured(model, seen_by(model, start, target, tested(target)), params).row()
    params = replace(BUDGET, seed=seed)
    if start.endswith(LONG):
        start, params = start.removesuffix(LONG), replace(params, steps=3 * params.steps)
    base = None if start == SCRATCH else source(start)
    known = seen_by(base, start, target, patches(target, seed)[:n])
    model = fine_tune(base, known, params, voxel_nm=DATASETS[target].voxel_nm)
    trained = time.process_time()
    own = tuned(model, known, None if base is None else for_target(source_params(start), start, target))
    chosen = time.process_time()
    row = measured(model, seen_by(base, start, target, tested(target)), own).row()
    times = {"train_s": trained - began, "tune_s": chosen - trained, "test_s": time.process_time() - chosen}
    return row | {"cpu": times}


def report(far: dict[str, Any], seeds: int) -> None:
    """All tables, as Markdown."""
    counts = [0, 1, 2, 4, 8, 16]
    print(f"Features by {far['encoder']}; patches per dataset: {far['counts']}\n")
    every = {n: [(t, s) for t in NAMES for s in starts(t, n)] for n in counts}
    done = {n: _done(every[n], n, seeds) for n in counts}
    print("Seeds measured for every cell: " + ", ".join(f"n = {n}: {len(done[n])}" for n in counts if n) + "\n")
    mean = {(t, s, n): _mean(t, s, n, done[n]) for n in counts for t, s in every[n]}
    mean |= {(t, s, 4): _mean(t, s, 4, done[4]) for t in NAMES for s in longer(t, far)}
    for target in NAMES:
        _table(target, far, mean, [n for n in counts if any(np.isfinite(v) for v in _row(mean, target, n).values())])
    _summary(far, mean, counts)


def _done(cells: list[tuple[str, str]], n: int, seeds: int) -> list[int]:
    """Seeds of which every cell is there, so that all means are of the same seeds."""
    return [seed for seed in range(seeds) if all(path_of(t, s, n, seed).exists() for t, s in cells)]


def _mean(target: str, start: str, n: int, seeds: list[int]) -> float:
    paths = {path_of(target, start, n, seed) for seed in seeds}
    values = [kept(p, dict)["vi"] for p in paths if p.exists()]
    return float(np.mean(values)) if values and len(values) == len(paths) else float("nan")


def _row(mean: dict[Any, float], target: str, n: int) -> dict[str, float]:
    return {s: mean[target, s, n] for s in starts(target, n)}


def _table(target: str, far: dict[str, Any], mean: dict[Any, float], counts: list[int]) -> None:
    print(f"\n**{target}**\n\n| start | MMD^2 |" + "".join(f" n = {n} |" for n in counts))
    print("|---|---|" + "---|" * len(counts))
    order = sorted(far[target], key=far[target].__getitem__)
    for start in [*order, SCRATCH, *longer(target, far)]:
        cells = [far[target].get(start, np.nan), *(mean.get((target, start, n), np.nan) for n in counts)]
        print(f"| {start} | " + " | ".join("-" if np.isnan(v) else f"{v:.3f}" for v in cells) + " |")


def _summary(far: dict[str, Any], mean: dict[Any, float], counts: list[int]) -> None:
    print("\nMMD's pick among all sources, then among those of like voxel size (what `rank_domains` compares):")
    for n in counts:
        for every in (True, False):
            _picks(far, mean, n, every)


def _picks(far: dict[str, Any], mean: dict[Any, float], n: int, every: bool) -> None:
    rows, ranks, near = [], [], 0
    for target in NAMES if every else [t for t in NAMES if t != AS_IT_IS]:
        row = {s: mean[target, s, n] for s in far[target] if every or s != AS_IT_IS}
        if not np.isfinite(list(row.values())).all():
            continue
        name = min(row, key=far[target].__getitem__)
        scratch, best, worst = mean.get((target, SCRATCH, n), np.nan), min(row.values()), max(row.values())
        near += row[name] <= best * (1 + AIM_NEAR)
        pairs = [(far[target][s], row[s]) for s in row]
        ranks.append(np.array([rankdata(column) for column in zip(*pairs, strict=True)]))
        figures = f"{row[name]:.3f} | {best:.3f} ({min(row, key=row.__getitem__)}) | {worst:.3f}"
        less = "- | -" if np.isnan(scratch) else f"{scratch:.3f} | {row[name] / scratch - 1:+.0%}"
        rows.append(
            f"| {target} | {spearmanr(*zip(*pairs, strict=True)).statistic:+.2f} | {name} | {figures} | {less} |"
        )
    if not rows:
        return
    pooled = np.corrcoef(np.concatenate(ranks, axis=1))[0, 1]
    print(
        f"\nn = {n}, {'all sources' if every else 'like voxel sizes'}: pick best or within 5 % on {near} of {len(rows)}"
    )
    print(f"targets; Spearman of MMD^2 with VI, ranks within a target pooled: {pooled:+.2f}.\n")
    print("| target | rho | pick | VI of pick | best | worst | scratch | pick against scratch |\n|" + "---|" * 8)
    print("\n".join(rows))


if __name__ == "__main__":
    main()

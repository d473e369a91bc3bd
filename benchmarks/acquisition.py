"""Which patches to annotate: strategies of `suggest` against each other: ``python benchmarks/acquisition.py``.

The source's model picks four patches of the target's train part, in one go; the first 1, 2 and 4 train it. Of a seed,
all strategies choose from one pool. The figure is the area under VI over log2 n, paired over seeds.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from _transfer import (
    CACHE,
    DATASETS,
    SIZE,
    STEPS,
    check_data,
    common_encoder,
    for_target,
    kept,
    measured,
    scenery,
    sections,
    source,
    source_params,
    tested,
    tuned,
)

from napari_connecto.core.errors import InputError
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.adapt.annotate.suggest import suggest
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams, SuggestParams
from napari_connecto.workflows.segment.params import SegmentParams

PAIRS = (("mouse-cortex", "mouse-ca1"), ("mouse-cortex", "fly-larva"))
"""Source and target: MMD's pick for the two targets with the largest labelled sections."""
STRATEGIES = ("median", "random", "entropy", "k-center", "badge")
COUNTS = (1, 2, 4)
POOL = 60
BUDGET = FineTuneParams(preset="standard", steps=STEPS, crop=96, batch=2, learning_rate=3e-3)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="targets whose name holds this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    for seed in range(0 if asked.table else asked.seeds):
        for pair in [p for p in PAIRS if asked.only in p[1]]:
            for strategy in STRATEGIES:
                cell(pair, strategy, seed)
    table(asked.seeds)


def path_of(pair: tuple[str, str], strategy: str, seed: int) -> Any:
    """Where a cell is kept."""
    return CACHE / "acquisition" / pair[1] / f"{strategy}-{seed}.json"


def cell(pair: tuple[str, str], strategy: str, seed: int) -> dict[str, Any]:
    """One strategy, all numbers of patches."""
    return kept(path_of(pair, strategy, seed), lambda: _cell(pair, strategy, seed))


def _cell(pair: tuple[str, str], strategy: str, seed: int) -> dict[str, Any]:
    origin, target = pair
    model = source(origin)
    chosen = picked(model, pair, strategy, seed)
    out: dict[str, Any] = {}
    for n in COUNTS:
        better = fine_tune(model, chosen[:n], replace(BUDGET, seed=seed))
        out[str(n)] = measured(better, tested(target), thresholds(better, chosen[:n], pair)).row()
    v = [out[str(n)]["vi"] for n in COUNTS]
    return out | {"area": (v[0] + 2 * v[1] + v[2]) / 4}


def thresholds(model: TorchPredictor, known: list[Example], pair: tuple[str, str]) -> SegmentParams:
    """The source's, unless the annotated patches say otherwise; these may hold a single neurite."""
    prior = for_target(source_params(pair[0]), *pair)
    try:
        return tuned(model, known, prior)
    except InputError:
        return prior


def picked(model: TorchPredictor, pair: tuple[str, str], strategy: str, seed: int) -> list[Example]:
    """Annotated patches, best first, of 128 of the target's voxels or as near as rounding allows."""
    target = DATASETS[pair[1]]
    size = round(SIZE * target.voxel_nm[2] / DATASETS[pair[0]].voxel_nm[2])
    params = SuggestParams(strategy=strategy, size=size, pool=POOL, seed=seed)
    found = suggest(scenery(pair[1], pair[0]), model, max(COUNTS), encoder=common_encoder()[0], params=params)
    whole = sections(pair[1], "train")
    out = []
    for suggestion in found:
        section, here = whole[suggestion.box.start[0]], (slice(None), *suggestion.box.slices[1:])
        out.append(replace(section, image=section.image[here], labels=section.labels[here]))
    return out


def table(seeds: int) -> None:
    """Markdown: areas, and median less each other strategy with a bootstrap interval over paired seeds."""
    areas: dict[tuple[str, str], np.ndarray] = {}
    for pair in PAIRS:
        print(f"\n**{pair[1]}** (from {pair[0]})\n\n| strategy | n = 1 | n = 2 | n = 4 | area | less than random by |")
        print("|---|---|---|---|---|---|")
        done = [s for s in range(seeds) if all(path_of(pair, k, s).exists() for k in STRATEGIES)]
        rows = {k: [kept(path_of(pair, k, s), dict) for s in done] for k in STRATEGIES}
        for strategy, cells in rows.items() if done else ():
            areas[pair[1], strategy] = np.array([c["area"] for c in cells])
        for strategy, cells in rows.items() if done else ():
            vi = [f"{np.mean([c[str(n)]['vi'] for c in cells]):.3f}" for n in COUNTS]
            gain = areas[pair[1], "random"] - areas[pair[1], strategy]
            print(f"| {strategy} | {' | '.join(vi)} | {areas[pair[1], strategy].mean():.3f} | {interval(gain)} |")
    print("\nmedian less than each, all targets' seeds together:")
    for other in [s for s in STRATEGIES if s != "median"]:
        gain = [areas[p[1], other] - areas[p[1], "median"] for p in PAIRS if (p[1], other) in areas]
        if gain:
            print(f"- {other}: {interval(np.concatenate(gain))} ({sum(map(len, gain))} pairs)")


def interval(values: np.ndarray) -> str:
    """Mean and 95 % percentile bootstrap."""
    draws = np.random.default_rng(0).integers(0, len(values), (2000, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return f"{values.mean():+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()

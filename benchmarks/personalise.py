"""What makes a source one's own, with no or few labels, and what it forgets: ``python benchmarks/personalise.py``.

Without labels: nothing, AdaBN, or playback of the source's patches. With 1, 2 and 4 patches: thresholds are tuned and
nothing learns, everything learns, the decoder alone, or an adapter, some with AdaBN before. ``--table`` prints what is
measured so far; ``--only WORD`` takes pairs by name.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from _transfer import (
    CACHE,
    STEPS,
    check_data,
    common_encoder,
    for_target,
    kept,
    measured,
    own_sections,
    patches,
    scenery,
    sections,
    seen_by,
    source,
    source_params,
    tested,
    tuned,
)

import napari_connecto as nc
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.transfer.adabn import adabn
from napari_connecto.workflows.adapt.em_samples import EmSamples
from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams, PrepareParams
from napari_connecto.workflows.adapt.playback import playback_job

PAIRS = (("mouse-cortex", "fly-larva"), ("mouse-ca1", "fly-medulla"), ("mouse-ca1", "mouse-cortex"))
"""Source and target: MMD's pick for three targets, among sources of like voxel size."""
BUDGET = {
    "standard": FineTuneParams(preset="standard", steps=STEPS, crop=96, batch=2, learning_rate=3e-3),
    "quick": FineTuneParams(preset="quick", steps=STEPS, crop=96, batch=2),
    "adapter": FineTuneParams(preset="adapter", steps=STEPS, crop=96, batch=2),
}
"""One number of steps; "standard" as in transfer.py, the others at their preset's rate."""
BATCHES, TILES = 4, 8
FORGETTING_AT = 4
LEFT_OUT = ("standard + AdaBN", "playback + AdaBN")
"""Where everything learns, batch norm's statistics are learnt anew: of two pairs the figures were the same."""
AS_IT_IS, THRESHOLDS, PLAYBACK = "as it is", "thresholds only", "playback"
PLAY = PrepareParams(steps=STEPS, crop=96, batch=2)


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="pairs whose names hold one of these, separated by commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n", default="0,4,1,2", help="numbers of annotated patches, in this order")
    parser.add_argument("--forgetting", action="store_true", help="measure the source too, at n = 0 and 4; slow")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    pairs = [p for p in PAIRS if any(word in " ".join(p) for word in asked.only.split(","))]
    for seed in range(0 if asked.table else asked.seeds):
        for n in map(int, asked.n.split(",")):
            for pair in pairs:
                for way in ways(n):
                    cell(pair, way, n, seed, asked.forgetting)
    for pair in PAIRS:
        table(pair, asked.seeds)


def ways(n: int) -> list[str]:
    """What is compared."""
    hows = (THRESHOLDS, *BUDGET) if n else (AS_IT_IS, PLAYBACK)
    return [f"{how}{adapted}" for how in hows for adapted in ("", " + AdaBN") if how + adapted not in LEFT_OUT]


def path_of(pair: tuple[str, str], way: str, n: int, seed: int) -> Any:
    """Where a cell is kept."""
    return CACHE / "personal" / f"{pair[0]}_{pair[1]}" / f"{way.replace(' ', '')}-{n}-{seed}.json"


def cell(pair: tuple[str, str], way: str, n: int, seed: int, forgetting: bool) -> dict[str, Any]:
    """One way of adapting one source, measured on the target, and where asked for on the source too."""
    return kept(path_of(pair, way, n, seed), lambda: _cell(pair, way, n, seed, forgetting))


def _cell(pair: tuple[str, str], way: str, n: int, seed: int, forgetting: bool) -> dict[str, Any]:
    began = time.process_time()
    origin, target = pair
    how, model = way.split(" + ")[0], source(origin)
    if way.endswith("AdaBN"):
        model = adabn(model, tiles(model, target, seed))
    told: dict[str, Any] = {}
    if how == PLAYBACK:
        model, told = played_back(model, pair, seed)
    params = for_target(source_params(origin), origin, target)
    if n:
        known = seen_by(model, origin, target, patches(target, seed)[:n])
        if how != THRESHOLDS:
            model = fine_tune(model, known, replace(BUDGET[how], seed=seed))
        params = tuned(model, known, params)
    row = measured(model, seen_by(model, origin, target, tested(target)), params).row()
    if forgetting and (n == 0 or (n == FORGETTING_AT and how != THRESHOLDS and seed == 0)):
        again = tuned(model, own_sections(origin), source_params(origin))
        row["source_vi"] = measured(model, tested(origin), again).row()["vi"]
    return row | told | {"cpu_s": time.process_time() - began}


def played_back(model: TorchPredictor, pair: tuple[str, str], seed: int) -> tuple[TorchPredictor, dict[str, Any]]:
    """The model after playback of 24 patches of its source, or as it was where that is refused; and the figures."""
    origin, target = pair
    params = replace(PLAY, seed=seed)
    volume, encoder = scenery(target, origin), common_encoder()[0]
    found = nc.run(playback_job(model, patches(origin, 99, 24), volume, encoder, params))
    return found.model or model, found.figures()


def tiles(model: TorchPredictor, target: str, seed: int) -> list[np.ndarray]:
    """Unlabelled tiles of the target's train part at the model's voxel size, by section's percentiles."""
    whole = sections(target, "train")
    chosen = np.random.default_rng([seed, 11]).permutation(len(whole))[:12]
    samples = EmSamples([whole[i] for i in chosen], model.card, 128, TILES, seed, None)
    return [samples.at(i)[0] for i in range(BATCHES)]


def table(pair: tuple[str, str], seeds: int) -> None:
    """Markdown: VI on the target by number of patches, and what became of the source."""
    print(f"\n**{pair[0]} to {pair[1]}**\n\n| way | " + " | ".join(f"n = {n}" for n in (0, 1, 2, 4)) + " | source |")
    print("|---|" + "---|" * 5)
    for way in [*ways(0), *ways(1)]:
        cells = [_mean(pair, way, n, seeds, "vi") for n in (0, 1, 2, 4)]
        last = 0 if way in ways(0) or THRESHOLDS in way else FORGETTING_AT
        cells.append(_mean(pair, way.replace(THRESHOLDS, AS_IT_IS), last, seeds, "source_vi"))
        print(f"| {way} | " + " | ".join(cells) + " |")


def _mean(pair: tuple[str, str], way: str, n: int, seeds: int, key: str) -> str:
    """Mean and spread over seeds."""
    paths = [path_of(pair, way, n, seed) for seed in range(seeds)]
    found = [c[key] for c in (kept(p, dict) for p in paths if p.exists()) if key in c]
    if not found:
        return "-"
    few = "" if len(found) == seeds else f" ({len(found)} seeds)"
    return f"{np.mean(found):.3f} ± {np.std(found):.3f}{few}"


if __name__ == "__main__":
    main()

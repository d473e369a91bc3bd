"""What of adapting was chosen on train parts alone, never on a test part: ``python benchmarks/adapt_choices.py``.

Of a target's train part the first 60 % of the sections are annotated and the last 30 % measured. Two questions: how far
to go from the old weights to those learnt, and when thresholds leave the prior. ``--table`` prints what is measured.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from _transfer import CACHE, SIZE, check_data, cut, kept, maps, place, sections, source

from napari_connecto.core.model import Predictor
from napari_connecto.models.transfer.average import between
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import tune_segmentation

PAIRS = (("mouse-cortex", "fly-larva"), ("mouse-ca1", "mouse-cortex"), ("mouse-cortex", "mouse-ca1"))
SHARES = (0.0, 0.2, 0.5, 0.8, 1.0)
BOLD = FineTuneParams(preset="standard", steps=60, crop=96, batch=2, learning_rate=3e-3, parent_worth=0.0)
FLAT = SegmentParams(mode="2d")


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", default="1,4,16", help="numbers of annotated patches")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    cells = [(p, int(n), seed) for seed in range(asked.seeds) for n in asked.n.split(",") for p in PAIRS]
    for pair, n, seed in [] if asked.table else cells:
        kept(path_of(pair, n, seed), lambda pair=pair, n=n, seed=seed: cell(pair, n, seed))
    print("| source to target | n | " + " | ".join(f"{s:.1f}" for s in SHARES) + " | prior, best, by the rule |")
    print("|---|---|" + "---|" * (len(SHARES) + 1))
    for pair, n, seed in cells:
        if path_of(pair, n, seed).exists():
            row = kept(path_of(pair, n, seed), dict)
            shares = " | ".join(f"{row['shares'][f'{s:.1f}']:.3f}" for s in SHARES)
            rules = ", ".join(f"{row[rule]:.3f}" for rule in ("prior", "best", "rule"))
            print(f"| {pair[0]} to {pair[1]} | {n} | {shares} | {rules} |")


def path_of(pair: tuple[str, str], n: int, seed: int) -> Any:
    """Where a cell is kept."""
    return CACHE / "choices" / f"{pair[0]}_{pair[1]}-{n}-{seed}.json"


def cell(pair: tuple[str, str], n: int, seed: int) -> dict[str, Any]:
    """VI of the measured sections: by share at their own best thresholds, and of the model as it is by three rules."""
    start, known, apart = source(pair[0]), annotated(pair[1], seed, n), measured(pair[1])
    learnt = fine_tune(start, known, replace(BOLD, seed=seed))
    there = {share: table(between(start, learnt, share), apart) for share in SHARES}
    found = tune_segmentation(maps(start, known), [e.labels for e in known], FLAT)
    best = int(np.argmin(found.table["total"]))
    chosen = found.params.boundary_threshold, found.params.merge_threshold, found.params.min_size
    return {
        "shares": {f"{share:.1f}": float(vi.min()) for share, (_, vi) in there.items()},
        "prior": _at(there[0.0], (FLAT.boundary_threshold, FLAT.merge_threshold, FLAT.min_size)),
        "best": _at(
            there[0.0], tuple(found.table[k][best] for k in ("boundary_threshold", "merge_threshold", "min_size"))
        ),
        "rule": _at(there[0.0], chosen),
    }


def table(model: Predictor, examples: Sequence[Example]) -> tuple[np.ndarray, np.ndarray]:
    """Points of the grid (points, 3), and the mean VI over sections at each."""
    found = [tune_segmentation(m, e.labels, FLAT).table for m, e in zip(maps(model, examples), examples, strict=True)]
    points = np.stack([found[0][k] for k in ("boundary_threshold", "merge_threshold", "min_size")], axis=1)
    return points, np.mean([t["total"] for t in found], axis=0)


def _at(there: tuple[np.ndarray, np.ndarray], point: Sequence[float]) -> float:
    return float(there[1][np.flatnonzero((there[0] == np.array(point)).all(axis=1))[0]])


def annotated(name: str, seed: int, count: int) -> list[Example]:
    """Patches of the first sections, drawn as those of the other benchmarks."""
    whole = sections(name, "train")
    whole, rng = whole[: round(0.6 * len(whole))], np.random.default_rng([seed, 7])
    order = [int(z) for _ in range(16) for z in rng.permutation(len(whole))]
    taken: list[tuple[int, int, int]] = []
    for z in order:
        corner = place(whole[z], [p[1:] for p in taken if p[0] == z], rng) if len(taken) < count else None
        if corner is not None:
            taken.append((z, *corner))
    return [cut(whole[z], y, x, SIZE) for z, y, x in taken]


def measured(name: str) -> list[Example]:
    """The middle of three of the last sections, 256 x 256 or what there is."""
    whole = sections(name, "train")
    last = whole[round(0.6 * len(whole)) + max(1, round(0.1 * len(whole))) :]
    size = min(256, *last[0].image.shape[1:])
    chosen = [last[int(i)] for i in np.unique(np.linspace(0, len(last) - 1, 3).astype(int))]
    return [cut(s, *((n - size) // 2 for n in s.image.shape[1:]), size) for s in chosen]


if __name__ == "__main__":
    main()

"""Ways to train a translator, each with the same processor time, compared: ``python benchmarks/translate_arms.py``

Scenes, parts and boundary models are those of ``translate.py``. Every arm is trained and measured once per seed and
kept in ``benchmarks/cache``: a run that was stopped goes on. ``--seeds 0,1,2 --times 10`` makes ten times the steps,
for a GPU; ``--table`` prints what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _transfer import kept
from _translate import SCENES
from _translate_arms import ARMS, CACHE, train
from _translate_arms_measured import REFERENCES, costs, measure

DIRECT = "boundary model trained on X-ray, with true neurons"
TITLES = {**REFERENCES, **{key: arm.title for key, arm in ARMS.items()}, "direct": DIRECT}
READ = {"image": "", "output": ", its own membranes", "mean": ", mean of both"}
"""What finds the membranes: the boundary model of EM on the translation, or (also) the translator."""
MODELS = ("tomography", "detector")


def main() -> None:
    """Train and measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenes whose name holds this")
    parser.add_argument("--arms", default=",".join([*ARMS, "direct"]), help="of these; references always")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2")
    parser.add_argument("--times", type=float, default=3.0, help="budget of an arm, hundreds of processor seconds")
    parser.add_argument("--table", action="store_true", help="train and measure nothing")
    asked = parser.parse_args()
    names, seeds = [n for n in SCENES if asked.only in n], [int(s) for s in asked.seeds.split(",")]
    arms = asked.arms.split(",")
    for name in names:
        cells = [(key, 0) for key in REFERENCES] + [(arm, seed) for seed in seeds for arm in arms]
        for arm, seed in [] if asked.table else cells:
            if arm not in REFERENCES:
                train(name, arm, seed, asked.times)
            kept(path_of(name, arm, seed), lambda n=name, a=arm, s=seed: measure(n, a, s))
        report(name, seeds)


def path_of(name: str, arm: str, seed: int) -> Path:
    """Where the figures of an arm are kept."""
    return CACHE / name / f"{arm}-{seed}-measured.json"


def report(name: str, seeds: Sequence[int]) -> None:
    """The tables of one scene, as Markdown: mean and standard deviation over seeds."""
    found = {arm: _found(name, arm, [0] if arm in REFERENCES else seeds) for arm in TITLES}
    ends = [found[key][0][0]["read"]["image"]["vi"] for key in ("xray", "em") if found[key]]
    print(
        f"\n**{name}**\n\n| translator | seeds | steps | processor s | membranes from | VI | split | merge | gap "
        "closed | VI against EM's segments | AUROC entropy | PSNR |\n" + "|---" * 12 + "|"
    )
    for arm, rows in found.items():
        for read in [r for r in READ if rows and r in rows[0][0]["read"]]:
            cells = [row["read"][read] for row, _ in rows]
            gaps = [(ends[0] - c["vi"]) / (ends[0] - ends[1]) for c in cells] if len(ends) == 2 else []
            told = [_cell([cost.get(k) for _, cost in rows], 0) for k in ("steps", "cpu_s")]
            told += [read, *(_cell([c[k] for c in cells]) for k in ("vi", "split", "merge")), _cell(gaps, 2)]
            told += [_cell([c["vi_em"] for c in cells]), _cell([c["auroc"] for c in cells])]
            told.append(_cell([row.get("image", {}).get("psnr") for row, _ in rows], 1))
            print(f"| {TITLES[arm]} | {len(rows)} | " + " | ".join(told) + " |")
    _report_others(found)


def _report_others(found: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]]) -> None:
    """VI with other forward models, and coverage of the 90 % intervals before and after recalibration on a pair."""
    print("\n| translator | membranes from | " + " | ".join(f"VI {m}" for m in MODELS) + " | ", end="")
    print(" | ".join(f"coverage {m}" for m in ("own", *MODELS)) + " |\n" + "|---" * 7 + "|")
    for arm, rows in found.items():
        for read in [r for r in READ if rows and r in rows[0][0]["read"]]:
            vi = [_cell([row["other"][m][read]["vi"] for row, _ in rows]) for m in MODELS]
            print(f"| {TITLES[arm]} | {read} | " + " | ".join([*vi, *_coverage(rows, read)]) + " |")


def _coverage(rows: Sequence[tuple[dict[str, Any], dict[str, Any]]], read: str) -> list[str]:
    if read != "image" or not rows[0][0]["coverage"]:
        return ["-"] * 3
    return [
        " -> ".join(_cell([row["coverage"][m][k] for row, _ in rows]) for k in ("before", "after"))
        + f" ({_cell([row['coverage'][m]['low'] for row, _ in rows], 2)} to "
        + f"{_cell([row['coverage'][m]['high'] for row, _ in rows], 2)})"
        for m in ("own", *MODELS)
    ]


def _found(name: str, arm: str, seeds: Sequence[int]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    paths = [(path_of(name, arm, seed), seed) for seed in seeds]
    return [(kept(path, dict), costs(name, arm, seed)) for path, seed in paths if path.exists()]


def _cell(values: Sequence[float | None], digits: int = 3) -> str:
    known = [v for v in values if v is not None and np.isfinite(v)]
    if not known:
        return "-"
    spread = f" ± {np.std(known):.{digits}f}" if len(known) > 1 else ""
    return f"{np.mean(known):.{digits}f}{spread}"


if __name__ == "__main__":
    main()

"""Does translating X-ray help to find membranes, and is its uncertainty true: ``python benchmarks/translate.py``.

Two scenes, each with a part to learn from and one to report on: the shipped synthetic pair, and X-ray simulated from
real EM (fly medulla). One fixed segmenter per scene (a shipped domain). ``--table`` prints what is measured so far;
``--only WORD`` takes the scenes whose name holds it, so that two processes can share the work.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _transfer import kept
from _translate import CACHE, INPUTS, SCENES, VARIANTS, measured_seed

AIM_GAP = 0.5
LEVELS = ("0.5", "0.8", "0.9", "0.95")
FIGURES = ("psnr", "ssim", "nrmse", "f1", "vi", "split", "merge", "arand")
TRUST = ("ause", "spearman", "auroc_sd", "auroc_entropy", "auroc_doubt", "psnr", "vi")


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="scenes whose name holds this")
    parser.add_argument("--seeds", default="0,1,2", help="which, so that processes can share the work")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    names = [name for name in SCENES if asked.only in name]
    seeds = [int(seed) for seed in asked.seeds.split(",")]
    if not asked.table:
        for seed in seeds:
            for name in names:
                kept(path_of(name, seed), lambda name=name, seed=seed: measured_seed(name, seed))
    for name in names:
        paths = [path_of(name, seed) for seed in seeds]
        report(name, [kept(path, dict) for path in paths if path.exists()])


def path_of(name: str, seed: int) -> Path:
    """Where a seed of a scene is kept."""
    return CACHE / name / f"seed-{seed}.json"


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """The tables of one scene, as Markdown: mean and standard deviation over seeds."""
    print(f"\n**{name}**, {len(rows)} seeds\n")
    if not rows:
        return
    print("| input of the segmenter | PSNR | SSIM | NRMSE | membrane F1 | VI | split | merge | ARAND |")
    print("|---" * 9 + "|")
    for key, title in INPUTS.items():
        found = [row["inputs"][key] for row in rows if key in row["inputs"]]
        print(f"| {title} | " + " | ".join(_cell([f.get(k) for f in found]) for k in FIGURES) + " |")
    gaps = [_gap(row["inputs"]) for row in rows]
    print(f"\nOf the VI gap between interpolated X-ray and EM translating closes {_cell(gaps)} (aim {AIM_GAP}).\n")
    stated = "".join(f" {float(level):.0%} |" for level in LEVELS)
    print(f"| translator |{stated} AUSE | Spearman | AUROC sd | AUROC entropy | AUROC doubt | PSNR | VI |")
    print("|---" * 12 + "|")
    for key, title in VARIANTS.items():
        found = [row["variants"][key] for row in rows if key in row["variants"]]
        cells = [_cell([f["coverage"][level] for f in found]) for level in LEVELS]
        print(f"| {title} | " + " | ".join([*cells, *(_cell([f.get(k) for f in found]) for k in TRUST)]) + " |")


def _gap(inputs: dict[str, Any]) -> float:
    low, high, now = (inputs[k]["vi"] for k in ("em", "interpolated", "translated"))
    return (high - now) / (high - low)


def _cell(values: list[Any]) -> str:
    known = [v for v in values if v is not None and np.isfinite(v)]
    if not known:
        return "-"
    return f"{np.mean(known):.3f}" + (f" ± {np.std(known):.3f}" if np.std(known) > 0 else "")


if __name__ == "__main__":
    main()

"""The table of `detectors.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

COLUMNS = ("dice", "f1", "f1_centres", "train_s", "search_s")


def table(lines: list[dict[str, Any]], budget_s: float) -> None:
    """Mean over seeds, with the smallest and largest where there are several; of each run the newest line."""
    newest = {(x["data"], x["method"], x["seed"]): x for x in lines if x["budget_s"] == budget_s}
    print("| data | method | seeds | Dice | F1 (IoU >= 0.5) | F1 (centres) | CPU s to train | to search | commit |")
    print("|---|---|---|---|---|---|---|---|---|")
    for data, method in dict.fromkeys((data, method) for data, method, _ in newest):
        runs = [x for (d, m, _), x in newest.items() if (d, m) == (data, method)]
        done = [x for x in runs if "error" not in x]
        cells = [_spread([x[c] for x in done]) for c in COLUMNS] if done else [runs[0]["error"], *[""] * 4]
        commits = ", ".join(dict.fromkeys(x["commit"] for x in runs))
        print(f"| {data} | {method} | {len(runs)} | " + " | ".join(cells) + f" | {commits} |")


def _spread(values: list[float]) -> str:
    digits = 3 if max(values) <= 1 else 0
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"

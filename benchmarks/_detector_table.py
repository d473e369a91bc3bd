"""The table of `detectors.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
from _detector_data import DATASETS

COLUMNS = {"dice": 3, "f1": 3, "f1_centres": 3, "train_s": 0, "search_s": 1}
"""What is shown, with how many decimals."""
ORDER = ("cascade", "exhaustive", "blobs", "classical", "forest", "U-Net")


def table(lines: list[dict[str, Any]], budget_s: float) -> None:
    """Mean over seeds, with the smallest and largest where there are several; of each run the newest line."""
    newest = {(x["data"], x["method"], x["seed"]): x for x in lines if x["budget_s"] == budget_s}
    print("| data | method | seeds | Dice | F1 (IoU >= 0.5) | F1 (centres) | CPU s to train | to search | commit |")
    print("|---|---|---|---|---|---|---|---|---|")
    for data in DATASETS:
        for method in ORDER:
            runs = [x for (d, m, _), x in newest.items() if (d, m) == (data, method)]
            if runs:
                print(f"| {data} | {method} | {len(runs)} | " + " | ".join(_cells(runs, data)) + " |")


def _cells(runs: list[dict[str, Any]], data: str) -> list[str]:
    done = [x for x in runs if "error" not in x]
    if not done:
        return [runs[0]["error"], *[""] * len(COLUMNS)]
    told = {name: _spread([x[name] for x in done], digits) for name, digits in COLUMNS.items()}
    if not DATASETS[data].objects:
        told |= {"f1": "", "f1_centres": ""}
    return [*told.values(), ", ".join(dict.fromkeys(x["commit"] for x in runs))]


def _spread(values: list[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"

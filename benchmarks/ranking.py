"""Does the ranking choose the source that transfers best: ``python benchmarks/ranking.py``.

Every dataset is a target once, its own source left out. The truth at n = 0 is measured here, with the sources that are
ranked; that at n = 1, 4 and 16 is read from docs/benchmarks/transfer.md. ``--controls`` segments images that no model
fits, ``--table`` prints what there is.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from _ranking import FOLDER, controls, looked_at, model_of, target_volume
from _transfer import AS_IT_IS, NAMES, check_data, for_target, kept, measured, seen_by, tested
from scipy.stats import rankdata

from napari_connecto.workflows.adapt.agreement.rule import decide, nearest_two, rank_sum

PAGE = Path(__file__).resolve().parents[1] / "docs/benchmarks/transfer.md"
SETS = ("fly-medulla", "synthetic-neuropil")
"""Models that are tried on the controls."""
COUNTS = {384: (4, 2), 256: (6, 3)}
"""Places of a target and of a control, by their extent."""
Scores = Mapping[str, np.ndarray]


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--controls", type=int, help="measure this set of controls: 0 to choose by, 1 to report on")
    parser.add_argument("--only", default="", help="targets whose name holds one of these, separated by commas")
    parser.add_argument("--all", action="store_true", help="rat-axons too, as source and target, pixels as they are")
    parser.add_argument("--place", type=int, default=384, choices=COUNTS, help="extent of a place, voxels")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    if asked.controls is not None:
        for name, volume in controls(asked.controls).items():
            models = [m for m in SETS if not name.startswith(m)]
            try:
                key = f"controls-{asked.place}-{asked.controls}/{_file(name)}"
                looked_at(key, volume, models, COUNTS[asked.place][1], asked.place)
            except ValueError as error:
                print(f"{name}: {error}", flush=True)
        return
    if not asked.table:
        for target in [t for t in targets(asked.all) if any(word in t for word in asked.only.split(","))]:
            cell(target, asked.all, asked.place)
            for start in sources(target, asked.all):
                truth(target, start)
    report(asked.all, asked.place)
    for chosen in (0, 1):
        control_table(chosen, asked.place)


def targets(every: bool) -> list[str]:
    """Datasets of similar voxel size, or all."""
    return [name for name in NAMES if every or name != AS_IT_IS]


def sources(target: str, every: bool) -> list[str]:
    """Its own left out."""
    return [name for name in targets(every) if name != target]


def cell(target: str, every: bool, size: int) -> dict[str, Any]:
    """What the sources answer on a target's unlabelled part."""
    key = f"{'all' if every else 'similar'}-{size}/{target}"
    return looked_at(key, target_volume(target), sources(target, every), COUNTS[size][0], size, as_it_is=every)


def truth(target: str, start: str) -> float:
    """VI in bits of a source on the held-out sections of a target, without labels."""

    def make() -> dict[str, Any]:
        model, params = model_of(start)
        return measured(model, seen_by(model, start, target, tested(target)), for_target(params, start, target)).row()

    return float(kept(FOLDER / "truth" / target / f"{start}.json", make)["vi"])


def page() -> dict[tuple[str, str], tuple[float, ...]]:
    """MMD^2 and the VI at n = 0, 1, 4 and 16 of every target and source, from the page."""
    text = PAGE.read_text(encoding="utf-8").split("## VI by target")[1].split("## Sources selected")[0]
    found = {}
    for part in re.split(r"\n\*\*(?=\S)", text)[1:]:
        target, body = part.split("**", 1)
        for row in re.findall(r"^\| ([a-z0-9-]+) \|(.+)\|$", body, re.MULTILINE):
            cells = [c.strip() for c in row[1].split("|")]
            if "-" not in cells and row[0] in NAMES:
                found[target, row[0]] = tuple(map(float, cells))
    return found


def scores_of(seen: Mapping[str, Any], places: np.ndarray | slice = slice(None)) -> Scores:
    """Every score of the models on a target; lower is better."""
    apart = np.array(seen["inconsistency"])[:, places].mean(axis=1)
    consensus = nearest_two(np.array(seen["between"])[places].mean(axis=0))
    entropy = np.array(seen["entropy"])[:, places].mean(axis=1)
    consistency = apart.mean(axis=1)
    return {
        "VI under flip": apart[:, 0],
        "VI under noise": apart[:, 1],
        "VI under blur": apart[:, 2],
        "consistency": consistency,
        "instability": consistency / entropy,
        "consensus": consensus,
        "**rule**: ranks of consensus + consistency": rank_sum(consensus, consistency),
    }


def report(every: bool, size: int) -> None:
    """Regret and correlation of every score, and what the rule selects."""
    known, seen, real = page(), {}, {}
    for target in targets(every):
        if (FOLDER / f"{'all' if every else 'similar'}-{size}" / f"{target}.json").exists():
            seen[target] = cell(target, every, size)
    for target, there in seen.items():
        now = [truth(target, s) for s in there["models"]]
        later = np.array([known[target, s][2:] for s in there["models"]]).T
        real[target] = np.array([now, *later])
    names = ["MMD^2, shipped encoder", *scores_of(next(iter(seen.values())))]
    print(f"{len(seen)} targets, {'all sources' if every else 'similar voxel sizes'}\n")
    print("| score | " + " | ".join(f"n = {n}: regret (95 %), correlation" for n in (0, 1, 4, 16)) + " |")
    print("|---" * 5 + "|")
    for name in names:
        pick: Callable[[str], np.ndarray] = lambda t, name=name: (  # noqa: E731
            np.array([known[t, s][0] for s in seen[t]["models"]])
            if name.startswith("MMD")
            else scores_of(seen[t])[name]
        )
        print(f"| {name} | " + " | ".join(_figures({t: (pick(t), real[t][k]) for t in seen}) for k in range(4)) + " |")
    print(
        "\n| target | source | consensus | consistency | instability | VI at n = 0 | n = 1 | rule |\n"
        + "|---" * 8
        + "|"
    )
    for target, there in seen.items():
        table = scores_of(there)
        order = np.argsort(np.argsort(table["**rule**: ranks of consensus + consistency"], kind="stable"))
        for i, start in enumerate(there["models"]):
            cells = [table[k][i] for k in ("consensus", "consistency", "instability")] + list(real[target][:2, i])
            print(f"| {target} | {start} | " + " | ".join(f"{v:.3f}" for v in cells) + f" | {order[i] + 1} |")
    chances(seen, real)


def _figures(pairs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    """Mean regret with its bootstrap interval over targets, and the correlation of ranks pooled within targets."""
    regret = np.array([vi[score.argmin()] / vi.min() - 1 for score, vi in pairs.values()])
    drawn = regret[np.random.default_rng(0).integers(0, len(regret), (10_000, len(regret)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    ranks = np.concatenate([np.array([rankdata(score), rankdata(vi)]) for score, vi in pairs.values()], axis=1)
    centred = np.concatenate(
        [np.array([rankdata(s), rankdata(v)]) - (len(s) + 1) / 2 for s, v in pairs.values()], axis=1
    )
    rho = float((centred[0] * centred[1]).sum() / np.sqrt((centred**2).sum(axis=1).prod())) if ranks.size else 0.0
    return f"{regret.mean():.2f} ({low:.2f} to {high:.2f}), {rho:+.2f}"


def chances(seen: Mapping[str, Any], real: Mapping[str, np.ndarray]) -> None:
    """Is another source better as often as said?"""
    print("\n| target | selected | chance that another is better | another is better, n = 0 | n = 1 |")
    print("|---" * 5 + "|")
    for target, there in seen.items():
        rows = np.array(there["inconsistency"]).mean(axis=2).T
        found = decide(rows, np.array(there["between"]), np.array(there["entropy"]).T)
        best = found.order[0]
        other = ["yes" if real[target][k].argmin() != best else "no" for k in (0, 1)]
        print(f"| {target} | {there['models'][best]} | {found.better[best]:.2f} | {other[0]} | {other[1]} |")


def control_table(chosen: int, size: int) -> None:
    """Instability of every model on every control."""
    print(f"\nControls, set {chosen}\n\n| control | model | instability | degenerate places |\n" + "|---" * 4 + "|")
    for path, there in _cells(FOLDER / f"controls-{size}-{chosen}"):
        for i, model in enumerate(there["models"]):
            share = np.mean(there["inconsistency"][i]) / max(np.mean(there["entropy"][i]), 1e-9)
            trivial = sum(map(bool, there["trivial"][i]))
            print(
                f"| {path.stem.replace('_', ' ')} | {model} | {share:.2f} | {trivial} of {len(there['trivial'][i])} |"
            )


def _cells(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*.json")):
        yield path, kept(path, dict)


def _file(name: str) -> str:
    return name.replace(" ", "_")


if __name__ == "__main__":
    main()

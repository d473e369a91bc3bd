"""Tables and figure of `emergence.py`, from what it kept."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from napari_connecto.workflows.inspect.concepts.curves import reactivation, threshold

mpl.use("Agg")
from matplotlib import pyplot as plt

CONCEPTS = ("membranes", "mitochondria")
Row = dict[str, Any]


def report(place: Path, picture: Path) -> None:
    """Print Markdown tables of each scene that is there, and draw the curves."""
    scenes = [path for path in sorted(place.iterdir()) if list(path.glob("time-*.json"))]
    figure, axes = plt.subplots(len(scenes), 4, figsize=(15, 3.6 * len(scenes)), layout="constrained", squeeze=False)
    for scene, row in zip(scenes, axes, strict=True):
        print(f"\n## {scene.name}\n")
        time, full, scale = (_load(scene, kind) for kind in ("time", "full", "scale"))
        time_table(time)
        reactivations(time)
        space_table(full)
        used_table(full)
        scale_table(scene, scale)
        for concept, panel in zip(CONCEPTS, row, strict=False):
            _time_panel(panel, time, concept, scene.name)
        _space_panel(row[2], full, scene.name)
        _scale_panel(row[3], scene, scale)
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=90)


def _load(scene: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(scene.glob(f"{kind}-*.json"))]


def _rows(run: dict[str, Any], concept: str, axis: str = "step") -> list[Row]:
    return [r for r in run["readings"] if r["concept"] == concept and r["axis"] == axis]


def _stages(run: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(r["stage"] for r in run["readings"]))


def _curve(run: dict[str, Any], concept: str, stage: str) -> list[Row]:
    return sorted((r for r in _rows(run, concept) if r["stage"] == stage), key=lambda r: float(r["at"]))


def above(row: Row, key: str = "probe") -> float:
    """Above chance."""
    return float(row[key]) - float(row["prevalence"])


def since(curve: Sequence[Row]) -> float | None:
    """Step of the threshold."""
    control = [value - curve[0]["prevalence"] for value in curve[0]["untrained"]]
    found = threshold([above(r) for r in curve], [control] * len(curve))
    return None if found is None else float(curve[found]["at"])


def _range(values: Sequence[float], digits: int = 2) -> str:
    low, mean, high = min(values), float(np.mean(values)), max(values)
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def time_table(runs: list[dict[str, Any]]) -> None:
    """Thresholds by stage."""
    for concept in CONCEPTS:
        print(f"\n**{concept}**: linear probe by checkpoint\n")
        print("| stage | first checkpoint | middle | last | untrained + 3 sd | readable since step, by seed |")
        print("|---|---|---|---|---|---|")
        for stage in _stages(runs[0]):
            curves = [_curve(run, concept, stage) for run in runs]
            middle = len(curves[0]) // 2
            ends = [_range([c[i]["probe"] for c in curves]) for i in (0, middle, -1)]
            control = [np.mean(c[0]["untrained"]) + 3 * np.std(c[0]["untrained"], ddof=1) for c in curves]
            steps = ", ".join("never" if (s := since(c)) is None else f"{s:g}" for c in curves)
            print(f"| {stage} | {' | '.join(ends)} | {_range(control)} | {steps} |")


def reactivations(runs: list[dict[str, Any]]) -> None:
    """Of the last checkpoint, by seed."""
    names = _stages(runs[0])
    for concept in CONCEPTS:
        rows = [[_curve(run, concept, stage)[-1] for stage in names] for run in runs]
        found = [reactivation([above(r) for r in row]) for row in rows]
        told = ", ".join("none" if f is None else "/".join(names[i] for i in f) for f in found)
        print(f"\n{concept}: reactivation by seed: {told}")
        for i, stage in enumerate(names):
            print(f"  {stage} {_range([row[i]['probe'] for row in rows])}", end=";")


def space_table(runs: list[dict[str, Any]]) -> None:
    """Stages of the last checkpoint, with controls."""
    if not runs:
        return
    for concept in CONCEPTS:
        rows = [_rows(run, concept) for run in runs]
        print(f"\n**{concept}**, last checkpoint (prevalence {np.mean([r[0]['prevalence'] for r in rows]):.3f})\n")
        heads = "probe | best channel | best latent | random dictionary | shuffled masks less chance | FVU | dead"
        print(f"| stage | {heads} |")
        print("|---|---|---|---|---|---|---|---|")
        for i, stage in enumerate(_stages(runs[0])):
            mine = [r[i] for r in rows]
            keys = ("probe", "channel", "latent", "random_latent", "shuffled", "fvu", "dead")
            print(f"| {stage} | " + " | ".join(_range([m[k] for m in mine]) for k in keys) + " |")
        for one, other in (("latent", "random_latent"), ("latent", "channel")):
            wins = [m[one] - m[other] for row in rows for m in row]
            print(f"{one} above {other}: {np.mean(np.array(wins) > 0):.0%} of {len(wins)}, mean {np.mean(wins):+.3f}")


def used_table(runs: list[dict[str, Any]]) -> None:
    """Readable beside used."""
    if not any(run["used"] for run in runs):
        return
    print("\n| concept | stage | probe | latent | used: probe | channel | latent |\n|---|---|---|---|---|---|---|")
    for concept in CONCEPTS:
        for i, stage in enumerate(_stages(runs[0])):
            cells = []
            for what in ("probe", "channel", "latent"):
                every = [u for run in runs for u in run["used"]]
                mine = [u for u in every if (u["concept"], u["stage"], u["what"]) == (concept, stage, what)]
                share = [u["effect"] / abs(u["margin"]) for u in mine]
                cells.append(f"{sum(u['used'] for u in mine)} of {len(mine)}, {np.mean(share):+.0%}")
            row = [_rows(run, concept)[i] for run in runs]
            scores = [_range([r[k] for r in row]) for k in ("probe", "latent")]
            print(f"| {concept} | {stage} | {' | '.join([*scores, *cells])} |")


def best_of_size(run: dict[str, Any], concept: str, width: float) -> Row:
    """The stage of a size that tells a concept best on the validation blocks."""
    return max((r for r in _rows(run, concept, "width") if r["at"] == width), key=lambda r: float(r["validation"]))


def scale_table(scene: Path, runs: list[dict[str, Any]]) -> None:
    """Best stage by width, and the membranes' Dice."""
    if not runs:
        return
    widths = sorted({r["at"] for r in runs[0]["readings"] if r["axis"] == "width"})
    dices = _load(scene, "dice")
    print("\n| width | Dice of membranes | " + " | ".join(f"{c}, best stage | untrained" for c in CONCEPTS) + " |")
    print("|---|---|" + "---|---|" * len(CONCEPTS))
    for width in widths:
        cells = [_range([d[f"{width:g}"] for d in dices], 3)]
        for concept in CONCEPTS:
            best = [best_of_size(run, concept, width) for run in runs]
            cells += [_range([b["probe"] for b in best]), _range([max(b["untrained"]) for b in best])]
        print(f"| {width:g} | {' | '.join(cells)} |")
    for concept in CONCEPTS:
        found = []
        for run in runs:
            rows = [best_of_size(run, concept, width) for width in widths]
            controls = [[u - row["prevalence"] for u in row["untrained"]] for row in rows]
            at = threshold([above(r) for r in rows], controls)
            found.append("none" if at is None else f"{widths[at]:g}")
        print(f"\n{concept}: smallest width by seed {', '.join(found)}")


def _time_panel(panel: Any, runs: list[dict[str, Any]], concept: str, name: str) -> None:
    for number, stage in enumerate(_stages(runs[0])):
        curves = np.array([[r["probe"] for r in _curve(run, concept, stage)] for run in runs])
        steps = [r["at"] for r in _curve(runs[0], concept, stage)]
        panel.plot(steps, curves.mean(axis=0), color=f"C{number}", label=stage)
        panel.fill_between(steps, curves.min(axis=0), curves.max(axis=0), color=f"C{number}", alpha=0.15, lw=0)
    untrained = [max(r["untrained"]) for run in runs for r in _rows(run, concept)]
    panel.axhline(max(untrained), color="k", ls="--", lw=1, label="untrained, best of all")
    panel.axhline(_rows(runs[0], concept)[0]["prevalence"], color="0.6", lw=1, label="chance")
    panel.set(xscale="log", xlabel="training step", ylabel="average precision", title=f"{name}: {concept} in time")
    panel.set_ylim(0, 1.25)
    panel.legend(fontsize=6, loc="upper left", ncol=2)


def _space_panel(panel: Any, runs: list[dict[str, Any]], name: str) -> None:
    if not runs:
        panel.axis("off")
        return
    stages = _stages(runs[0])
    looks = (("probe", "-"), ("channel", ":"), ("latent", "-."), ("random_latent", "--"))
    for number, concept in enumerate(CONCEPTS):
        for key, line in looks:
            values = np.mean([[r[key] for r in _rows(run, concept)] for run in runs], axis=0)
            panel.plot(stages, values, line, color=f"C{number}", label=f"{concept}, {key.replace('_', ' ')}")
    panel.tick_params(axis="x", rotation=60)
    panel.set(ylabel="average precision", title=f"{name}: in depth")
    panel.set_ylim(0, 1.25)
    panel.legend(fontsize=6, loc="upper left", ncol=2)


def _scale_panel(panel: Any, scene: Path, runs: list[dict[str, Any]]) -> None:
    if not runs:
        panel.axis("off")
        return
    widths = sorted({r["at"] for r in runs[0]["readings"] if r["axis"] == "width"})
    for number, concept in enumerate(CONCEPTS):
        values = np.array([[best_of_size(run, concept, w)["probe"] for w in widths] for run in runs])
        panel.plot(widths, values.mean(axis=0), "o-", color=f"C{number}", label=f"{concept}, best stage")
        panel.fill_between(widths, values.min(axis=0), values.max(axis=0), color=f"C{number}", alpha=0.15, lw=0)
    dices = np.array([[d[f"{w:g}"] for w in widths] for d in _load(scene, "dice")])
    panel.plot(widths, dices.mean(axis=0), "k^--", label="Dice of membranes")
    panel.set(xscale="log", xlabel="width", ylabel="average precision, Dice", title=f"{scene.name}: in size")
    panel.set_xticks(widths, [f"{w:g}" for w in widths])
    panel.set_xticks([], minor=True)
    panel.set_ylim(0, 1.25)
    panel.legend(fontsize=6, loc="upper left", ncol=2)

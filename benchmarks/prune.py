"""How small a shipped model can be on real data: ``python benchmarks/prune.py [smaller] [weights] [neurons]``.

smaller: channels removed and the rest retrained without labels, against removal by magnitude and at random and against
a network of the same shape from random weights. weights: single weights set to zero in one pass, experts by clusters,
and their controls. neurons: whether units whose pre-activations are far from a normal distribution matter more.
Figures are kept in ``benchmarks/cache/prune``; ``--table`` prints what is there.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np
from _em_data import DATASETS
from _prune_neurons import neurons
from _transfer import CACHE, check_data, kept
from scipy.stats import t as student

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import load_model
from napari_connecto.workflows.inspect.prune.places import parts
from napari_connecto.workflows.recipes.parts import tuned_params

PLACE = CACHE.parent / "prune"
SMALLER: Mapping[str, Mapping[str, Any]] = {
    "half": {"sparsity": 0.5},
    "half, random weights": {"sparsity": 0.5, "from_scratch": True},
    "half, random channels": {"sparsity": 0.5, "order": "random"},
    "70 %": {"sparsity": 0.7},
    "half, random weights, 3 x the steps": {"sparsity": 0.5, "from_scratch": True, "steps": 2400},
    "half, smallest weights": {"sparsity": 0.5, "order": "magnitude"},
}
WEIGHTS: Mapping[str, Mapping[str, Any]] = {
    "70 %": {"sparsity": 0.7, "experts": 4},
    "90 %": {"sparsity": 0.9, "experts": 4},
}
DOMAINS = ("fly-medulla", "rat-axons")


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["smaller", "weights", "neurons"])
    parser.add_argument("--only", default="", help="domains whose names hold this")
    parser.add_argument("--ways", default="", help="ways, separated by semicolons; all without it")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    asked = parser.parse_args()
    check_data()
    for what, ways in (("smaller", SMALLER), ("weights", WEIGHTS)):
        if what in asked.what:
            for name in (d for d in DOMAINS if asked.only in d):
                cells = {way: cell(what, name, way, told, asked) for way, told in ways.items()}
                print(f"\n**{name}**\n")
                (table if what == "smaller" else controls)({way: found for way, found in cells.items() if found})
    if "neurons" in asked.what:
        neurons(PLACE, measure=not asked.table)


def cell(what: str, name: str, way: str, told: Mapping[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Figures of one way, measured once."""
    path = PLACE / what / name / f"{way.replace(' ', '_').replace('%', 'pc')}.json"
    if asked.table or (asked.ways and way not in asked.ways.split(";")):
        return kept(path, dict) if path.exists() else {}
    return kept(path, lambda: pruned(name, told))


def pruned(name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """On the test part of a domain's data, which its model has not seen: most to learn from, the end to measure on."""
    image, labels = halves(name)
    model = load_model(nc.list_models()[name], device="cpu", backend="torch")
    params = nc.PruneParams(**told)  # the labels measure and teach nothing
    found = nc.prune(model, image, params, labels=measured_only(image, labels, params), segmentation=tuned_params(name))
    return found.figures()


def halves(name: str) -> tuple[Volume, Volume]:
    """Image and labels of the test part."""
    return DATASETS[name].volume("test")


def measured_only(image: Volume, labels: Volume, params: nc.PruneParams) -> Volume:
    """Labels of the held-out part alone."""
    level = labels.levels[0]
    _, held = parts(level, load_model(nc.list_models()[image.name]).card, params.held_out)
    known = np.zeros_like(level.array)
    known[held.slices] = level.array[held.slices]
    return Volume.from_array(known, level.voxel_nm, name=labels.name, kind="labels")


def change(vi: list[list[float]]) -> str:
    """Relative change of the mean VI, with a 95 % interval: Student's t over held-out places, paired."""
    before, after = np.array(vi).T
    difference, n = (after - before) / before.mean(), len(before)
    half = float(student.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    mean = float(difference.mean())
    return f"{mean:+.1%} ({mean - half:+.1%} to {mean + half:+.1%})"


def table(cells: Mapping[str, Mapping[str, Any]]) -> None:
    """Markdown: what is lost and gained."""
    print("| channels removed | weights | times as fast | Dice with the original | VI | change of VI | tiles |")
    print("|---|---|---|---|---|---|---|")
    for way, found in cells.items():
        agreed = found["agreement"]
        share = found["weights"][1] / found["weights"][0]
        print(
            f"| {way} | {share:.0%} | {found['speedup']:.2f} | {agreed['dice']:.3f} "
            f"| {found['vi'][1]:.3f} ({found['vi'][0]:.3f}) | {change(agreed['vi'])} "
            f"| {found['tiles'][1]:.3%} ({found['tiles'][0]:.3%}) |"
        )


def controls(cells: Mapping[str, Mapping[str, Any]]) -> None:
    """Markdown: single weights."""
    print("| asked for | way | zeros | sets of weights | layer error | Dice with the original | bits between |")
    print("|---|---|---|---|---|---|---|")
    for asked, found in cells.items():
        for way, control in found["controls"].items():
            agreed = control["agreement"]
            print(
                f"| {asked} | {way} | {control['sparsity']:.0%} | {control['copies']} | {control['layer_error']:.3g} "
                f"| {agreed['dice']:.3f} | {agreed['vi_between']:.3f} |"
            )
        print(f"\n{asked}: {found['speedup']:.2f} times as fast as the original, {found['stored_bytes'][1]} bytes\n")


if __name__ == "__main__":
    main()

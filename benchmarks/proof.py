"""How few held-out patches prove a gain, and how often a gain is claimed where there is none.

``python benchmarks/proof.py``. Real data are looked for beside the project (NAPARI_CONNECTO_DATA says where else).
Segmented patches are kept in ``benchmarks/cache``; ``--fresh`` segments again.

A pair is one model on a worse and on a better image, or two shipped models on one image. For draws of a few patches,
an interval is made from each candidate statistic. *Power*: how often it excludes zero in the right direction.
*False alarms*: the same after before and after are swapped at random, patch by patch: then no gain is there, but
patches differ as real ones do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
from _transfer import CACHE, Example, check_data, cut, maps, sections
from scipy import ndimage
from scipy.stats import norm
from scipy.stats import t as student

import napari_connecto as nc
from napari_connecto.core.partition_metrics import Contingency
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import instances

TARGETS = {"fly-medulla": 250, "fly-larva": 256, "mouse-ca1": 256, "mouse-cortex": 160}
"""Datasets, and the side of a patch."""
WAYS = ("clean", "noise 0.1", "noise 0.2", "noise 0.4", "blur 2", "other model")
MODEL, OTHER = "fly-medulla", "synthetic-neuropil"
MOST, COUNTS, DRAWS = 40, (2, 3, 4, 6, 8), 300
OFFSET = 0.02
"""Bits added to both before a ratio is taken, so that a patch without errors does not decide alone."""
Table = tuple[np.ndarray, np.ndarray]


def main() -> None:
    """Segment what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fresh", action="store_true", help="segment again")
    asked = parser.parse_args()
    check_data()
    found = {key: kept(key, asked.fresh) for key in product(TARGETS, WAYS)}
    pairs = {}
    for target in TARGETS:
        better = found[target, "clean"]
        for way in WAYS[1:]:
            pairs[f"{target}, {way}"] = (found[target, way], better)
    print("| pair | patches | VI before | after | fall |\n|---|---|---|---|---|")
    for name, (before, after) in pairs.items():
        vi = [np.mean([total(patch) for patch in side]) for side in (before, after)]
        print(f"| {name} | {len(before)} | {vi[0]:.3f} | {vi[1]:.3f} | {1 - vi[1] / vi[0]:.0%} |")
    report(pairs)


def kept(key: tuple[str, str], fresh: bool) -> list[Table]:
    """Of every patch, the voxels of each neurite and its share of the VI, from the cache or made."""
    path = CACHE / "results" / f"proof-{key[0]}-{key[1]}.json".replace(" ", "-")
    if fresh or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        made = [[column.tolist() for column in table] for table in segmented(*key)]
        path.write_text(json.dumps(made))
    return [tuple(np.array(column) for column in table) for table in json.loads(path.read_text())]  # type: ignore[misc]


def segmented(target: str, way: str) -> list[Table]:
    """Patches of a dataset as a shipped model segments them, worse or better."""
    side, whole = TARGETS[target], [*sections(target, "train"), *sections(target, "test")]
    corners = [
        cut(section, y, x, side)
        for section in whole
        for y in range(0, section.image.shape[1] - side + 1, side)
        for x in range(0, section.image.shape[2] - side + 1, side)
    ]
    spread = np.unique(np.linspace(0, len(corners) - 1, min(MOST, len(corners))).astype(int))
    return [contributions(table_of(worse(corners[i], way, int(i)), way)) for i in spread]


def worse(example: Example, way: str, seed: int) -> Example:
    """The example with noise (a share of its range) or blur (pixels)."""
    kind, _, amount = way.partition(" ")
    image = example.image.astype(np.float32)
    if kind == "noise":
        spread = float(np.ptp(np.percentile(image, [1, 99])))
        image += np.random.default_rng(seed).normal(0, float(amount) * spread, image.shape)
    if kind == "blur":
        image = ndimage.gaussian_filter(image, (0, float(amount), float(amount)))
    changed = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return Example(changed, example.labels, None, example.scaling)


@cache
def shipped(name: str) -> nc.Predictor:
    """A shipped boundary model."""
    return nc.load_model(nc.list_models()[name], device="cpu")


def table_of(example: Example, way: str) -> Contingency:
    """Overlaps of segments and neurites."""
    (boundary,) = maps(shipped(OTHER if way == "other model" else MODEL), [example])
    found = segment_array(boundary, SegmentParams(mode="2d")).astype(np.int64)
    return Contingency.of(found, instances(example.labels))


def contributions(table: Contingency) -> Table:
    """Voxels of every neurite, and bits times voxels of its share of the VI (split and merge)."""
    counts = table.counts.astype(float)
    seg, truth = table.sizes()
    bits = counts * (np.log2(truth / counts) + np.log2(seg / counts))
    ids, inverse = np.unique(table.truth_ids, return_inverse=True)
    return np.bincount(inverse, counts, len(ids)), np.bincount(inverse, bits, len(ids))


def total(table: Table) -> float:
    """VI of a patch."""
    voxels, bits = table
    return float(bits.sum() / voxels.sum())


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean by Student's t."""
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return values.mean() - half, values.mean() + half


def by_bits(before: list[Table], after: list[Table], _: np.random.Generator) -> tuple[float, float]:
    """Student's t over patches, of the difference in bits: what `compare` has used so far."""
    return t_interval(np.array([total(b) - total(a) for b, a in zip(before, after, strict=True)]))


def by_ratio(before: list[Table], after: list[Table], _: np.random.Generator) -> tuple[float, float]:
    """Student's t over patches, of the logarithm of the ratio."""
    pairs = zip(before, after, strict=True)
    return t_interval(np.array([np.log((total(b) + OFFSET) / (total(a) + OFFSET)) for b, a in pairs]))


def by_patches(before: list[Table], after: list[Table], rng: np.random.Generator) -> tuple[float, float]:
    """Cluster bootstrap over patches, percentiles, of the difference in bits."""
    values = np.array([total(b) - total(a) for b, a in zip(before, after, strict=True)])
    drawn = values[rng.integers(0, len(values), (500, len(values)))].mean(axis=1)
    return tuple(np.percentile(drawn, [2.5, 97.5]))  # type: ignore[return-value]


def by_neurites(before: list[Table], after: list[Table], _: np.random.Generator) -> tuple[float, float]:
    """Paired over neurites, each for itself, as if patches did not matter."""
    pairs = [(b[1] - a[1], b[0]) for b, a in zip(before, after, strict=True)]
    bits, voxels = (np.concatenate([pair[k] for pair in pairs]) for k in (0, 1))
    mean = bits.sum() / voxels.sum()
    half = norm.ppf(0.975) * np.sqrt(((bits - mean * voxels) ** 2).sum()) / voxels.sum()
    return mean - half, mean + half


STATISTICS: dict[str, Callable[..., tuple[float, float]]] = {
    "t, bits": by_bits,
    "t, ratio": by_ratio,
    "bootstrap of patches": by_patches,
    "neurites": by_neurites,
}


def report(pairs: dict[str, Any]) -> None:
    """Power and false alarms of every statistic, by the number of patches."""
    for title, swap in (("power", False), ("false alarms, either direction", True)):
        print(f"\n{title}\n| pair | statistic | " + " | ".join(f"{n} patches" for n in COUNTS) + " |")
        print("|---|---|" + "---|" * len(COUNTS))
        for name, statistic in product([*pairs, "mean"], STATISTICS):
            chosen = pairs.values() if name == "mean" else [pairs[name]]
            rates = [np.mean([rate(pair, n, statistic, swap) for pair in chosen]) for n in COUNTS]
            print(f"| {name} | {statistic} | " + " | ".join(f"{r:.1%}" for r in rates) + " |", flush=True)


@cache
def _drawn(count: int, most: int, seed: int) -> np.ndarray:
    return np.stack([np.random.default_rng([seed, k]).permutation(most)[:count] for k in range(DRAWS)])


def rate(pair: Any, count: int, statistic: str, swap: bool) -> float:
    """Share of draws whose interval excludes zero; without ``swap`` only above it."""
    before, after = pair
    rng, said = np.random.default_rng(count), 0
    for chosen in _drawn(count, len(before), count):
        sides = [(after[k], before[k]) if swap and rng.random() < 0.5 else (before[k], after[k]) for k in chosen]
        low, high = STATISTICS[statistic]([s[0] for s in sides], [s[1] for s in sides], rng)
        said += low > 0 or (swap and high < 0)
    return said / DRAWS


if __name__ == "__main__":
    main()

"""What the gates say of data they should pass and of data they should ask about: ``python benchmarks/gate.py``.

False alarms on source blocks that neither weights nor gate have seen; hits on other data sets, and on the same blocks
inverted, of a wrong voxel size, noisier, blurred, and on resin. Needs the real data (see CONTRIBUTING). ``--only WORD``
takes models and ``--seen WORD`` data by name; ``--out FILE`` adds the rows to a file.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import tifffile
from _em_data import DATA, DATASETS
from scipy import ndimage
from scipy.stats import binomtest

import napari_connecto as nc
from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.model import Predictor
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.cascade import load_cascade
from napari_connecto.workflows.ood.check import TILES, gate_check_job
from napari_connecto.workflows.ood.files import load_gate
from napari_connecto.workflows.ood.gate import Gate

HELD_OUT_SEED, NOISE_SEED = 202, 5
MANY = 240
"""Tiles for the false-alarm rate; all else is judged on 32, as in use."""
NOISE, BLUR = 0.2, 2.0
"""Standard deviation as a share of the range of the 1st to 99th percentile; voxels in the plane."""
HEAD = (
    "| model | seen | tiles outside | by features | by flips | p of the first 32 | asks |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Guarded:
    """A model with its gate, a block of its source that it has never seen, and what else to show it."""

    name: str
    model: Predictor
    gate: Gate
    held_out: Volume
    others: dict[str, Volume]
    level: Callable[[Volume], Level]


def domains() -> Iterator[Guarded]:
    """Those that ship."""
    for name, folder in nc.list_models().items():
        model, gate = nc.load_model(folder, backend="torch"), load_gate(folder)
        held = DATASETS[name].volume("test")[0] if name in DATASETS else neuropil()
        others = {n: d.volume("test")[0] for n, d in DATASETS.items() if n != name} | unscaled()
        others |= {} if name not in DATASETS else {"synthetic neuropil": neuropil()}
        if gate is not None:
            yield Guarded(name, model, gate, held, others, partial(fitting_level, card=model.card))


def cascades() -> Iterator[Guarded]:
    """Those that ship; they read a stored level, never a resampled one."""
    phantoms = {"cells": nc.phantom("cells", (64, 512, 512), seed=HELD_OUT_SEED).image, "mitochondria": neuropil()}
    for name, folder in nc.list_cascades().items():
        cascade = load_cascade(folder, backend="torch")
        finest = cascade.stages[0]
        others = {n: d.volume("test")[0] for n, d in DATASETS.items()} | unscaled()
        others |= {f"phantom of {n}": v for n, v in phantoms.items() if n != name}
        if cascade.gate is not None:
            level = partial(Volume.level_at, voxel_nm=finest.card.voxel_nm)
            yield Guarded(f"cascade {name}", finest, cascade.gate, phantoms[name], others, level)


def neuropil() -> Volume:
    """A phantom of another seed than the weights'."""
    return nc.phantom("neuropil", (32, 512, 512), seed=HELD_OUT_SEED).image


def unscaled() -> dict[str, Volume]:
    """Data without a voxel size, or of none that an EM model takes: shown as if they had the model's."""
    read = {"mouse mitochondria (SBEM)": "cdeep3m_mito/image.tif", "X-ray (micro-CT)": "xray_xbrain/cube1.tif"}
    found = {name: DATA / path for name, path in read.items()}
    return {n: Volume.from_array(tifffile.imread(p), (1.0, 1.0, 1.0), name=n) for n, p in found.items() if p.exists()}


def changed(volume: Volume) -> Iterator[tuple[str, Volume]]:
    """The same block, spoilt."""
    level = volume.levels[0]
    image, rng = np.asarray(level.read(level.box), np.float64), np.random.default_rng(NOISE_SEED)
    low, high = np.percentile(image, [1, 99])
    z, y, x = (n // 2 * 2 for n in image.shape)
    binned = image[:, :y, :x].reshape(len(image), y // 2, 2, x // 2, 2).mean(axis=(2, 4))
    resin = rng.normal(size=image.shape)
    for name, array in {
        "the same, inverted": np.iinfo(level.dtype).max - image,
        "the same, twice too coarse": binned,
        "the same, twice too fine": ndimage.zoom(image[: max(1, z // 2)], (1, 2, 2), order=1),
        f"the same, noise of {NOISE:.0%} added": image + rng.normal(0, NOISE * (high - low), image.shape),
        f"the same, blurred by {BLUR:g} voxels": ndimage.gaussian_filter(image, (0, BLUR, BLUR)),
        "resin, white noise": low + (high - low) * (0.5 + 0.05 * resin),
        "resin, noise of 2 voxels": low + (high - low) * (0.5 + 0.3 * ndimage.gaussian_filter(resin, (0, 2, 2))),
    }.items():
        top = np.iinfo(level.dtype).max
        yield name, replace(volume, levels=(Level(np.clip(array, 0, top).astype(level.dtype), level.voxel_nm),))


def row(guarded: Guarded, seen: str, volume: Volume, tiles: int) -> str:
    """One line of the table."""
    try:
        level = guarded.level(volume)
    except VoxelSizeError:
        seen = f"{seen}, as if of its voxel size"
        volume = replace(volume, levels=(replace(volume.levels[0], voxel_nm=guarded.model.card.voxel_nm),))
        level = guarded.level(volume)
    check = nc.run(gate_check_job(volume, guarded.model, guarded.gate, level=level, tiles=tiles))
    judged = check.judgement
    if judged is None:
        return f"| {guarded.name} | {seen} | {check.reason} | | | | no |"
    n, count = len(judged.outside), int(judged.outside.sum())
    low, high = binomtest(count, n).proportion_ci(0.95, method="exact")
    far, unsure = judged.distance > guarded.gate.distance_limit, judged.inconsistency > guarded.gate.inconsistency_limit
    few = replace(judged, **{k: getattr(judged, k)[:TILES] for k in ("distance", "inconsistency", "outside")})
    asks = "**yes**" if few.warns else "no"
    share = f"{count} of {n}: {count / n:.0%} ({low:.0%} to {high:.0%})"
    return f"| {guarded.name} | {seen} | {share} | {far.mean():.0%} | {unsure.mean():.0%} | {few.p:.1g} | {asks} |"


def rows(guarded: Guarded, word: str) -> Iterator[str]:
    """What a model's gate says of everything whose name holds ``word``."""
    shown = [("its source, held out", guarded.held_out), *changed(guarded.held_out), *guarded.others.items()]
    for k, (seen, volume) in enumerate(shown):
        if word in seen:
            yield row(guarded, seen, volume, TILES if k else MANY)


def main() -> None:
    """Print the gates and the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="models whose names hold this")
    parser.add_argument("--seen", default="", help="data whose names hold this")
    parser.add_argument("--out", type=Path, help="file that the lines are added to")
    asked = parser.parse_args()

    def say(line: str) -> None:
        print(line, flush=True)
        if asked.out is not None:
            with asked.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    guarded = [g for made in (domains(), cascades()) for g in made if asked.only in g.name]
    for g in guarded:
        say(f"- {g.name}: {g.gate.sentence}")
    for line in (*HEAD, *(line for g in guarded for line in rows(g, asked.seen))):
        say(line)


if __name__ == "__main__":
    main()

"""Four checks of unusual inputs on the same features: ``python benchmarks/input_checks.py``. Needs the real data.

Mahalanobis distance as shipped (probabilistic PCA), and relative Mahalanobis, ViM and nearest neighbours of pytorch-ood
(``pip install pytorch-ood``). Features are those of the models' own encoders; limits are conformal quantiles over
source tiles whose block was left out of the fit. ``--only WORD`` takes models by name, ``--keep FILE`` keeps features.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path

import numpy as np
import torch
from gate import Guarded, cascades, changed, domains
from pytorch_ood.detector import KNN, RMD, ViM
from scipy.cluster.vq import kmeans2
from scipy.stats import binomtest

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.metrics import auroc
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.ood.check import TILES
from napari_connecto.workflows.ood.gate import FOLDS
from napari_connecto.workflows.ood.gaussian import Gaussian
from napari_connecto.workflows.ood.tiles import own_shape, read_tiles, slabs, tile_shape
from napari_connecto.workflows.shared.patches import candidates

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "sample_data"))
import train_cascades
from train_domains import neuropil

SOURCE, HELD = 160, 64
"""Tiles to fit to, and of the held-out source."""
MODELS = ("fly-medulla", "rat-axons", "synthetic-neuropil", "cascade cells")
RATE, SIGNIFICANT = 0.05, 0.001
KINDS, NEIGHBOURS = 4, 5
"""Clusters of source tiles that stand for classes, which the models do not have; and neighbours."""
Score = Callable[[np.ndarray], np.ndarray]


def mahalanobis(source: np.ndarray) -> Score:
    """As shipped."""
    return Gaussian.fit(source).distance


def standardised(source: np.ndarray) -> Callable[[np.ndarray], torch.Tensor]:
    """Principal components, as many as the shipped check takes, of features scaled as it scales them."""
    fitted = Gaussian.fit(source)
    return lambda v: torch.from_numpy(((v - fitted.mean) / fitted.scale) @ fitted.directions.T).float()


def kinds_of(z: torch.Tensor) -> torch.Tensor:
    """Clusters, numbered without gaps."""
    _, found = kmeans2(z.double().numpy(), KINDS, minit="++", seed=0, missing="warn")
    return torch.from_numpy(np.unique(found, return_inverse=True)[1]).long()


def relative(source: np.ndarray) -> Score:
    """Relative Mahalanobis (Ren et al. 2021): nearest cluster against all."""
    scale = standardised(source)
    z = scale(source)
    fitted = RMD(None).fit_features(z, kinds_of(z))
    return lambda v: fitted.predict_features(scale(v)).numpy()


def vim(source: np.ndarray) -> Score:
    """ViM (Wang et al. 2022): what lies outside of the principal space, and a linear classifier of the clusters."""
    fitted = Gaussian.fit(source)
    z = torch.from_numpy((source - fitted.mean) / fitted.scale).float()
    y = kinds_of(torch.from_numpy(z.numpy() @ fitted.directions.T))
    design = torch.cat([z, torch.ones(len(z), 1)], 1).double()
    wanted = torch.nn.functional.one_hot(y).double()
    ridge = design.T @ design + 1e-1 * len(z) * torch.eye(design.shape[1]).double()
    weights = torch.linalg.solve(ridge, design.T @ wanted).float()
    made = ViM(None, d=len(fitted.directions), w=weights[:-1].T, b=weights[-1])
    made.fit_features(z, y)
    return lambda v: made.predict_features(torch.from_numpy((v - fitted.mean) / fitted.scale).float()).numpy()


def nearest(source: np.ndarray, normalize: bool = True) -> Score:
    """Distance to the nearest neighbours (Sun et al. 2022), there of vectors of length 1."""
    fitted = Gaussian.fit(source)
    scale: Score = lambda v: (v - fitted.mean) / fitted.scale  # noqa: E731
    z = torch.from_numpy(scale(source)).float()
    made = KNN(None, k=NEIGHBOURS, normalize=normalize).fit_features(z, torch.zeros(len(z)).long())
    return lambda v: made.predict_features(torch.from_numpy(scale(v)).float()).numpy()


CHECKS: Mapping[str, Callable[[np.ndarray], Score]] = {
    "Mahalanobis (shipped)": mahalanobis,
    "relative Mahalanobis": relative,
    "ViM": vim,
    "nearest neighbours": nearest,
    "nearest neighbours, own length": partial(nearest, normalize=False),
}


def source_of(guarded: Guarded) -> Volume:
    """What a model was trained on."""
    from _em_data import DATASETS

    if guarded.name in DATASETS:
        return DATASETS[guarded.name].volume("train")[0]
    if guarded.name == "synthetic-neuropil":
        return neuropil()[0]
    with train_cascades.training_volume("cells") as (volume, _):
        level = volume.level_at(guarded.model.card.voxel_nm)
        return Volume((replace(level, array=np.asarray(level.read(level.box))),), name="cells")


def vectors(guarded: Guarded, volume: Volume, tiles: int) -> tuple[np.ndarray, np.ndarray]:
    """Feature vectors of tissue tiles, and their blocks; a refused voxel size is taken as the model's."""
    try:
        level: Level = guarded.level(volume)
    except VoxelSizeError:
        card = guarded.model.card
        volume = replace(volume, levels=(replace(volume.levels[0], voxel_nm=card.voxel_nm),))
        level = guarded.level(volume)
    card, encoder = guarded.model.card, TorchEncoder(guarded.model)
    shape = tile_shape(card)
    drawn = candidates(level, own_shape(card, shape), tiles, 0).boxes
    scaling = card.normalisation.resolve(volume)
    found = [(box.start, encoder(tile[None])[0]) for box, tile in read_tiles(level, scaling, shape, drawn)]
    if len(found) < 2:
        return np.empty((0, 1)), np.empty(0)
    return np.stack([v for _, v in found]).astype(np.float64), slabs([start for start, _ in found])


def seen_by(guarded: Guarded) -> dict[str, np.ndarray]:
    """Vectors of everything a model is shown."""
    source, blocks = vectors(guarded, source_of(guarded), SOURCE)
    found = {"source": source, "blocks": blocks, "held out": vectors(guarded, guarded.held_out, HELD)[0]}
    for name, volume in (*changed(guarded.held_out), *guarded.others.items()):
        found[name] = vectors(guarded, volume, TILES)[0]
        print(f"{guarded.name}: {name}, {len(found[name])} tiles", file=sys.stderr, flush=True)
    return found


def measured(check: Callable[[np.ndarray], Score], found: Mapping[str, np.ndarray]) -> tuple[list[str], list[float]]:
    """Cells of a row, and AUROC by data set."""
    source, blocks, held = found["source"], found["blocks"], found["held out"]
    own = np.empty(len(source))
    names = np.unique(blocks)
    for part in np.array_split(names, min(FOLDS, len(names))):
        left_out = np.isin(blocks, part)
        own[left_out] = check(source[~left_out])(source[left_out])
    limit = np.sort(own)[min(len(own), ceil((len(own) + 1) * (1 - RATE))) - 1]
    score = check(source)
    good = score(held)
    alarms = int((good > limit).sum())
    rate = max(RATE, float(binomtest(int((own > limit).sum()), len(own)).proportion_ci(method="exact").high))
    others = {n: score(v) for n, v in found.items() if n not in ("source", "blocks", "held out") and len(v)}
    areas = [auroc(np.concatenate([good, s]), np.repeat([False, True], [len(good), len(s)])) for s in others.values()]
    warned = [binomtest(int((s > limit).sum()), len(s), rate, "greater").pvalue < SIGNIFICANT for s in others.values()]
    told = [f"{alarms} of {len(held)}: {alarms / len(held):.0%}", f"{np.mean(areas):.3f}", f"{min(areas):.2f}"]
    return [*told, f"{sum(warned)} of {len(warned)}"], areas


def rows(name: str, found: Mapping[str, np.ndarray]) -> Iterator[str]:
    """One line for each check."""
    for check, fit in CHECKS.items():
        cells, _ = measured(fit, found)
        yield f"| {name} | {check} | {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="models whose names hold this")
    parser.add_argument("--keep", type=Path, help="npz file for the features; read if it is there")
    asked = parser.parse_args()
    kept = dict(np.load(asked.keep)) if asked.keep is not None and asked.keep.is_file() else {}
    if not kept:
        for made in (domains(), cascades()):
            for guarded in made:
                if guarded.name in MODELS and asked.only in guarded.name:
                    kept |= {f"{guarded.name}|{n}": v for n, v in seen_by(guarded).items()}
        if asked.keep is not None:
            np.savez(asked.keep, **kept)
    print("| model | check | false alarms, held out | mean AUROC | lowest | warnings |")
    print("|---|---|---|---|---|---|")
    for name in dict.fromkeys(key.split("|")[0] for key in kept):
        own = {key.split("|", 1)[1]: v for key, v in kept.items() if key.startswith(f"{name}|")}
        for line in rows(name, own):
            print(line, flush=True)


if __name__ == "__main__":
    main()

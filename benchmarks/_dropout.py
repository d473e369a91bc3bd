"""Consistency under dropout of features, after Talks and Kreshuk (arXiv 2503.00450): written from the paper's idea.

Whole channels of the deepest encoder activations are set to zero, the others scaled up, as in training with spatial
dropout; the score is the VI between the segments with and without. ``python benchmarks/_dropout.py`` compares the two
shipped models of neuropil on the three other datasets, which needs no training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import napari_connecto as nc
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.nets.nets import Sections
from napari_connecto.workflows.adapt.agreement.answers import answers_job, apart_bits
from napari_connecto.workflows.adapt.agreement.places import Places, draw_places, view
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams

SHARE = 0.3
"""Channels that are dropped."""
STEP = 32
"""Patches are padded to a multiple of it."""


def answer(model: TorchPredictor, image: np.ndarray, seed: int | None) -> np.ndarray:
    """Boundary of a scaled patch (z, y, x) section by section; with a seed, channels are dropped that depend on it."""
    inner: nn.Module = model.net
    while isinstance(inner, Sections):
        inner = inner.net

    def drop(_module: nn.Module, _input: Any, stages: list[Tensor]) -> list[Tensor]:
        deep = stages[-1]
        kept = torch.rand(deep.shape[1], generator=torch.Generator().manual_seed(int(seed or 0))) >= SHARE
        mask = (kept / (1 - SHARE)).to(deep).view(1, -1, *[1] * (deep.ndim - 2))
        return [*stages[:-1], deep * mask]

    hook = None if seed is None else inner.get_submodule("encoder").register_forward_hook(drop)
    spare = [(0, 0), *((0, -n % STEP) for n in image.shape[1:])]
    padded = np.pad(image, spare, mode="reflect").astype(np.float32)
    try:
        with torch.inference_mode():
            found = model.net(torch.from_numpy(padded)[None, None]).float().sigmoid()[0, 0].numpy()
    finally:
        if hook is not None:
            hook.remove()
    return found[tuple(slice(n) for n in image.shape)]


def dropout_bits(model: TorchPredictor, volume: Volume, places: Places, params: SegmentParams) -> list[float]:
    """VI in bits between the segments of each place with and without dropout."""
    scaling = model.card.normalisation.resolve(volume)
    area = (model.card.voxel_nm[2] / places.grid.voxel_nm[2]) ** 2
    params, found = replace(params, mode="2d", min_size=round(params.min_size * area)), []
    for n in range(len(places.boxes)):
        here = view(volume, model.card, places, n)
        image = np.asarray(scaling(here.image), np.float32)
        maps = (here.on_grid(answer(model, image, seed), places, n) for seed in (None, n))
        plain, other = (segment_array(boundary[None], params)[0] for boundary in maps)
        found.append(apart_bits(plain, other))
    return found


def main() -> None:
    """Print one row per target and source."""
    from _em_data import DATASETS
    from _ranking import model_of, target_volume
    from _transfer import measured, tested

    from napari_connecto.core.jobs import run
    from napari_connecto.workflows.adapt.domains import load_library
    from napari_connecto.workflows.adapt.own_sample import own_distance_job

    print("| target | source | dropout | consistency | own encoder | own decoder | VI at n = 0 |\n" + "|---" * 7 + "|")
    for target in ("fly-larva", "mouse-ca1", "mouse-cortex"):
        volume = target_volume(target)
        models = {name: model_of(name) for name in ("fly-medulla", "synthetic-neuropil")}
        places = draw_places(volume, [model.card for model, _ in models.values()], 2, 384)
        for name, (model, params) in models.items():
            torched = torch_model(load_library()[name].model(device="cpu", backend="torch"))
            dropped = float(np.mean(dropout_bits(torched, volume, places, params)))
            steady = float(nc.run(answers_job(model, volume, places, params)).inconsistency.mean())
            own = run(own_distance_job(volume, torched, load_library()[name].own_features()))
            ratio = model.card.voxel_nm[2] / DATASETS[target].voxel_nm[2]
            known = replace(params, mode="2d", min_size=round(params.min_size * ratio**2))
            vi = measured(model, tested(target), known).row()["vi"]
            cells = (dropped, steady, own["encoder"].value, own["decoder"].value, vi)
            print(f"| {target} | {name} | " + " | ".join(f"{v:.3f}" for v in cells) + " |", flush=True)


if __name__ == "__main__":
    main()

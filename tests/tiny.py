"""A cascade of real networks that nobody trained, and a volume it finds something in: files for commands to work on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.jobs import run
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume_job
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.phantoms import phantom
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from tests.workflows.fakes import calibration

TILE, HALO = (8, 32, 32), (2, 8, 8)
VOXEL = ("2000", "1000", "1000")


def volume(folder: Path, shape=(16, 160, 160)) -> Path:
    """A phantom's pyramid, saved; its levels are 1, then 2 x 2 in the plane."""
    path = folder / "cells.ome.zarr"
    run(save_volume_job(phantom("cells", shape, seed=5).image, path, levels=2))
    return path


def cells(seed: int, count: int = 24, shape=(16, 128, 128)) -> tuple[Volume, Volume]:
    """Bright blobs among small bright specks in noise, and the blobs' labels: learnt in a few steps."""
    rng = np.random.default_rng(seed)
    image, truth = rng.normal(20, 4, shape), np.zeros(shape, np.uint16)
    grids = np.indices(shape)
    for label in range(1, 2 * count + 1):
        centre, radius = rng.uniform(0, shape), np.array([2, 4, 4]) if label <= count else np.array([0.5, 0.8, 0.8])
        r2 = sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radius, strict=True))
        image += 120 * np.exp(-r2)
        if label <= count:
            truth[(r2 <= 1) & (truth == 0)] = label
    voxel = [float(v) for v in VOXEL]
    picture = Volume.from_array(np.clip(image, 0, 255).astype(np.uint8), voxel, name=f"blobs {seed}")
    return picture, Volume.from_array(truth, voxel, name="blobs", kind="labels")


def cascade(path: Path, folder: Path, head="masks") -> Path:
    """Untrained networks whose last layer is set so that some chunks of the volume pass each level, not all.

    Masks need the smooth map of a U-Net; centres do not, and a process that loads no MONAI starts in half the time.
    """
    image = open_volume(path)
    unet, scorer = {"kind": "unet", "strides": [[1, 2, 2]], "depth": 2}, {"kind": "scorer", "stride": [1, 1, 1]}
    fine = _card(image, 0, Output("foreground"), unet if head == "masks" else scorer)
    coarse = _card(image, 1, Output("object", (2, 4, 4)), {"kind": "scorer", "stride": [2, 4, 4]})
    stages = (tuned(image, fine, pass_share=0.5), tuned(image, coarse, pass_share=0.6))
    Cascade("tiny", stages, ObjectRule(head, 0.5, 8000.0, 4), calibration(((1, 2, 2),))).save(folder)
    return folder


def _card(image: Volume, k: int, output: Output, network: dict) -> ModelCard:
    network = {**network, "dims": 3, "width": 2}
    scale = Normalisation("percentile", 1, 99.5)
    return ModelCard(
        f"tiny-{k}", "detect", image.levels[k].voxel_nm, TILE, HALO, (output,), normalisation=scale, network=network
    )


def tuned(image: Volume, card: ModelCard, pass_share: float) -> TorchPredictor:
    """An untrained network whose last layer is set so that this share of the image's tiles reaches one half."""
    model, level = new_model(card, seed=3, device="cpu"), image.level_at(card.voxel_nm)
    plan, options = TilePlan(level.shape, card.tile, card.halo), ExecuteOptions(card.normalisation.resolve(image))
    name = card.outputs[0].name
    results = execute(level, plan, model, lambda tile, blocks: float(blocks[name].max()), options=options)
    score = np.clip([score for _, score in results], 1e-6, 1 - 1e-6)
    logit = np.log(score / (1 - score))
    last = [module for module in model.net.modules() if isinstance(module, torch.nn.modules.conv._ConvNd)][-1]
    gain = 2 / float(logit.std())
    with torch.no_grad():
        last.weight.mul_(gain)
        last.bias.sub_(float(np.quantile(logit, 1 - pass_share))).mul_(gain)
    return TorchPredictor(replace(card, digest=""), model.net, "cpu")


def command(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
    """Run ``napari-connecto`` in a process of its own."""
    program = [sys.executable, "-m", "napari_connecto", *map(str, arguments)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=240, **options)


def start(*arguments: str | Path) -> subprocess.Popen:
    """Start ``napari-connecto``; its output is kept, its progress comes as JSON lines."""
    program = [sys.executable, "-m", "napari_connecto", *map(str, arguments), "--progress", "json"]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})


def wait_for(process: subprocess.Popen, stage: str, done: int) -> None:
    """Read progress until ``stage`` has come to ``done``, or the process ends."""
    assert process.stdout is not None
    for line in process.stdout:
        message = json.loads(line)
        if message.get("stage") == stage and message["done"] >= done:
            return

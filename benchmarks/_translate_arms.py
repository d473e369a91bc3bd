"""Ways to train a translator for what it is used for, each with the same processor time, and what each one trains."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _em_data import HERE
from _translate import SCENES, Scene, _labels, _scaled

import napari_connecto as nc
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.io.disk import write_json
from napari_connecto.models.files import save_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.xray.training.design import parts
from napari_connecto.workflows.xray.translate_params import TranslatorParams

CACHE = Path(os.environ.get("NAPARI_CONNECTO_CACHE", HERE / "cache")) / "translate_arms"
CELLS = TranslatorParams(members=1, crop=48, patience=0, fold=2, width=24, depth=2, residual=2, membrane=0.0)
"""One network on cells of two voxels; a quarter of the time of today's at every step."""
SEPARATE = (24, 24, 24)
"""Voxels between the parts of a pair: the larger field of view of all arms."""
EVERY = 6
"""Sections of which one trains the direct segmenter, along each of the three axes."""


@dataclass(frozen=True)
class Arm:
    """A way to train.

    Parameters
    ----------
    title
        In the table.
    params
        Of the translator; steps are for 100 s of processor time on one thread of an AMD EPYC with AVX-512.
    membranes
        Whether the boundary model of the EM helps to train it.
    taught
        Whether it learns from the answer of the ensemble that ships, too.
    """

    title: str
    params: TranslatorParams
    membranes: bool = False
    taught: bool = False


ARMS: Mapping[str, Arm] = {
    "plain": Arm("plain, every voxel", TranslatorParams(members=1, crop=48, patience=0, steps=160)),
    "cells": Arm("plain, cells of two voxels", replace(CELLS, steps=420)),
    "through": Arm("through the boundary model", replace(CELLS, through=1.0, steps=300), True),
    "head": Arm("membrane output", replace(CELLS, membrane=1.0, steps=400), True),
    "both": Arm("membrane output, and through the model", replace(CELLS, membrane=1.0, through=1.0, steps=290), True),
    "robust": Arm(
        "both, and six random microscopes",
        replace(CELLS, membrane=1.0, through=1.0, microscopes=6, steps=290),
        True,
    ),
    "taught": Arm("membrane output, taught by the shipped four", replace(CELLS, membrane=1.0, steps=400), True, True),
}
DIRECT = FineTuneParams(preset="standard", steps=750, crop=64, batch=4, learning_rate=3e-3, patience=0)
"""A boundary model trained on X-ray itself, from scratch, with the true neurons; steps as in `Arm`."""


def held_out(scene: Scene) -> Box:
    """The part of the training tissue that no arm learns from: thresholds are tuned there."""
    return parts(vec3(scene.train.neurons.shape), SEPARATE)["test"]


def boundary_model(scene: Scene, backend: str = "auto") -> Predictor:
    """The boundary model of the scene's EM, held fixed."""
    return nc.load_model(nc.list_models()[scene.domain], backend=backend)


def folder_of(scene: str, arm: str, seed: int) -> Path:
    """Where what was trained is kept."""
    return CACHE / scene / f"{arm}-{seed}"


def train(name: str, arm: str, seed: int, hundreds: float) -> Path:
    """Train an arm on a scene once, and keep it with the processor time that it took.

    Parameters
    ----------
    name, arm, seed
        Scene, arm ("direct" too), and random seed.
    hundreds
        Budget: hundreds of seconds of a processor, see `Arm`.
    """
    folder = folder_of(name, arm, seed)
    if not folder.exists():
        scene, began = SCENES[name](), time.process_time()
        if arm == "direct":
            steps = round(DIRECT.steps * hundreds)
            save_model(_direct(scene, replace(DIRECT, steps=steps, seed=seed)), folder)
        else:
            way = ARMS[arm]
            steps = round(way.params.steps * hundreds)
            params = replace(way.params, steps=steps, seed=seed, name=f"{name}-{arm}")
            segmenter = boundary_model(scene) if way.membranes else None
            teacher = nc.load_translator(nc.list_translators()["synthetic"], backend="torch") if way.taught else None
            pair = scene.train.xray, scene.train.em
            nc.train_translator(*pair, params, segmenter=segmenter, teacher=teacher).save(folder)
        cost = {"cpu_s": time.process_time() - began, "steps": steps}
        write_json(folder.with_suffix(".json"), cost)
    return folder


def _direct(scene: Scene, params: FineTuneParams) -> Predictor:
    """From sections along all three axes of what the other arms train and validate on."""
    boxes = parts(vec3(scene.train.neurons.shape), SEPARATE)
    here = Box(boxes["train"].start, boxes["validation"].stop).slices
    image, labels = _scaled(scene.train.interpolated())[here], _labels(scene.train.neurons)[here]
    examples = []
    for axis in range(3):
        pair = [np.moveaxis(a, axis, 0)[EVERY // 2 :: EVERY] for a in (image, labels)]
        examples += [
            Example(np.ascontiguousarray(x[None]), np.ascontiguousarray(y[None]), scene.voxel_nm, Scaling())
            for x, y in zip(*pair, strict=True)
        ]
    return torch_model(fine_tune(None, examples, params, voxel_nm=scene.voxel_nm))

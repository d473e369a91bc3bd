"""What the arms of ``_translate_arms.py`` reach on tissue and forward models that they have not seen."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from _forward_models import MODELS
from _translate import SCENES, SIDE, Part, Scene, _labels, _scaled, _true_membranes
from _translate_arms import ARMS, boundary_model, folder_of, held_out

import napari_connecto as nc
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.directions import ThreeDirections
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import tune_segmentation
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.shared.whole import answers, boundary_of
from napari_connecto.workflows.xray.conformal import cross_coverage
from napari_connecto.workflows.xray.metrics import likeness
from napari_connecto.workflows.xray.reliability import Recalibration, calibration
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator, load_translator, mixture

DEEP = SegmentParams(mode="3d")
EVERY = 4
"""Of these sections, wrong membrane voxels are counted."""
TUNED = 160
"""Voxels along each axis of what thresholds are tuned on, at most."""
OTHER = 96
"""The same of what is measured with another forward model."""
PAIRED = 64
"""EM voxels along each axis of the pair that recalibrates, at the far end of the test part."""
REFERENCES = {"xray": "interpolated X-ray", "em": "true EM", "shipped": "translator 'synthetic', as shipped"}
"""What is measured beside the arms."""

Maps = Mapping[str, np.ndarray]


def measure(name: str, arm: str, seed: int) -> dict[str, Any]:
    """All figures of one arm (or reference) on one scene; nothing is trained.

    Returns
    -------
    dict
        ``read``: by what finds the membranes ("image": the boundary model of EM on the translation; "output": the
        translator's own; "mean" of both), figures of `_partition`; ``other``: by forward model, the same as ``read`` at
        the thresholds of the scene's own; ``coverage``: by forward model.
    """
    began, scene = time.process_time(), SCENES[name]()
    find = _finder(scene, name, arm, seed)
    tissue = replace(scene.train, neurons=scene.train.neurons)
    here = held_out(scene).slices
    here = tuple(slice(s.start, min(s.stop, s.start + TUNED)) for s in here)
    tuned_on, truth = find(tissue, here), scene.train.neurons[here]
    shown = find(scene.test, _corner(scene.test.neurons.shape, SIDE))
    found: dict[str, Any] = {"read": {}, "other": {}, "coverage": {}}
    params = {key: tune_segmentation([p], [_labels(truth)], DEEP).params for key, p in tuned_on.items()}
    for key, p in shown.items():
        found["read"][key] = _partition(p, params[key], scene.test.neurons, em_segments(name))
    for other, part in other_parts(name).items():
        corner = _corner(part.neurons.shape, OTHER)
        for key, p in find(part, corner).items():
            em = em_segments(name)[corner]
            found["other"].setdefault(other, {})[key] = _partition(p, params[key], part.neurons[corner], em)
    translator = _translator(name, arm, seed)
    if translator is not None:
        found["image"] = _image(translator, scene)
        for other, part in {"own": whole_test(name), **other_parts(name)}.items():
            found["coverage"][other] = _coverage(translator, part)
    return found | {"cpu_s": time.process_time() - began}


def _corner(shape: tuple[int, ...], side: int) -> tuple[slice, ...]:
    return tuple(slice(0, min(n, side)) for n in shape)


def _translator(name: str, arm: str, seed: int) -> Translator | None:
    """Of an arm; None for one that has no translator."""
    if arm == "shipped":
        return load_translator(nc.list_translators()["synthetic"], backend="torch")
    return load_translator(folder_of(name, arm, seed), backend="torch") if arm in ARMS else None


def _finder(scene: Scene, name: str, arm: str, seed: int) -> Callable[[Part, tuple[slice, ...]], Maps]:
    """Membranes of a part, in a box of its EM's voxels, by what finds them."""
    if arm == "direct":
        model = nc.load_model(folder_of(name, arm, seed), backend="torch")
        return lambda part, box: {"image": _three(model, _scaled(part.interpolated())[box])}
    model, translator = boundary_model(scene, "torch"), _translator(name, arm, seed)

    def find(part: Part, box: tuple[slice, ...]) -> Maps:
        if arm == "em":
            return {"image": _three(model, _scaled(_em(part)[box]))}
        if translator is None:
            return {"image": _three(model, _scaled(part.interpolated())[box])}
        answer = answers(translator.predictor(), _xray(translator, part)[box])
        image = _three(model, _scaled(answer["mean"]))
        if "membrane" not in answer:
            return {"image": image}
        return {"image": image, "output": answer["membrane"], "mean": (image + answer["membrane"]) / 2}

    return find


def _three(model: Predictor, image: np.ndarray) -> np.ndarray:
    return boundary_of(ThreeDirections.of(model), np.ascontiguousarray(image))


def _em(part: Part) -> np.ndarray:
    level = part.em.levels[0]
    return np.asarray(level.read(level.box))[tuple(slice(n) for n in part.neurons.shape)]


def _xray(translator: Translator, part: Part) -> np.ndarray:
    return np.asarray(translator.card.normalisation.resolve(part.xray)(part.interpolated()), np.float32)


@cache
def em_segments(name: str) -> np.ndarray:
    """Segments of the true EM of the test part, by the scene's boundary model: as good as a translation can be."""
    scene = SCENES[name]()
    return segment_array(_three(boundary_model(scene), _scaled(_em(scene.test))), DEEP)


@cache
def whole_test(name: str) -> Part:
    """The test part before it was cut: its far corner recalibrates."""
    part = SCENES[name]().test
    level = part.em.levels[0]
    neurons = np.zeros(level.shape, part.neurons.dtype)
    neurons[tuple(slice(n) for n in part.neurons.shape)] = part.neurons
    return replace(part, neurons=neurons)


@cache
def other_parts(name: str) -> Mapping[str, Part]:
    """The test part as other forward models see it."""
    part = whole_test(name)
    return {key: replace(part, xray=make(part.em, nm, 5)) for key, (make, nm) in MODELS.items()}


def _partition(p: np.ndarray, params: SegmentParams, neurons: np.ndarray, em: np.ndarray) -> dict[str, Any]:
    """VI in 3-D, bits, against the truth and against the segments of the EM; how well entropy finds wrong voxels."""
    labels = segment_array(p, params)
    vi, some = variation_of_information(labels, neurons), np.s_[EVERY:-EVERY:EVERY]
    wrong = (p >= DEEP.boundary_threshold) != _true_membranes(neurons)
    return {
        "vi": vi.total,
        "split": vi.split,
        "merge": vi.merge,
        "vi_em": variation_of_information(labels, np.where(neurons > 0, em, 0)).total,
        "auroc": auroc(entropy(p)[some], wrong[some]),
        "wrong": float(wrong[some].mean()),
        "thresholds": [params.boundary_threshold, params.merge_threshold, params.min_size],
    }


def _image(translator: Translator, scene: Scene) -> dict[str, float]:
    answer, true = _answer(translator, scene.test, _corner(scene.test.neurons.shape, SIDE))
    return likeness(answer["mean"], true, np.ones(true.shape, bool))


def _answer(translator: Translator, part: Part, box: tuple[slice, ...]) -> tuple[Maps, np.ndarray]:
    """Of the networks, before recalibration; and the EM on its scale."""
    predictor = mixture(translator.members, TranslateParams())
    answer = answers(predictor, np.ascontiguousarray(_xray(translator, part)[box]))
    true = np.clip(Scaling(**translator.about["target"])(_em(part)[box]), 0, 1).astype(np.float32)
    return answer, true


def _coverage(translator: Translator, part: Part) -> dict[str, Any]:
    """Of 90 % intervals: as trained, and recalibrated on a small pair of the same microscope, with its own forecast."""
    far = tuple(slice(max(0, n - PAIRED), n) for n in part.neurons.shape)
    pair, known = _answer(translator, part, far)
    answer, true = _answer(translator, part, _corner(part.neurons.shape, OTHER))
    total, small = (np.hypot(a["aleatoric"], a["epistemic"]) for a in (answer, pair))
    trained = translator.recalibration["ensemble"]
    local = Recalibration.fit(pair["mean"], small, known)
    told = cross_coverage(pair["mean"], small, known)
    shares = {
        k: calibration(answer["mean"], r(total), true).coverage[0.9] for k, r in (("before", trained), ("after", local))
    }
    return shares | {"low": told.low, "high": told.high}


def costs(name: str, arm: str, seed: int) -> dict[str, Any]:
    """Processor seconds and steps of the training."""
    path = folder_of(name, arm, seed).with_suffix(".json")
    return dict(json.loads(path.read_text())) if path.exists() else {}

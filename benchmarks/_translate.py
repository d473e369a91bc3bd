"""Scenes, inputs and variants of the benchmark of translation."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _em_data import HERE, flyem
from skimage.restoration import richardson_lucy

import napari_connecto as nc
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.metrics import auroc, count
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.partition_metrics import Contingency, adapted_rand_error, variation_of_information
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.workflows.adapt.em_samples import Example
from napari_connecto.workflows.adapt.fine_tune import fine_tune
from napari_connecto.workflows.adapt.params import FineTuneParams
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import tune_segmentation
from napari_connecto.workflows.shared.em_labels import boundary_target
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.shared.whole import answers, boundary_of
from napari_connecto.workflows.xray.metrics import brightness, likeness
from napari_connecto.workflows.xray.reliability import calibration
from napari_connecto.workflows.xray.translate_params import TranslateParams
from napari_connecto.workflows.xray.translator import Translator, load_translator

CACHE = Path(os.environ.get("NAPARI_CONNECTO_CACHE", HERE / "cache")) / "translate"
STEPS, MEMBERS, SHORT = 1500, 4, 200
VARIED = 1
"""Seeds with which what needs a training of its own (no variance head, adversary, fewer steps) is measured too."""
BUDGET = nc.TranslatorParams(members=MEMBERS, steps=STEPS, crop=48)
DIRECT = FineTuneParams(preset="standard", steps=600, crop=96, batch=2, learning_rate=3e-3)
"""A segmenter trained on X-ray itself, from scratch, on all of the train part."""
SECTIONS, TUNED, LEARNT = 6, 4, 12
"""Sections that are measured, that thresholds are tuned on, and that the direct segmenter is trained on."""
SLAB = 40
"""Sections of the train part from which those for thresholds are taken."""
SIDE = 128
"""Voxels along each axis of the block that is translated and measured, at most."""
INPUTS = {
    "raw": "raw X-ray, its own voxels",
    "interpolated": "interpolated X-ray",
    "deconvolved": "interpolated, Richardson-Lucy",
    "translated": "translated (ensemble)",
    "em": "true EM",
    "direct": "interpolated X-ray, by a segmenter trained on it",
}
VARIANTS = {
    "ensemble": "ensemble of 4",
    "single": "one member (no ensemble)",
    "flips": "one member, 8 flips",
    "dropout": "one member, 8 passes of dropout",
    "absolute": "without variance head, one member, 8 flips",
    "adversary": "with adversarial term, one member",
    "short": f"one member, {SHORT} steps",
}


@dataclass(frozen=True)
class Part:
    """X-ray (as measured), EM and neurons (0 is membrane) of one tissue."""

    xray: Volume
    em: Volume
    neurons: np.ndarray

    def interpolated(self) -> np.ndarray:
        """X-ray on the EM's grid, its own intensities; the last voxels repeat where it ends short."""
        level = resampled(self.xray.levels[0], self.em.levels[0].voxel_nm)
        image = np.asarray(level.read(level.box))
        missing = [(0, max(0, n - m)) for n, m in zip(self.neurons.shape, image.shape, strict=True)]
        image = np.pad(image, missing, mode="edge")
        return image[tuple(slice(0, n) for n in self.neurons.shape)]


@dataclass(frozen=True)
class Scene:
    """Where to learn, where to report, and the segmenter of its EM."""

    train: Part
    test: Part
    domain: str

    @property
    def voxel_nm(self) -> FVec3:
        """Of the EM."""
        return self.train.em.levels[0].voxel_nm


def synthetic() -> Scene:
    """The shipped pair, and the shipped one of other tissue."""
    parts = [_shipped(name) for name in ("xray", "xray-test")]
    return Scene(parts[0], parts[1], "synthetic-neuropil")


def _shipped(name: str) -> Part:
    neurons = nc.open_sample(name, "neurons").levels[0]
    part = Part(nc.open_sample(name), nc.open_sample(name, "em"), np.asarray(neurons.read(neurons.box)))
    return part if name == "xray" else _cut(part, (SIDE, SIDE, SIDE))


def fly() -> Scene:
    """Fly medulla, FIB-SEM, 10 nm: z 0-124 to learn from, 135-249 to report on; each part is simulated by itself."""
    parts = []
    for seed, part in enumerate(("train", "test")):
        image, labels = flyem(part)
        em = Volume.from_array(image, (10.0, 10.0, 10.0), name=f"fly medulla, {part}")
        xray = nc.simulate_xray(em, nc.XrayParams(seed=seed))
        parts.append(Part(xray, em, np.where(labels > 1, labels, 0)))
    return Scene(parts[0], _cut(parts[1], (SIDE, SIDE, SIDE)), "fly-medulla")


def _cut(part: Part, shape: tuple[int, int, int]) -> Part:
    """The corner of a part: what is looked at is as large as its neurons."""
    return replace(part, neurons=part.neurons[tuple(slice(n) for n in shape)])


SCENES: Mapping[str, Callable[[], Scene]] = {"synthetic": synthetic, "fly-medulla": fly}


def measured_seed(name: str, seed: int) -> dict[str, Any]:
    """Train everything of one seed and measure it on the test part."""
    scene, began = SCENES[name](), time.process_time()
    params = replace(BUDGET, seed=seed)
    one = replace(params, members=1)
    asked = {"full": params}
    if seed < VARIED:
        asked |= {"absolute": replace(one, loss="absolute"), "adversary": replace(one, adversary=0.05)}
        asked["short"] = replace(one, steps=SHORT)
    made = {key: _trained(CACHE / name / f"seed-{seed}-{key}", scene.train, p) for key, p in asked.items()}
    full = made["full"]
    trained = time.process_time()
    segmenter = torch_model(nc.load_model(nc.list_models()[scene.domain], backend="torch"))
    looks = {kind: (full, kind) for kind in ("ensemble", "single", "flips", "dropout")}
    if seed < VARIED:
        looks |= {"absolute": (made["absolute"], "flips"), "adversary": (made["adversary"], "single")}
        looks["short"] = (made["short"], "single")
    slab = replace(scene, train=_cut(scene.train, (SLAB, *scene.train.neurons.shape[1:])))
    seen = {part: _inputs(getattr(slab, part), full, scene) for part in ("train", "test")}
    inputs = {key: _membranes(segmenter, seen, key, scene) for key in seen["test"]}
    inputs["raw"] = _raw(segmenter, scene)
    inputs["direct"] = _direct(seen, scene, seed)
    tuned = inputs["translated"]["params"]
    variants = {key: _variant(*look, segmenter, scene, tuned) for key, look in looks.items()}
    times = {"train_s": trained - began, "measure_s": time.process_time() - trained}
    return {"inputs": inputs, "variants": variants, "cpu": times}


def _trained(folder: Path, part: Part, params: nc.TranslatorParams) -> Translator:
    """A translator, trained once and kept."""
    if not folder.exists():
        nc.train_translator(part.xray, part.em, params).save(folder)
    return load_translator(folder, backend="torch")


def _scaled(image: np.ndarray) -> np.ndarray:
    """Between its percentiles 1 and 99, as the segmenter wants it; constants are left alone."""
    low, high = np.percentile(image, (1, 99))
    return ((image - low) / max(high - low, 1e-9)).astype(np.float32)


def _translated(translator: Translator, kind: str, part: Part) -> Mapping[str, np.ndarray]:
    """All outputs on the EM's grid."""
    image = translator.card.normalisation.resolve(part.xray)(part.interpolated())
    return answers(translator.predictor(TranslateParams(uncertainty=kind)), image)


def _members(translator: Translator, part: Part) -> list[np.ndarray]:
    """What each member makes of it, as the segmenter wants it."""
    image = translator.card.normalisation.resolve(part.xray)(part.interpolated())
    return [_scaled(answers(member, image)["mean"]) for member in translator.members]


def _inputs(part: Part, translator: Translator, scene: Scene) -> dict[str, np.ndarray]:
    """Images (z, y, x) that the segmenter sees, on the EM's grid, each scaled by itself."""
    xray = _scaled(part.interpolated())
    em = part.em.levels[0]
    true = np.asarray(em.read(em.box))[tuple(slice(0, n) for n in part.neurons.shape)]
    return {
        "interpolated": xray,
        "deconvolved": _scaled(_deconvolved(xray, scene.voxel_nm)),
        "translated": _scaled(_translated(translator, "ensemble", part)["mean"]),
        "em": _scaled(true),
    }


def _deconvolved(image: np.ndarray, voxel_nm: FVec3) -> np.ndarray:
    """Ten rounds of Richardson-Lucy (1972, 1974) with the simulation's own blur: it knows more than the others."""
    sigma = np.array(nc.XrayParams().fwhm_nm) / 2.3548 / voxel_nm
    grids = np.meshgrid(*[np.arange(-int(3 * s), int(3 * s) + 1) for s in sigma], indexing="ij")
    psf = np.exp(-sum((g / s) ** 2 for g, s in zip(grids, sigma, strict=True)) / 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return richardson_lucy(np.clip(image, 0.01, 2) / 2, psf / psf.sum(), num_iter=10, clip=False)


def _chosen(depth: int, n: int) -> np.ndarray:
    return np.unique(np.linspace(4, depth - 5, n).astype(int))


def _labels(neurons: np.ndarray) -> np.ndarray:
    return np.where(neurons > 0, neurons.astype(np.int64) + 2, 1)


def _true_membranes(neurons: np.ndarray) -> np.ndarray:
    """Where neurons are apart or touch, as boundary models learn it."""
    return boundary_target(_labels(neurons))[0] > 0


def _membranes(model: Predictor, seen: Mapping[str, Any], key: str, scene: Scene) -> dict[str, Any]:
    """Thresholds tuned on sections of the train part, figures of sections of the test part."""
    train, test = seen["train"][key], seen["test"][key]
    known = _chosen(len(train), TUNED)
    maps = [boundary_of(model, train[z : z + 1]) for z in known]
    labels = [_labels(scene.train.neurons[z : z + 1]) for z in known]
    params = tune_segmentation(maps, labels, SegmentParams(mode="2d")).params
    found = _scored(model, test, scene.test.neurons, params)
    true = seen["test"]["em"]
    return found | (likeness(_fitted(test, true), true.clip(0, 1), np.ones(true.shape, bool)) if key != "em" else {})


def _fitted(image: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Brightness fitted by a straight line, so that only structure is compared."""
    return brightness(image, true.clip(0, 1))(image)


def _scored(model: Predictor, image: np.ndarray, neurons: np.ndarray, params: SegmentParams) -> dict[str, Any]:
    """VI, ARAND (instances, 2-D, mean over sections) and F1 of membrane voxels at the tuned threshold."""
    rows = []
    for z in _chosen(len(image), SECTIONS):
        boundary, truth = boundary_of(model, image[z : z + 1]), neurons[z : z + 1]
        labels = segment_array(boundary, params)
        vi = variation_of_information(Contingency.of(labels, truth))
        rand = adapted_rand_error(Contingency.of(labels, truth))
        f1 = count(boundary >= params.boundary_threshold, _true_membranes(truth)).f1
        rows.append((vi.total, vi.split, vi.merge, float(getattr(rand, "error", rand)), f1))
    names = ("vi", "split", "merge", "arand", "f1")
    chosen = {k: getattr(params, k) for k in ("boundary_threshold", "merge_threshold", "min_size")}
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True)) | {"params": chosen}


def _raw(model: Predictor, scene: Scene) -> dict[str, Any]:
    """The segmenter on X-ray pixels as they are, its boundary map brought to the EM's grid."""
    maps = []
    for part in (scene.train, scene.test):
        level = part.xray.levels[0]
        boundary = boundary_of(model, _scaled(np.asarray(level.read(level.box)).astype(np.float32)))
        small = Volume((Level(boundary, level.voxel_nm, level.origin_nm),), name="boundary")
        maps.append(Part(small, part.em, part.neurons).interpolated())
    train, test = maps
    known = _chosen(len(train), TUNED)
    labels = [_labels(scene.train.neurons[z : z + 1]) for z in known]
    params = tune_segmentation([train[z : z + 1] for z in known], labels, SegmentParams(mode="2d")).params
    return _scored(_Known(test), test, scene.test.neurons, params)


class _Known:
    """A segmenter of what is a boundary map already."""

    def __init__(self, shown: np.ndarray) -> None:
        from napari_connecto.core.model import ModelCard, Output

        self.card = ModelCard(
            "map", "boundary", (1.0, 1.0, 1.0), (1, *shown.shape[1:]), (0, 0, 0), (Output("boundary"),)
        )

    def __call__(self, batch: np.ndarray, seeds: Any) -> Mapping[str, np.ndarray]:
        return {"boundary": batch[:, 0]}


def _direct(seen: Mapping[str, Any], scene: Scene, seed: int) -> dict[str, Any]:
    """A boundary model trained on interpolated X-ray with the EM's neurons, from scratch."""
    train = _scaled(scene.train.interpolated())
    known = _chosen(len(train), LEARNT)
    examples = [
        Example(train[z : z + 1], _labels(scene.train.neurons[z : z + 1]), scene.voxel_nm, Scaling()) for z in known
    ]
    model = fine_tune(None, examples, replace(DIRECT, seed=seed), voxel_nm=scene.voxel_nm)
    return _membranes(model, seen, "interpolated", scene)


def _variant(
    translator: Translator, kind: str, segmenter: Predictor, scene: Scene, tuned: Mapping[str, Any]
) -> dict[str, Any]:
    """Calibration on the test part, and whether uncertainty finds membrane voxels that come out wrong."""
    answer = _translated(translator, kind, scene.test)
    target = Scaling(**translator.about["target"])
    em = scene.test.em.levels[0]
    shape = scene.test.neurons.shape
    true = np.clip(target(np.asarray(em.read(em.box))[tuple(slice(0, n) for n in shape)]), 0, 1)
    total = np.hypot(answer["aleatoric"], answer["epistemic"])
    found = calibration(answer["mean"], total, true)
    params = SegmentParams(mode="2d", **tuned)
    image, scores = _scaled(answer["mean"]), {"sd": [], "entropy": [], "doubt": []}
    wrong, members = [], _members(translator, scene.test) if kind == "ensemble" else []
    for z in _chosen(len(image), SECTIONS):
        boundary = boundary_of(segmenter, image[z : z + 1])
        wrong.append((boundary >= params.boundary_threshold) != _true_membranes(scene.test.neurons[z : z + 1]))
        scores["sd"].append(total[z : z + 1])
        scores["entropy"].append(entropy(boundary))
        if members:
            scores["doubt"].append(np.std([boundary_of(segmenter, m[z : z + 1]) for m in members], axis=0))
    figures = {f"auroc_{k}": auroc(np.concatenate(v), np.concatenate(wrong)) for k, v in scores.items() if v}
    told = found.to_json()
    likely = likeness(answer["mean"], true, np.ones(true.shape, bool))
    vi = _scored(segmenter, image, scene.test.neurons, params)["vi"]
    return {"coverage": told["coverage"], "ause": found.ause, "spearman": found.spearman, **figures, **likely, "vi": vi}

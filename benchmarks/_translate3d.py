"""Membranes in 3-D: which way from X-ray to segments has the lowest variation of information."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from _translate import Part, Scene, _labels, _scaled, _true_membranes

from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Normalisation, Predictor, Scaling
from napari_connecto.core.partition_metrics import Contingency, variation_of_information
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import tune_segmentation
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.shared.whole import answers, boundary_of
from napari_connecto.workflows.xray.metrics import likeness
from napari_connecto.workflows.xray.reliability import calibration
from napari_connecto.workflows.xray.translator import Translator

TEST, TUNED = (96, 96, 96), (48, 96, 96)
"""Voxels of the block that is reported, and of that on which thresholds are tuned, from the middle of each part."""
MARGIN = 24

Maps = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """A block with a margin that is read and not counted, on the EM's grid; ``own`` is what counts."""

    xray: np.ndarray
    em: np.ndarray
    neurons: np.ndarray
    own: tuple[slice, ...]

    @classmethod
    def of(cls, part: Part, shape: tuple[int, int, int], xray: Volume | None = None) -> Block:
        """The middle of a part, perhaps as another microscope sees it; X-ray scaled as in the whole volume."""
        part = part if xray is None else replace(part, xray=xray)
        size = part.neurons.shape
        start = [(n - min(n, s)) // 2 for n, s in zip(size, shape, strict=True)]
        low = [max(0, a - MARGIN) for a in start]
        here = tuple(slice(a, min(n, b + s + MARGIN)) for a, b, s, n in zip(low, start, shape, size, strict=True))
        own = tuple(slice(b - a, b - a + min(n, s)) for a, b, s, n in zip(low, start, shape, size, strict=True))
        scaling = Normalisation("percentile", 1.0, 99.0).resolve(part.xray)
        em = np.asarray(part.em.levels[0].array)
        return cls(scaling(part.interpolated()[here]), em[here], part.neurons[here], own)


def three(model: Predictor, image: np.ndarray) -> np.ndarray:
    """A model of sections along z, y and x, averaged."""
    image = _scaled(image)
    found = [np.moveaxis(boundary_of(model, np.ascontiguousarray(np.moveaxis(image, a, 0))), 0, a) for a in range(3)]
    return np.mean(found, axis=0, dtype=np.float32)


def maps_of(block: Block, segmenter: Predictor, translators: Mapping[str, Translator]) -> dict[str, Maps]:
    """Boundary maps by the way to them: of the EM, the X-ray, each translation, and each translator's own membranes."""
    found: dict[str, Maps] = {"em": {"boundary": three(segmenter, block.em)}}
    found["interpolated"] = {"boundary": three(segmenter, block.xray)}
    for name, translator in translators.items():
        answer = answers(translator.predictor(), block.xray)
        segmented = three(segmenter, answer["mean"])
        found[f"{name}, segmented"] = {**answer, "boundary": segmented}
        if "membrane" in answer:
            found[f"{name}, own membranes"] = {**answer, "boundary": answer["membrane"]}
            found[f"{name}, both"] = {**answer, "boundary": (answer["membrane"] + segmented) / 2}
    return found


def measured(scene: Scene, segmenter: Predictor, translators: Mapping[str, Translator]) -> dict[str, dict[str, float]]:
    """VI in 3-D, thresholds tuned on the train part; AUROC of wrong membrane voxels; coverage of 90 % intervals."""
    train, test = Block.of(scene.train, TUNED), Block.of(scene.test, TEST)
    learnt, found = (maps_of(block, segmenter, translators) for block in (train, test))
    rows = {}
    for name, maps in found.items():
        rows[name] = scored(learnt[name]["boundary"][train.own], train.neurons[train.own], maps, test)
        owner = translators.get(name.split(",")[0])
        if owner is not None:
            rows[name] |= covered(maps, test, owner)
    return rows


def scored(learnt: np.ndarray, truth: np.ndarray, maps: Maps, test: Block) -> dict[str, float]:
    """Bits, and whether the entropy of the map finds where it is wrong."""
    params = tune_segmentation([learnt], [_labels(truth)], SegmentParams(mode="3d")).params
    boundary, neurons = maps["boundary"][test.own], test.neurons[test.own]
    vi = variation_of_information(Contingency.of(segment_array(boundary, params), neurons))
    wrong = (boundary >= params.boundary_threshold) != _true_membranes(neurons)
    row = {"vi": vi.total, "split": vi.split, "merge": vi.merge, "auroc_entropy": auroc(entropy(boundary), wrong)}
    if "mean" in maps:
        row["auroc_sd"] = auroc(np.hypot(maps["aleatoric"], maps["epistemic"])[test.own], wrong)
    return row


def covered(maps: Maps, test: Block, translator: Translator) -> dict[str, float]:
    """PSNR, and the share of voxels in 90 % intervals."""
    own = test.own
    true = np.clip(Scaling(**translator.about["target"])(test.em), 0, 1)[own]
    sd = np.hypot(maps["aleatoric"], maps["epistemic"])[own]
    psnr = likeness(maps["mean"][own], true, np.ones(true.shape, bool))["psnr"]
    return {"covered": calibration(maps["mean"][own], sd, true).coverage[0.9], "psnr": psnr}


def closed(rows: Mapping[str, Mapping[str, float]], name: str) -> float:
    """Share of the gap in VI between interpolated X-ray and true EM."""
    low, high = rows["em"]["vi"], rows["interpolated"]["vi"]
    return (high - rows[name]["vi"]) / (high - low)

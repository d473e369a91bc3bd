"""Which uncertainty of a translation finds errors of its segments: ``python benchmarks/translate_errors.py``

The shipped translator on the test parts of both scenes of ``translate.py``: wrong membrane voxels, VI in 3-D after the
most uncertain tenth is masked, and decisions of the segmentation. Takes five CPU minutes; nothing is trained.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

import numpy as np
from _translate import SCENES, Part, Scene, _scaled, _true_membranes

import napari_connecto as nc
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor
from napari_connecto.core.partition_metrics import variation_of_information
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.directions import ThreeDirections
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.uncertainty_kinds import entropy
from napari_connecto.workflows.shared.whole import answers, boundary_of
from napari_connecto.workflows.xray.check.segments import Certainty, segment_certainty

DEEP = SegmentParams(mode="3d")
MASKED, EVERY = 0.1, 4
"""Share of the voxels that is masked; every fourth section counts for wrong membranes, all but four at each end."""
NEAR = 12
"""Voxels around a decision in which the truth is looked up."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--translator", default="synthetic", help="name of a shipped translator")
    asked = parser.parse_args()
    translator = nc.load_translator(nc.list_translators()[asked.translator], backend="torch")
    print("| scene | boundary | AUROC entropy | AUROC sd | VI | masked: random | sd | entropy | AUROC apart | merged |")
    print("|---" * 10 + "|")
    for name, make in SCENES.items():
        scene = make()
        part = scene.test
        image = translator.card.normalisation.resolve(part.xray)(part.interpolated())
        answer = answers(translator.predictor(), np.asarray(image, np.float32))
        model = torch_model(nc.load_model(nc.list_models()[scene.domain], backend="torch"))
        for words, predictor in (("one direction", model), ("three", ThreeDirections.of(model))):
            figures = measured(predictor, answer, part, scene)
            print(f"| {name} | {words} | " + " | ".join(f"{v:.3f}" for v in figures) + " |")


def measured(model: Predictor, answer: Mapping[str, np.ndarray], part: Part, scene: Scene) -> list[float]:
    """The figures of one row."""
    neurons, sd = part.neurons, np.hypot(answer["aleatoric"], answer["epistemic"])
    p = boundary_of(model, _scaled(answer["mean"]))
    bits, some = entropy(p), np.s_[EVERY:-EVERY:EVERY]
    wrong = (p >= DEEP.boundary_threshold) != _true_membranes(neurons)
    found = [auroc(u[some], wrong[some]) for u in (bits, sd)]
    labels = segment_array(p, DEEP)
    counted, chance = neurons > 0, np.random.default_rng(0).random(p.shape)
    found.append(variation_of_information(labels, neurons).total)
    for u in (chance, sd, bits):
        kept = np.where(u > np.quantile(u[counted], 1 - MASKED), 0, neurons)
        found.append(variation_of_information(labels, kept).total)
    nm = scene.voxel_nm
    volumes = [Volume((Level(a, nm),), name="map") for a in (labels, np.rint(p * 255).astype(np.uint8))]
    return [*found, *decided(segment_certainty(*volumes, DEEP), labels, neurons, np.array(nm))]


def decided(certainty: Certainty, labels: np.ndarray, neurons: np.ndarray, voxel: np.ndarray) -> list[float]:
    """AUROC of the uncertainty for wrong decisions to keep apart, and for wrong merges.

    Wrong apart: both sides lie in one neuron; wrong merge: at least 15 % of the segment lie in a second one (nearby).
    """
    table, wrong = certainty.decisions, []
    places = np.stack([table[name] for name in ("z_nm", "y_nm", "x_nm")], axis=1) / voxel
    for kind, one, two, at in zip(table["decision"], table["label"], table["other"], places, strict=True):
        here = tuple(slice(max(0, int(c) - NEAR), int(c) + NEAR) for c in at)
        ids, true = labels[here], neurons[here]
        sides = [true[(ids == label) & (true > 0)] for label in (one, two)]
        if min(map(len, sides)) < 30:
            wrong.append(np.nan)
        elif kind == "apart":
            wrong.append(float(np.bincount(sides[0]).argmax() == np.bincount(sides[1]).argmax()))
        else:
            counts = np.sort(np.bincount(sides[0]))[::-1]
            wrong.append(float(len(counts) > 1 and counts[1] > 0.15 * counts.sum()))
    verdict, known = np.array(wrong), ~np.isnan(wrong)
    rows = [known & (table["decision"] == kind) for kind in ("apart", "merged")]
    return [auroc(table["uncertainty"][r], verdict[r] > 0) for r in rows]


if __name__ == "__main__":
    main()

"""A checked translation for neuroglancer: image, uncertain membranes, segments with their uncertainty, decisions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from napari_connecto.core.geometry import fvec3
from napari_connecto.workflows.app.neuroglancer import Point, Shown, shown
from napari_connecto.workflows.xray.check.check import CHECK
from napari_connecto.workflows.xray.check.properties import PROPERTIES
from napari_connecto.workflows.xray.check.segments import Certainty

REPORT, SEGMENTS = "translation.json", "segments"
LISTED = 100
"""Decisions that are annotated, the most uncertain ones."""
ENTROPY_SHADER = """void main() {
  float p = clamp(toNormalized(getDataValue()), 0.001, 0.999);
  float bits = -(p * log2(p) + (1.0 - p) * log2(1.0 - p));
  emitRGBA(vec4(bits, bits * bits * 0.6, 0.1 * bits, bits));
}
"""
"""Entropy of a stored probability, from transparent over red to orange."""


def is_translation(folder: Path) -> bool:
    """Whether this is the result folder of a translation."""
    return (folder / REPORT).is_file()


def translation_layers(folder: Path) -> tuple[list[Shown], list[Point]]:
    """Layers of a translation, and its most uncertain decisions; the image alone where it was not checked.

    The membranes are left out if their map, a large file, was deleted.
    """
    layers, checked = [replace(shown(folder / "mean.zarr"), name="EM-like (from X-ray)")], folder / SEGMENTS
    if not (checked / CHECK).is_file():
        return layers, []
    maps = sorted((checked / "boundary").glob("*.zarr"))[:1]
    layers += [replace(shown(one), name="uncertain membranes", shader=ENTROPY_SHADER) for one in maps]
    labels = shown(checked / "labels" / "labels.zarr")
    layers.append(replace(labels, name="segments", properties=checked / PROPERTIES))
    return layers, _points(Certainty.load(checked))


def _points(certainty: Certainty) -> list[Point]:
    table = certainty.decisions
    names = ("decision", "label", "other", "uncertainty", "z_nm", "y_nm", "x_nm")
    rows = list(zip(*(table[name][:LISTED] for name in names), strict=True))
    points = []
    for decision, label, other, uncertainty, *place in rows:
        ids = f"{int(label)}" if decision == "merged" else f"{int(label)} and {int(other)}"
        words = f"{decision}: {ids}, uncertainty {float(uncertainty):.2f}"
        points.append(Point(fvec3([float(v) for v in place]), words))
    return points

"""The plain threshold that training must beat: it finds what brightness alone shows, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.baseline import baseline_job
from napari_connecto.workflows.cascade.training.design import design
from napari_connecto.workflows.cascade.training.examples import from_labels

SIDE = 256
BOXES = Box((0, 0, 0), (1, SIDE, 150)), Box((0, 0, 160), (1, SIDE, SIDE))


def discs(distance=32, radius=9):
    """Instances of discs on a grid."""
    ids = np.zeros((SIDE, SIDE), np.uint32)
    middles = [(y, x) for y in range(16, SIDE, 32) for x in range(16, SIDE - 8, distance)]
    y, x = np.mgrid[:SIDE, :SIDE]
    for n, (cy, cx) in enumerate(middles, start=1):
        ids[((y - cy) ** 2 + (x - cx) ** 2 <= radius**2) & (ids == 0)] = n
    return ids[None]


def scene(ids, contrast, slope=0.0):
    rng = np.random.default_rng(0)
    image = 100 + contrast * (ids > 0) + slope * np.arange(SIDE) + rng.normal(0, 5, ids.shape)
    volume = Volume((Level(np.clip(image, 0, 255).astype(np.uint8), (1, 1, 1)),))
    labels = Volume((Level(ids, (1, 1, 1)),), kind="labels")
    examples = from_labels(labels, "masks")
    card = design(volume, examples, TrainParams(levels=1))[0]
    rule = ObjectRule("masks", 0.5, examples.diameter_nm, 10, False, examples.width_nm)
    return volume, examples, BOXES, card, rule


@pytest.mark.parametrize(("contrast", "slope"), [(60, 0.0), (-60, 0.0), (25, 0.4)])
def test_bright_or_dark_objects_are_found_also_on_a_slope(contrast, slope):
    found = run(baseline_job(*scene(discs(), contrast, slope)))
    assert found.counts.f1 == 1
    assert found.dice > 0.9


def test_touching_objects_are_parted():
    found = run(baseline_job(*scene(discs(distance=17), 60)))
    assert found.counts.f1 > 0.9


def test_texture_alone_is_not_found():
    volume, examples, boxes, card, rule = scene(discs(), 0)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 40, (1, SIDE, SIDE)) * (discs() > 0)
    level = volume.levels[0]
    image = np.clip(100 + noise - ndimage.gaussian_filter(noise, (0, 2, 2)), 0, 255).astype(np.uint8)
    found = run(baseline_job(replace(volume, levels=(replace(level, array=image),)), examples, boxes, card, rule))
    assert found is None or found.counts.f1 < 0.8

"""Gaps that networks learn to draw: between any two near objects, nowhere else, and wide enough to part them."""

from __future__ import annotations

import cc3d
import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.training.design import design
from napari_connecto.workflows.cascade.training.examples import from_labels
from napari_connecto.workflows.cascade.training.gaps import between, reach
from napari_connecto.workflows.cascade.training.samples import EMPHASIS, Patches


def discs(*middles, radius=12, side=64):
    """Instances (1, y, x); a voxel of several belongs to the nearest middle."""
    y, x = np.mgrid[:side, :side]
    distance = np.stack([np.hypot(y - cy, x - cx) for cy, cx in middles])
    return np.where(distance.min(0) <= radius, distance.argmin(0) + 1, 0).astype(np.uint32)[None]


def test_a_gap_lies_where_two_objects_are_within_reach():
    rng = np.random.default_rng(0)
    ids = np.where(rng.random((3, 20, 24)) < 0.1, rng.integers(1, 6, (3, 20, 24)), 0).astype(np.uint32)
    found = between(ids, (1, 2, 3))
    for z, y, x in np.ndindex(ids.shape):
        near = ids[max(0, z - 1) : z + 2, max(0, y - 2) : y + 3, max(0, x - 3) : x + 4]
        assert found[z, y, x] == (np.unique(near[near > 0]).size > 1)


def test_many_sections_are_as_one_array():
    rng = np.random.default_rng(1)
    ids = np.where(rng.random((40, 6, 6)) < 0.1, rng.integers(1, 6, (40, 6, 6)), 0).astype(np.uint32)
    flat = between(ids, (0, 1, 1))
    for z in range(40):
        np.testing.assert_array_equal(flat[z : z + 1], between(ids[z : z + 1], (0, 1, 1)))
    deep = between(ids, (2, 1, 1))
    np.testing.assert_array_equal(deep[14:18], between(ids[10:22], (2, 1, 1))[4:8])


def test_one_object_or_far_ones_have_none():
    assert not between(discs((32, 32)), (0, 3, 3)).any()
    assert not between(discs((16, 16), (16, 47)), (0, 3, 3)).any()


@pytest.mark.parametrize("distance", [16, 20, 24, 26])
@pytest.mark.parametrize("factor", [1, 2])
def test_targets_of_touching_discs_are_apart_on_the_finest_level_in_use(distance, factor):
    radius = 6 * factor
    ids = discs((32, 18), (32, 18 + distance * factor // 2), radius=radius, side=64 * factor)
    assert cc3d.connected_components(ids > 0).max() == 1 or distance > 24
    fine = Level(np.zeros_like(ids, np.uint8), (1, 1, 1))
    step = Level(np.zeros((1, 64, 64), np.uint8), (1, factor, factor))
    volume = Volume((fine,) if factor == 1 else (fine, step))
    examples = from_labels(Volume((Level(ids, (1, 1, 1)),), kind="labels"), "masks")
    card = design(volume, examples, TrainParams(levels=1))[0]
    level = volume.level_at(card.voxel_nm)
    share, box = examples.share_on(level)
    source = Patches(level, share, box, card, Scaling(0.0, 255.0), between=examples.between_on(level))
    target, weight = source._answer(Box((0, 0, 0), (1, 64, 64)))
    assert cc3d.connected_components(target[0] >= 0.5, connectivity=26).max() == 2
    assert set(np.unique(weight)) == {1.0, 1.0 + EMPHASIS}
    assert (weight > 1).sum() < 0.2 * (share >= 128).sum()
    assert (target[weight > 1] == 0).all()


def test_the_gap_follows_the_objects_width():
    assert reach(96.0, (40, 4, 4), False) == (0, 3, 3)
    assert reach(96.0, (4, 4, 4), False) == (3, 3, 3)
    assert reach(96.0, (4, 4, 4), True) == (0, 3, 3)
    assert reach(4.0, (4, 4, 4), False) == (0, 1, 1)
    assert reach(60.0, (4, 4, 4), False) == (2, 2, 2)

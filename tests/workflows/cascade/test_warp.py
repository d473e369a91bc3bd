"""Crops that are turned, resized and bent: image, target and weight alike, within what was read for them."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.training.samples import Patches
from napari_connecto.workflows.cascade.training.warp import SHARE, SIZES, Warp, draw_warp, margin, warped_share

NM = (1.0, 1.0, 1.0)


def disc(side, radius, at=(0.0, 0.0)):
    """1 inside."""
    y, x = (np.arange(side) - (side - 1) / 2 - a for a in at)
    return ((y[:, None] ** 2 + x[None] ** 2) <= radius**2).astype(np.float32)


def test_a_warp_that_moves_nothing_changes_nothing():
    wide = np.random.default_rng(0).random((2, 3, 12, 12)).astype(np.float32)
    still = Warp(np.stack(np.meshgrid(np.arange(2.0, 10), np.arange(2.0, 10), indexing="ij")))
    np.testing.assert_array_equal(still.linear(wide), wide[..., 2:10, 2:10])
    np.testing.assert_array_equal(still.nearest(wide), wide[..., 2:10, 2:10])
    halfway = Warp(still.at + 0.5)
    np.testing.assert_allclose(halfway.linear(wide)[..., 0, 0], wide[..., 2:4, 2:4].mean((-1, -2)), rtol=1e-6)


@pytest.mark.parametrize("side", [1, 2, 7, 40])
def test_hardly_anything_lies_beyond_the_wider_crop(side):
    rng, size = np.random.default_rng(0), side + 2 * margin(side)
    beyond = [((w.at < 0) | (w.at > size - 1)).mean() for w in (draw_warp(rng, side) for _ in range(200))]
    assert np.mean(beyond) < 1e-3
    assert draw_warp(rng, side).linear(np.ones((size, size))) == pytest.approx(np.ones((side, side)))


def test_objects_keep_their_size_within_the_range_and_turn_by_any_angle():
    rng, side = np.random.default_rng(1), 48
    size = side + 2 * margin(side)
    pair = np.stack([disc(size, 9), disc(size, 3, (10, 0))])
    areas, angles = [], []
    for _ in range(300):
        round_one, beside = draw_warp(rng, side).linear(pair)
        areas.append((round_one > 0.5).sum() / (pair[0] > 0.5).sum())
        y, x = np.argwhere(beside > 0.5).mean(0) - (side - 1) / 2
        angles.append(np.arctan2(y, x))
    low, high = np.quantile(areas, (0.1, 0.9))
    assert 0.9 / SIZES[1] ** 2 < low < 0.9
    assert 1.1 < high < 1.1 / SIZES[0] ** 2
    assert (np.histogram(angles, 8, (-np.pi, np.pi))[0] > 15).all()


@pytest.mark.parametrize(
    ("tile", "stride"), [((1, 32, 32), (1, 1, 1)), ((4, 16, 16), (1, 1, 1)), ((4, 16, 16), (1, 4, 4))]
)
def test_image_target_and_weight_of_a_warped_crop_agree(tile, stride):
    block = Box((0, 20, 20), (8, 100, 100))
    target = np.zeros(block.shape, np.uint8)
    target[:, 30:50, 35:60] = 255
    image = np.full((8, 120, 120), 128, np.uint8)
    image[block.slices] = target
    card = ModelCard("c", "detect", NM, tile, (0, 8, 8), (Output("p", stride, (0, 0, 0)),))
    source = Patches(Level(image, NM), target, block, card, Scaling(0.0, 255.0), warped=1.0)
    shown, of_object = [], []
    for pictures, answers, weights in islice(source.draw(4, seed=0), 10):
        assert answers.shape == weights.shape
        coarse = [np.repeat(np.repeat(a, stride[1], -2), stride[2], -1) for a in (answers, weights)]
        bright, known = pictures > 0.75, coarse[1] > 0
        shown.append(((bright == (coarse[0] > 0.5)) | ~known).mean())
        of_object.append(float(coarse[0][known].mean()))
    assert min(shown) > (0.97 if stride == (1, 1, 1) else 0.85)  # a coarse cell is object if a part of it is
    assert 0.1 < np.mean(of_object) < 0.9


def test_the_same_seed_warps_alike():
    first, other, third = (draw_warp(np.random.default_rng(seed), 16).at for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, other)
    assert (first != third).any()


def test_crops_are_warped_where_few_objects_are_labelled():
    grid = np.zeros((2, 100, 100), np.uint8)
    grid[:, ::4, ::4] = 255  # 625 of one pixel in each section
    assert warped_share(grid[:1, :40]) == SHARE
    assert warped_share(grid[:1]) == 0
    assert warped_share(grid[:1, :40], grid[1:, :40]) == 0  # 250 in each are `MANY` together
    assert warped_share(np.zeros_like(grid)) == SHARE

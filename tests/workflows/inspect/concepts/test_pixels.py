"""The split: blocks are whole, far apart, and hold the concept; the shuffled control keeps shapes and moves places."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.inspect.concepts.params import ConceptParams
from napari_connecto.workflows.inspect.concepts.pixels import TEST, TRAIN, VALIDATION, choose_pixels

VOXEL = (40.0, 8.0, 8.0)


def levels(shape=(4, 96, 96), seed=0, share=0.3):
    """An image of nothing, and a mask of random pixels."""
    mask = np.random.default_rng(seed).random(shape) < share
    return Level(np.zeros(shape, np.uint8), VOXEL), {"spots": Level(mask.astype(np.uint8), VOXEL)}


@given(st.integers(0, 999), st.integers(0, 12), st.sampled_from([16, 24, 32]))
@settings(max_examples=8, deadline=None)
def test_pixels_of_different_roles_are_a_gap_apart(seed, gap, block):
    image, masks = levels()
    pixels = choose_pixels(image, masks, ConceptParams(pixels=3000, block=block, gap=gap, seed=seed), None)
    for one, other in ((TRAIN, TEST), (TRAIN, VALIDATION), (VALIDATION, TEST)):
        places = [pixels.at[pixels.role == role][:, 1:] for role in (one, other)]
        nearest, _ = cKDTree(places[0]).query(places[1], p=np.inf)
        assert nearest.min() > gap
    for number in np.unique(pixels.block):
        assert len(np.unique(pixels.role[pixels.block == number])) == 1


def test_truth_is_that_of_the_mask_and_no_pixel_is_taken_twice():
    image, masks = levels()
    pixels = choose_pixels(image, masks, ConceptParams(pixels=2000, block=24), None)
    z, y, x = pixels.at.T
    np.testing.assert_array_equal(pixels.truth["spots"], masks["spots"].array[z, y, x])
    assert len(np.unique(pixels.at, axis=0)) == len(pixels.at)
    assert pixels.prevalence("spots") == pytest.approx(0.3, abs=0.07)


def test_shuffled_truth_is_that_of_another_block_of_the_role():
    """A mask that is the number of its block shows where the shuffled truth comes from."""
    shape, block = (1, 96, 96), 24
    y, x = np.indices(shape[1:]) // block
    parity = Level(((y + x) % 2)[None].astype(np.uint8), VOXEL)
    image, _ = levels(shape)
    pixels = choose_pixels(image, {"odd": parity}, ConceptParams(pixels=2000, block=block, gap=0), None)
    for number in np.unique(pixels.block):
        mine = pixels.block == number
        assert len(np.unique(pixels.shuffled["odd"][mine])) == 1
    assert (pixels.shuffled["odd"] != pixels.truth["odd"]).any()


def test_a_region_is_kept_to():
    image, masks = levels((4, 160, 160))
    region = Box((1, 40, 50), (3, 120, 130))
    pixels = choose_pixels(image, masks, ConceptParams(pixels=2000, block=16), region)
    assert (pixels.at >= region.start).all()
    assert (pixels.at < region.stop).all()


def test_scribbles_leave_the_rest_unknown():
    image, _ = levels()
    labels = np.zeros(image.shape, np.uint8)
    labels[:, ::2, ::3], labels[:, 1::2, ::3] = 1, 2
    params = ConceptParams(pixels=2000, block=24, scribbles=True)
    pixels = choose_pixels(image, {"lines": Level(labels, VOXEL)}, params, None)
    z, y, x = pixels.at.T
    np.testing.assert_array_equal(pixels.truth["lines"], labels[z, y, x].astype(int) - 1)
    assert set(pixels.at[:, 2] % 3) == {0}


@pytest.mark.parametrize(
    ("share", "params", "message"),
    [
        (0.3, ConceptParams(block=64), "1 blocks of 64; at least 8 are needed"),
        (0.0, ConceptParams(block=24), "got 0 pixels of 'spots'"),
        (1.0, ConceptParams(block=24), "and 0 of the rest"),
        (0.3, ConceptParams(block=16, gap=16), "smaller than block"),
    ],
)
def test_too_little_is_refused(share, params, message):
    image, masks = levels(share=share)
    with pytest.raises(InputError, match=message):
        choose_pixels(image, masks, params, None)

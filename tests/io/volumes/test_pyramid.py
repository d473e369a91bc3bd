from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_connecto.io.volumes.pyramid import Grid, downsample, grids, halving

FACTORS = st.tuples(*[st.sampled_from([1, 2])] * 3)
BLOCKS = arrays(np.uint16, st.tuples(*[st.integers(1, 5)] * 3), elements=st.integers(0, 5))


def cells(block, factor):
    """Brute force: the voxels of every cell."""
    shape = [-(-n // f) for n, f in zip(block.shape, factor, strict=True)]
    for at in np.ndindex(*shape):
        yield at, block[tuple(slice(a * f, (a + 1) * f) for a, f in zip(at, factor, strict=True))].ravel()


@given(block=BLOCKS, factor=FACTORS)
def test_labels_take_the_mode_and_ties_the_smallest(block, factor):
    merged = downsample(block, factor, "labels")
    assert merged.dtype == block.dtype
    for at, members in cells(block, factor):
        assert merged[at] == np.bincount(members).argmax()


@given(block=BLOCKS, factor=FACTORS)
def test_images_take_the_rounded_mean_of_what_a_cell_has(block, factor):
    merged = downsample(block, factor, "image")
    for at, members in cells(block, factor):
        assert merged[at] == np.rint(members.mean())


@pytest.mark.parametrize("dtype", ["u1", "i2", "u4", "f4", "f8"])
def test_mean_of_a_constant_is_that_constant_for_every_type(dtype):
    top = np.iinfo(dtype).max if dtype[0] in "ui" else 1.5
    block = np.full((2, 3, 5, 4), top, dtype)
    merged = downsample(block, (2, 2, 2), "image")
    assert merged.shape == (2, 2, 3, 2)
    assert merged.dtype == block.dtype
    assert (merged == top).all()


def test_nan_passes_through_and_large_ids_survive():
    block = np.ones((2, 2, 2), np.float32)
    block[0, 0, 0] = np.nan
    assert np.isnan(downsample(block, (2, 2, 2), "image")).all()
    ids = np.full((2, 2, 2), 2**63 + 5, np.uint64)
    assert downsample(ids, (2, 2, 2), "labels")[0, 0, 0] == 2**63 + 5


def test_masks_take_the_majority():
    mask = np.zeros((2, 2, 2), bool)
    mask[0] = mask[1, 0, 0] = True
    assert downsample(mask, (2, 2, 2), "image").tolist() == [[[True]]]


def test_finer_axes_are_halved_until_isotropic_then_all():
    found = grids(Grid((64, 1024, 1024), (50.0, 4.0, 4.0)), levels=6)
    assert [grid.factor for grid in found[1:]] == [(1, 2, 2)] * 4 + [(2, 2, 2)]
    assert found[4].voxel_nm == (50.0, 64.0, 64.0)
    assert found[5].voxel_nm == (100.0, 128.0, 128.0)
    assert [grid.shape for grid in found][-2:] == [(64, 64, 64), (32, 32, 32)]


def test_flat_images_stay_flat_and_odd_shapes_round_up():
    assert halving((1, 100, 100), (1.0, 5.0, 5.0)) == (1, 2, 2)
    assert [grid.shape for grid in grids(Grid((1, 333, 65), (5.0, 5.0, 5.0)))] == [
        (1, 333, 65),
        (1, 167, 33),
        (1, 84, 17),
        (1, 42, 9),
    ]


def test_levels_share_the_corner_and_stop_at_one_voxel():
    found = grids(Grid((2, 2, 2), (1.0, 1.0, 1.0), (3.0, 4.0, 5.0)), levels=9)
    assert [grid.shape for grid in found] == [(2, 2, 2), (1, 1, 1)]
    assert {grid.origin_nm for grid in found} == {(3.0, 4.0, 5.0)}

"""A level at another voxel size: right values, and the same ones however it is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level


def level(array, voxel_nm=(1.0, 1.0, 1.0)):
    return Level(array, voxel_nm, (5.0, 6.0, 7.0))


def test_an_even_pair_of_voxels_becomes_a_triangle_weighted_mean():
    row = np.array([0, 0, 8, 0, 0, 0, 0, 0], np.uint8).reshape(1, 1, 8)
    small = resampled(level(row), (1.0, 1.0, 2.0))
    # centres at 0.5, 2.5, ...; weights 1/8, 3/8, 3/8, 1/8 of the four voxels around each
    assert small.read(small.box).ravel().tolist() == [1.0, 3.0, 0.0, 0.0]
    assert small.shape == (1, 1, 4)
    assert small.voxel_nm == (1.0, 1.0, 2.0)
    assert small.origin_nm == (5.0, 6.0, 7.0)


def test_a_ramp_in_nanometres_stays_the_ramp():
    """Linear interpolation reproduces what is linear in the world, away from the rim."""
    ramp = np.broadcast_to((np.arange(64) + 0.5) * 3.0, (2, 10, 64)).astype(np.float32)
    for wanted in (2.0, 4.4, 7.5):
        other = resampled(Level(ramp, (9.0, 9.0, 3.0)), (9.0, 9.0, wanted))
        inside = slice(4, other.shape[2] - 4)
        truth = (np.arange(other.shape[2]) + 0.5) * wanted
        error = np.abs(other.read(other.box)[1, 3, inside] - truth[inside]).max()
        assert error < (1e-4 if wanted < 3 else 0.1), wanted  # nm; towards larger voxels a thirtieth of a voxel


@settings(max_examples=40, deadline=None)
@given(st.tuples(*(st.floats(0.4, 3.5) for _ in range(3))), st.data())
def test_a_voxel_does_not_depend_on_the_box_it_is_read_in(steps, data):
    array = np.random.default_rng(0).integers(0, 255, (2, 9, 21, 17), np.uint8)
    other = resampled(level(array), steps)
    whole = other.read(other.box)
    start = [data.draw(st.integers(0, n - 1)) for n in other.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, other.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    np.testing.assert_allclose(other.read(box), whole[(..., *box.slices)], atol=2e-4)
    assert whole.shape[0] == 2
    assert whole.min() >= array.min() - 1e-3
    assert whole.max() <= array.max() + 1e-3


def test_nothing_changes_within_two_per_cent():
    one = level(np.zeros((2, 3, 4), np.uint8), (50.0, 4.0, 4.0))
    assert resampled(one, (50.5, 4.05, 3.95)) is one


def test_micrometres_given_for_nanometres_are_refused():
    with pytest.raises(VoxelSizeError, match="more than 64 times as large; check the voxel size"):
        resampled(level(np.zeros((2, 300, 400), np.uint8), (50.0, 4.0, 4.0)), (50.0, 4000.0, 4000.0))

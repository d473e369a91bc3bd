"""Laws of boxes, against sets of voxels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.geometry import Box, fvec3, vec3

corner = st.tuples(*[st.integers(-4, 6)] * 3)
extent = st.tuples(*[st.integers(0, 5)] * 3)
boxes = st.builds(lambda a, n: Box(a, vec3(np.add(a, n).tolist())), corner, extent)


def voxels(box: Box) -> set:
    return set(itertools.product(*(range(a, b) for a, b in zip(box.start, box.stop, strict=True))))


@given(boxes, boxes)
def test_clip_is_intersection(a, b):
    assert voxels(a.clip(b)) == voxels(a) & voxels(b)
    assert a.overlaps(b) == bool(voxels(a) & voxels(b))
    assert a.clip(b).size == len(voxels(a) & voxels(b))


@given(boxes, boxes)
def test_contains(a, b):
    if b.size:
        assert a.contains(b) == (voxels(b) <= voxels(a))


@given(boxes, st.tuples(*[st.integers(0, 3)] * 3))
def test_grow_and_shift_are_undone(box, by):
    back = tuple(-v for v in by)
    assert box.grow(by).grow(back) == box
    assert box.shift(by).shift(back) == box
    assert box.shift(by).shape == box.shape
    assert box.grow(by).shape == tuple(n + 2 * h for n, h in zip(box.shape, by, strict=True))


@given(boxes, st.tuples(*[st.sampled_from([1, 2, 4])] * 3))
def test_rescale_covers_and_is_undone_by_the_inverse(box, factor):
    fine = box.rescale(factor)
    assert fine.shape == tuple(n * f for n, f in zip(box.shape, factor, strict=True))
    assert fine.rescale([1 / f for f in factor]) == box
    coarse = box.rescale([1 / f for f in factor])
    assert coarse.rescale(factor).contains(box)


def test_rescale_is_the_smallest_cover():
    assert Box((1, 3, 5), (2, 4, 9)).rescale((0.5, 0.5, 0.5)) == Box((0, 1, 2), (1, 2, 5))
    assert Box((1, 3, 5), (2, 4, 9)).rescale((1, 2, 2)) == Box((1, 6, 10), (2, 8, 18))
    assert Box((0, 0, 0), (3, 3, 3)).rescale((1 / 3, 1 / 3, 1 / 3)) == Box((0, 0, 0), (1, 1, 1))


def test_clip_to_a_shape_indexes_an_array():
    array = np.arange(60).reshape(3, 4, 5)
    box = Box((-1, 1, 3), (2, 9, 9)).clip(array.shape)
    assert box == Box((0, 1, 3), (2, 4, 5))
    np.testing.assert_array_equal(array[box.slices], array[0:2, 1:4, 3:5])
    assert Box((5, 0, 0), (9, 1, 1)).clip(array.shape).size == 0
    assert Box((1, 2, 3), (2, 5, 9)).centre == (1.5, 3.5, 6.0)


def test_three_from_one():
    assert (vec3(2), vec3((1.0, 2.0, 3.0))) == ((2, 2, 2), (1, 2, 3))
    assert (fvec3(2), fvec3((1, 2, 3))) == ((2.0, 2.0, 2.0), (1.0, 2.0, 3.0))
    with pytest.raises(ValueError, match="unpack"):
        vec3((1, 2))

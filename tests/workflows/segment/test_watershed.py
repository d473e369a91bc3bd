"""Fragments and their seeds on maps whose partition is known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.workflows.segment import watershed
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments
from tests.workflows.segment.test_segment import cells

DEEP = SegmentParams(mode="3d", boundary_threshold=0.5, smoothing=1.0, seed_distance=1.5)
FLAT = SegmentParams(mode="2d", boundary_threshold=0.5, smoothing=1.0, seed_distance=1.5)


def wall(shape, axis, at):
    """Nothing but a wall two voxels thick."""
    boundary = np.zeros(shape, np.float32)
    np.moveaxis(boundary, axis, 0)[at : at + 2] = 1
    return boundary


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_wall_makes_two(axis):
    labels = fragments(wall((16, 16, 16), axis, 7), DEEP)
    moved = np.moveaxis(labels, axis, 0)
    assert labels.dtype == np.uint32
    assert sorted(np.unique(moved[:7])) == [moved[0, 0, 0]]
    assert sorted(np.unique(moved[9:])) == [moved[-1, 0, 0]]
    assert set(np.unique(labels)) == {1, 2}


def test_sections_are_cut_by_themselves():
    labels = fragments(wall((3, 16, 16), 2, 7), FLAT)
    assert [sorted(np.unique(section)) for section in labels] == [[1, 2], [3, 4], [5, 6]]
    assert (labels[:, :, :7] == labels[:, :1, :1]).all()
    assert (labels[:, :, 9:] == labels[:, -1:, -1:]).all()


def test_no_boundary_and_nothing_but_boundary_are_one_fragment_a_section():
    for value in (0.0, 1.0):
        labels = fragments(np.full((2, 20, 20), value, np.float32), FLAT)
        np.testing.assert_array_equal(labels, np.array([1, 2])[:, None, None] * np.ones((2, 20, 20), int))


def test_the_threshold_says_what_a_wall_is():
    faint = wall((1, 16, 16), 2, 7) * 0.3
    assert fragments(faint, FLAT).max() == 1
    low = SegmentParams(mode="2d", boundary_threshold=0.2)
    assert fragments(faint, low).max() == 2


def test_seeds_keep_their_distance():
    boundary = wall((1, 16, 16), 2, 2)  # a strip two voxels wide to its left
    assert fragments(boundary, FLAT).max() == 2
    assert fragments(boundary, SegmentParams(mode="2d", seed_distance=3.0)).max() == 1


def test_distances_follow_the_shape_of_voxels():
    """A gap of two deep sections is as wide as one of twelve thin ones."""
    boundary = np.zeros((6, 24, 24), np.float32)
    boundary[0], boundary[3:] = 1, 1
    few = SegmentParams(mode="3d", seed_distance=5.0)
    deep, even = (watershed._distance(boundary, few, (z, 1.0, 1.0)) for z in (6.0, 1.0))
    np.testing.assert_array_equal(deep[:, 0, 0], [0, 6, 6, 0, 0, 0])
    np.testing.assert_array_equal(even[:, 0, 0], [0, 1, 1, 0, 0, 0])
    assert set(np.unique(np.nonzero(watershed._seeds(deep, few, (6.0, 1.0, 1.0)))[0])) == {1, 2}
    assert not watershed._seeds(even, few, (1.0, 1.0, 1.0)).any()


def test_where_there_is_no_boundary_distance_decides():
    """Two rooms with an open door: each seed gets its room, though nothing stands in the way."""
    boundary = np.zeros((1, 21, 41), np.float32)
    boundary[0, :, 20] = 1
    boundary[0, 9:12, 20] = 0
    boundary[0, [0, -1]], boundary[0, :, [0, -1]] = 1, 1
    labels = fragments(boundary, FLAT)[0]
    room, other = labels[10, 5], labels[10, 35]
    assert room != other
    left, right = labels[1:-1, 1:18], labels[1:-1, 23:-1]
    assert (left == room).mean() > 0.9
    assert (right == other).mean() > 0.9


def test_the_slower_watershed_makes_the_same_segments(monkeypatch):
    boundary, _ = cells((12, 40, 44))
    first = segment_array(boundary, DEEP)
    monkeypatch.setattr(watershed, "fast_watershed", None)
    second = segment_array(boundary, DEEP)
    assert first.max() == second.max() == 6
    assert (first == second).mean() > 0.95
    np.testing.assert_array_equal(first[boundary < 0.3], second[boundary < 0.3])


def test_the_slower_watershed_agrees_where_there_is_no_tie(monkeypatch):
    rng = np.random.default_rng(0)
    boundary = rng.permutation(4000).reshape(10, 20, 20).astype(np.float32) / 4000
    seeds = np.zeros(boundary.shape, np.uint32)
    seeds[0, 0, 0], seeds[9, 19, 19], seeds[5, 0, 19] = 1, 2, 3
    first = watershed._flood(boundary, seeds)
    monkeypatch.setattr(watershed, "fast_watershed", None)
    second = watershed._flood(boundary, seeds)
    assert first.dtype == second.dtype == np.uint32
    assert (first > 0).all()
    assert (first == second).mean() > 0.99

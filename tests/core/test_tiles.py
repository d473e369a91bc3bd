"""Laws of tile plans, against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.tiles import TilePlan

plans = st.builds(
    TilePlan,
    st.tuples(*[st.integers(1, 11)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(0, 3)] * 3),
)
boxes = st.builds(
    lambda a, n: Box(a, vec3(np.add(a, n).tolist())),
    st.tuples(*[st.integers(-3, 12)] * 3),
    st.tuples(*[st.integers(0, 8)] * 3),
)


@given(plans)
def test_every_voxel_has_one_owner_and_all_reads_one_shape(plan):
    owners = np.zeros(plan.shape, int)
    for tile in plan:
        owners[tile.write.slices] += 1
        assert Box.of(plan.shape).contains(tile.write)
        assert tile.read.shape == plan.read_shape
        assert tile.read.contains(tile.write.grow(plan.halo).clip(plan.shape))
    assert (owners == 1).all()
    assert [tile.index for tile in plan] == list(range(len(plan)))
    assert len(plan) == np.prod(plan.grid)


@given(plans, st.lists(boxes, max_size=4))
def test_touching_equals_brute_force(plan, some):
    brute = [tile.index for tile in plan if any(tile.write.overlaps(box) for box in some)]
    np.testing.assert_array_equal(plan.touching(some), brute)


@given(plans, st.data())
def test_order_is_a_permutation(plan, data):
    indices = data.draw(st.lists(st.integers(0, len(plan) - 1), unique=True))
    centre = data.draw(st.none() | st.tuples(*[st.floats(-5, 15)] * 3))
    assert sorted(plan.order(indices, centre).tolist()) == sorted(indices)


def test_order_makes_neighbours_follow_each_other():
    plan = TilePlan((8, 8, 8), (1, 1, 1))
    order = plan.order(np.arange(len(plan)))
    cells = plan.cells(order)
    np.testing.assert_array_equal(cells[:8], [[z, y, x] for z in (0, 1) for y in (0, 1) for x in (0, 1)])
    for group in (8, 64):  # each aligned cube is finished before the next is begun
        spread = np.ptp(cells.reshape(-1, group, 3), axis=1) + 1
        assert (spread == round(group ** (1 / 3))).all()


def test_order_from_a_centre_goes_outwards():
    plan = TilePlan((4, 40, 40), (4, 4, 4))
    order = plan.order(np.arange(len(plan)), centre=(2, 22, 22))
    assert plan.cells(order[:1]).tolist() == [[0, 5, 5]]
    ring = np.abs(plan.cells(order) - [0, 5, 5]).max(axis=1)
    assert (np.diff(ring) >= 0).all()


@given(plans)
def test_cells_are_inverse_to_indices(plan):
    cells = plan.cells(np.arange(len(plan)))
    np.testing.assert_array_equal(cells * plan.tile, [tile.write.start for tile in plan])


def test_a_million_tiles_are_not_listed():
    plan = TilePlan((10_000, 100_000, 100_000), (10, 100, 100), (2, 8, 8))
    assert len(plan) == 10**9
    assert plan[10**9 - 1].write == Box((9990, 99900, 99900), (10000, 100000, 100000))
    assert plan.touching([Box((5, 150, 250), (6, 151, 351))]).tolist() == [1002, 1003]
    assert next(plan.tiles(np.array([7]))).index == 7


def test_refuses():
    with pytest.raises(InputError, match=r"got shape \(0, 1, 1\), tile"):
        TilePlan((0, 1, 1), (1, 1, 1))
    with pytest.raises(InputError, match="need >= 1, >= 1, >= 0"):
        TilePlan((4, 4, 4), (2, 2, 2), (0, -1, 0))
    with pytest.raises(IndexError, match="tile 8 of 8"):
        TilePlan((4, 4, 4), (2, 2, 2))[8]

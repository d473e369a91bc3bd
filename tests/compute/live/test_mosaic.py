"""Images made of the tiles that are there: the right voxel in the right place, empty elsewhere, bounded memory."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.compute.live.mosaic import Blocks, Mosaic, Part
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level


def level(shape, voxel=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0)):
    return Level(np.broadcast_to(np.uint8(0), shape), voxel, origin)


def whole(grid):
    return [np.arange(n) for n in grid.shape]


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*[st.integers(1, 9)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.tuples(*[st.integers(1, 3)] * 3),
    st.data(),
)
def test_each_voxel_is_the_one_of_its_tile_or_empty(shape, tile, stride, data):
    """A map in tiles, seen on its own grid, is the map where tiles are there and NaN elsewhere, whatever is missing."""
    tile = tuple(t * s for t, s in zip(tile, stride, strict=True))
    plan = TilePlan(shape, tile)
    cells = [-(-n // s) for n, s in zip(shape, stride, strict=True)]
    values = np.arange(np.prod(cells), dtype=np.float32).reshape(cells)
    blocks = Blocks()
    there = data.draw(st.sets(st.integers(0, len(plan) - 1)))
    expected = np.full(shape, np.nan, np.float32)
    fine = values[np.ix_(*(np.arange(n) // s for n, s in zip(shape, stride, strict=True)))]
    for index in there:
        write = plan[index].write
        own = tuple(slice(a // s, -(-b // s)) for a, b, s in zip(write.start, write.stop, stride, strict=True))
        blocks.put(("map", index), values[own])
        expected[write.slices] = fine[write.slices]
    grid = level(shape)
    mosaic = Mosaic([Part("map", grid, plan, stride)], blocks)
    np.testing.assert_array_equal(mosaic.read(grid, whole(grid)), expected)
    index = [np.arange(n)[:: data.draw(st.integers(1, 3))] for n in shape]
    np.testing.assert_array_equal(mosaic.read(grid, index), expected[np.ix_(*index)])


def test_a_coarser_grid_shows_the_nearest_voxel():
    grid, coarse = level((1, 8, 8)), level((1, 4, 4), (1.0, 2.0, 2.0))
    values = np.arange(64, dtype=np.float32).reshape(1, 8, 8)
    blocks = Blocks()
    blocks.put(("map", 0), values)
    mosaic = Mosaic([Part("map", grid, TilePlan(grid.shape, grid.shape))], blocks)
    np.testing.assert_array_equal(mosaic.read(coarse, whole(coarse)), values[:, 1::2, 1::2])


def test_finer_maps_lie_over_coarser_ones():
    """uint8 is a share of 255; a block of one voxel stands for its whole tile; the later map wins where it is."""
    fine, coarse = level((1, 8, 8)), level((1, 4, 4), (1.0, 2.0, 2.0))
    blocks = Blocks()
    blocks.put(("coarse", 0), np.full((1, 1, 1), 51, np.uint8))
    blocks.put(("fine", 3), np.full((1, 4, 4), 255, np.uint8))
    parts = [
        Part("coarse", coarse, TilePlan(coarse.shape, coarse.shape)),
        Part("fine", fine, TilePlan(fine.shape, (1, 4, 4))),
    ]
    expected = np.full((1, 8, 8), 0.2, np.float32)
    expected[:, 4:, 4:] = 1
    np.testing.assert_allclose(Mosaic(parts, blocks).read(fine, whole(fine)), expected, rtol=1e-6)


def test_the_first_cell_of_a_stride_may_begin_before_the_tile():
    """As `owned` cuts it: a halo that is no multiple of the stride shifts the cells."""
    from napari_connecto.core.model import Output
    from napari_connecto.core.predict import owned

    plan, output = TilePlan((1, 1, 12), (1, 1, 6), (0, 0, 1)), Output("score", (1, 1, 4))
    grid, blocks = level(plan.shape), Blocks()
    for tile in plan:
        cells = (tile.read.start[2] + 4 * np.arange(2)).astype(np.float32)  # where each cell begins
        blocks.put(("map", tile.index), owned(tile, cells.reshape(1, 1, -1), output))
    found = Mosaic([Part("map", grid, plan, output.stride)], blocks).read(grid, whole(grid)).ravel()
    assert ((np.arange(12) - found >= 0) & (np.arange(12) - found < 4)).all()


def test_labels_are_0_where_nothing_is():
    grid, blocks = level((1, 2, 4)), Blocks()
    blocks.put(("objects", 1), np.full((1, 2, 2), 7, np.uint32))
    found = Mosaic([Part("objects", grid, TilePlan(grid.shape, (1, 2, 2)))], blocks, "labels").read(grid, whole(grid))
    assert found.dtype == np.uint32
    np.testing.assert_array_equal(found[0], [[0, 0, 7, 7]] * 2)


def test_memory_is_bounded_and_what_is_wanted_stays():
    blocks = Blocks(limit=10 * 100)
    for index in range(10):
        blocks.put(("map", index), np.zeros(100, np.uint8))
    blocks.want([("map", 0)])
    blocks.put(("map", 10), np.zeros(200, np.uint8))
    assert blocks.nbytes <= blocks.limit
    assert ("map", 0) in blocks
    assert ("map", 1) not in blocks
    assert ("map", 2) not in blocks
    blocks.drop("map")
    assert blocks.nbytes == 0


def test_a_picture_far_away_costs_what_is_there_not_what_is_seen():
    """A grid of a million tiles of which two are there is read at once."""
    fine, far = level((1, 2**15, 2**15)), level((1, 512, 512), (1.0, 64.0, 64.0))
    plan, blocks = TilePlan(fine.shape, (1, 32, 32)), Blocks()
    blocks.put(("map", 0), np.ones((1, 32, 32), np.float32))
    blocks.put(("map", len(plan) - 1), np.ones((1, 32, 32), np.float32))
    found = Mosaic([Part("map", fine, plan)], blocks).read(far, whole(far))
    assert np.isfinite(found).sum() == 1  # the first tile lies between the voxels that are seen

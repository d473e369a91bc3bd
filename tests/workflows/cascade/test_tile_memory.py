"""A map read from memory is the map that was stored."""

from __future__ import annotations

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.workflows.cascade.search.tile_memory import TileMemory

SHAPE, TILE = (5, 9, 10), (2, 4, 4)


class Counting:
    """An array that counts how often it is read."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.reads = array, 0
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, TILE

    def __getitem__(self, key):
        self.reads += 1
        return self.array[key]


@pytest.fixture
def stored() -> Counting:
    return Counting(np.random.default_rng(0).integers(0, 255, SHAPE, np.uint8))


def test_any_box_reads_as_the_store_does_without_reading_it(stored):
    plan = TilePlan(SHAPE, TILE)
    memory = TileMemory(stored, plan)
    for tile in plan:
        if tile.index % 3 == 0:
            stored.array[tile.write.slices] = 0
        memory.remember(tile.index, None if tile.index % 3 == 0 else stored.array[tile.write.slices])
    for box in (Box((0, 0, 0), SHAPE), Box((1, 3, 2), (3, 9, 7)), plan[4].write):
        assert np.array_equal(memory[(..., *box.slices)], stored.array[box.slices])
    assert stored.reads == 0


def test_what_is_forgotten_or_was_never_there_is_read_from_the_store(stored):
    plan = TilePlan(SHAPE, TILE)
    memory = TileMemory(stored, plan, limit=70)
    for index in (0, 1, 2):
        memory.remember(index, stored.array[plan[index].write.slices].copy())
    for index, reads in ((2, 0), (1, 0), (0, 1), (5, 2)):
        assert np.array_equal(memory[plan[index].write.slices], stored.array[plan[index].write.slices])
        assert stored.reads == reads

"""What every `TileCache` promises: subclass `TileCacheContract` in a test module, say how yours is opened and read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from napari_connecto.core.geometry import Box
from napari_connecto.core.predict import TileCache
from napari_connecto.core.tiles import Tile, TilePlan

PLAN = TilePlan((20, 40, 36), (8, 16, 16))


class TileCacheContract:
    """Tests of a cache with the float32 output "a" over `PLAN`."""

    @pytest.fixture
    def open_cache(self, tmp_path) -> Callable[[], TileCache]:
        """A function that opens the same cache, as a new process would, each time it is called."""
        raise NotImplementedError("override the fixture open_cache")

    def read(self, cache: TileCache, box: Box) -> np.ndarray:
        """Voxels of output "a", (z, y, x)."""
        raise NotImplementedError("override read")

    def test_new_one_has_nothing_done(self, open_cache) -> None:
        assert open_cache().done().tolist() == []

    def test_written_tile_is_done_and_readable_at_once_and_after_reopening(self, open_cache) -> None:
        cache = open_cache()
        tile = PLAN[5]
        block = random_block(tile)
        cache.write(tile, {"a": block})
        for seen in (cache, open_cache()):
            assert seen.done().tolist() == [5]
            np.testing.assert_array_equal(self.read(seen, tile.write), block)

    def test_writing_twice_leaves_the_second(self, open_cache) -> None:
        cache = open_cache()
        tile = PLAN[2]
        cache.write(tile, {"a": random_block(tile)})
        cache.write(tile, {"a": np.zeros(tile.write.shape, np.float32)})
        assert open_cache().done().tolist() == [2]
        assert not self.read(open_cache(), tile.write).any()

    def test_failed_write_is_not_done(self, open_cache) -> None:
        cache = open_cache()
        wrong = np.ones((1, 1, 1), np.float32)
        with pytest.raises(Exception, match="shape"):
            cache.write(PLAN[3], {"a": wrong})
        assert cache.done().tolist() == []
        assert open_cache().done().tolist() == []

    def test_done_is_ascending_whatever_the_order(self, open_cache) -> None:
        cache = open_cache()
        for index in (7, 0, 3, 7):
            cache.write(PLAN[index], {"a": random_block(PLAN[index])})
        done = open_cache().done()
        assert done.dtype.kind == "i"
        assert done.tolist() == [0, 3, 7]

    def test_filled_cache_holds_every_voxel_once(self, open_cache) -> None:
        cache = open_cache()
        whole = np.random.default_rng(1).random(PLAN.shape, np.float32)
        for tile in PLAN:
            cache.write(tile, {"a": whole[tile.write.slices]})
        np.testing.assert_array_equal(self.read(open_cache(), Box.of(PLAN.shape)), whole)
        assert len(open_cache().done()) == len(PLAN)


def random_block(tile: Tile) -> np.ndarray:
    """Float32 voxels of a tile, the same for the same tile."""
    return np.random.default_rng(tile.index).random(tile.write.shape, np.float32)

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.compute.cache import ChunkCache, cached, chunk_shape, touched_bytes
from napari_connecto.compute.options import Meter
from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box, vec3
from tests.compute.parts import Chunked, level_of, noise


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, int, int] = (12, 20, 25)) -> Box:
    ends = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in shape]
    ends = [(a, b) if a < b else (max(0, a - 1), max(1, b)) for a, b in ends]
    return Box(vec3([a for a, _ in ends]), vec3([b for _, b in ends]))


@given(
    wanted=st.lists(boxes(), min_size=1, max_size=6),
    chunk=st.tuples(st.integers(1, 8), st.integers(1, 9), st.integers(1, 30)),
    channels=st.sampled_from([(), (3,)]),
    budget=st.sampled_from([0, 500, 10**9]),
)
def test_reads_are_the_arrays_own(wanted, chunk, channels, budget) -> None:
    data = noise((*channels, 12, 20, 25), "u2")
    array = Chunked(data, chunk)
    level = cached(level_of(array), budget)
    for box in wanted:
        np.testing.assert_array_equal(level.read(box), data[(..., *box.slices)])
    if budget == 10**9:
        assert set(array.decodes.values()) == {1}
        assert level.array.meter.bytes_read == touched_bytes(level_of(array), wanted)


class Watched(OrderedDict):
    """Counts the keys that are looked at."""

    looks = 0

    def __iter__(self):
        for key in super().__iter__():
            self.looks += 1
            yield key

    def items(self):
        return ((key, self[key]) for key in self)


def test_keeping_a_chunk_looks_at_those_that_go_and_one_more() -> None:
    """A cache of many chunks is not gone through for each new one, least of all while others wait for its lock."""
    cache, meter = ChunkCache(Chunked(noise((1, 8, 800)), (1, 8, 8)), 50 * 64), Meter()
    cache._held = held = Watched()
    for x in range(50):
        cache.read(Box((0, 0, 8 * x), (1, 8, 8 * x + 8)), meter)
    assert held.looks == 0
    for x in range(50, 100):
        cache.read(Box((0, 0, 8 * x), (1, 8, 8 * x + 8)), meter)
    assert held.looks <= 2 * 50
    assert len(held) == 50


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    array = Chunked(noise((1, 8, 80)), (1, 8, 8))
    cache, meter = ChunkCache(array, 3 * 64), Meter()
    for x in (0, 1, 2, 0, 3, 0, 1):
        cache.read(Box((0, 0, 8 * x), (1, 8, 8 * x + 8)), meter)
        assert cache._bytes <= 3 * 64
    assert array.decodes == {(0, 0, 0): 1, (0, 0, 1): 2, (0, 0, 2): 1, (0, 0, 3): 1}
    assert meter.chunks_read == 5


def test_a_chunk_beyond_the_budget_is_still_read() -> None:
    array = Chunked(noise((4, 8, 8)), (4, 8, 8))
    level = cached(level_of(array), 1)
    np.testing.assert_array_equal(level.read(level.box), array.data)


def test_threads_share_one_decode() -> None:
    array = Chunked(noise((8, 64, 64)), (8, 16, 16), seconds=2e-3)
    cache, meter, start = ChunkCache(array, 10**9), Meter(), threading.Barrier(8)

    def read(i: int) -> bool:
        start.wait()
        box = Box((0, 4 * i, 2 * i), (8, 4 * i + 30, 2 * i + 40))
        return bool((cache.read(box, meter) == array.data[(..., *box.slices)]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(8)))
    assert set(array.decodes.values()) == {1}


def test_a_failed_read_is_tried_again() -> None:
    array = Chunked(noise((8, 8, 16)), (8, 8, 8), broken=[(0, 0, 1)])
    level = cached(level_of(array), 10**9)
    for _ in range(2):
        with pytest.raises(ChunkError, match=r"\(0, 0, 1\) is damaged"):
            level.read(level.box)
    array.broken.clear()
    np.testing.assert_array_equal(level.read(level.box), array.data)


def test_arrays_without_chunks_are_only_metered() -> None:
    data = noise((4, 8, 8))
    level = cached(level_of(data), 10**9)
    level.read(level.box)
    level.read(level.box)
    assert level.array.meter.counts() == {"tiles": 0, "bytes_read": 512, "chunks_read": 0, "read_s": 0, "model_s": 0}


def test_a_cached_level_keeps_its_chunks() -> None:
    array = Chunked(noise((4, 8, 8)), (4, 4, 4))
    first = cached(level_of(array), 10**9)
    first.read(first.box)
    again = cached(first, 10**9, Meter())
    again.read(again.box)
    assert again.array.meter.chunks_read == 0
    assert touched_bytes(again, [again.box]) == 256


def test_a_cache_travels_empty() -> None:
    array = Chunked(noise((4, 8, 8)), (4, 4, 4))
    level = cached(level_of(array), 10**9)
    level.read(level.box)
    there = pickle.loads(pickle.dumps(level))  # noqa: S301 (just made)
    np.testing.assert_array_equal(there.read(there.box), array.data)
    assert there.array.meter.chunks_read == 4


def test_chunk_shapes() -> None:
    assert chunk_shape(noise((4, 8, 8))) is None
    assert chunk_shape(da.zeros((9, 8, 8), chunks=(4, 8, 3))) == (4, 8, 3)
    assert chunk_shape(da.zeros((9, 8, 8), chunks=((4, 2, 3), 8, 8))) is None
    assert chunk_shape(Chunked(noise((2, 4, 8, 8)), (4, 8, 2))) == (4, 8, 2)

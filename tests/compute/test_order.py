from __future__ import annotations

from collections import OrderedDict
from itertools import product

import numpy as np
import pytest

from napari_connecto.compute.order import reading_order
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from tests.compute.parts import Chunked, level_of, noise


class Virtual:
    dtype = np.dtype("u1")

    def __init__(self, shape: Vec3, chunk: Vec3) -> None:
        self.shape, self.chunks = shape, chunk


def decodes_per_chunk(level: Level, plan: TilePlan, order: np.ndarray, capacity: int) -> float:
    """A cache of ``capacity`` chunks, oldest out first, followed through a whole run."""
    held: OrderedDict[tuple[int, ...], None] = OrderedDict()
    seen, decodes, chunk = set(), 0, level.array.chunks
    for tile in plan.tiles(order):
        box = tile.read.clip(plan.shape)
        for cell in product(*(range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, chunk, strict=True))):
            if cell in held:
                held.move_to_end(cell)
            else:
                held[cell] = None
                decodes += 1
                seen.add(cell)
                if len(held) > capacity:
                    held.popitem(last=False)
    return decodes / len(seen)


@pytest.mark.parametrize(
    ("shape", "chunk", "tile", "halo", "capacity", "bound"),
    [
        ((320, 320, 320), (16, 16, 16), (16, 16, 16), (2, 2, 2), 900, 1.21),
        ((64, 640, 640), (16, 16, 16), (16, 16, 16), (2, 2, 2), 500, 1.08),
        ((8, 1024, 1024), (1, 64, 64), (1, 64, 64), (1, 8, 8), 300, 1.25),
        ((64, 256, 2560), (16, 32, 32), (8, 32, 32), (2, 4, 4), 200, 1.12),
    ],
    ids=["cube", "slab", "2.5-D", "anisotropic"],
)
def test_a_small_cache_decodes_little_twice(shape, chunk, tile, halo, capacity, bound) -> None:
    level, plan = Level(Virtual(shape, chunk), (1.0, 1.0, 1.0)), TilePlan(shape, tile, halo)
    everything = np.arange(len(plan))
    order = reading_order(level, plan, everything, capacity * int(np.prod(chunk)))
    ours = decodes_per_chunk(level, plan, order, capacity)
    assert ours <= bound
    assert ours <= decodes_per_chunk(level, plan, plan.order(everything), capacity)


def test_a_subset_keeps_its_members() -> None:
    level, plan = level_of(Chunked(noise((16, 64, 64)), (8, 8, 8))), TilePlan((16, 64, 64), (8, 8, 8), (1, 1, 1))
    chosen = np.random.default_rng(0).permutation(len(plan))[:20]
    assert sorted(reading_order(level, plan, chosen)) == sorted(chosen)
    assert reading_order(level, plan, []).size == 0


def test_arrays_without_chunks_get_neighbours_in_a_row() -> None:
    level, plan = level_of(noise((16, 64, 64))), TilePlan((16, 64, 64), (8, 8, 8))
    np.testing.assert_array_equal(reading_order(level, plan, [9, 1, 8, 0]), plan.order([9, 1, 8, 0]))

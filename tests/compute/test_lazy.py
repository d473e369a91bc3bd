from __future__ import annotations

import time

import dask
import numpy as np
import pytest

from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.lazy import lazy
from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.model import Scaling
from napari_connecto.core.tiles import TilePlan
from napari_connecto.models.files import new_model
from tests.compute.parts import BlockMax, Chunked, Identity, Sleepy, level_of, noise
from tests.models.cards import SCORER_3D


def test_an_identity_returns_the_volume() -> None:
    array = Chunked(noise((20, 50, 40)), (8, 16, 16))
    out = lazy(level_of(array), Identity((8, 16, 16), (2, 4, 4)), "value")
    assert out.dtype == np.float32
    assert out.shape == (20, 50, 40)
    assert not array.decodes, "building reads nothing"
    np.testing.assert_array_equal(out.compute(), array.data)
    assert set(array.decodes.values()) == {1}


def test_one_plane_computes_its_tiles_once() -> None:
    model = Sleepy((8, 16, 16), 0.0)
    out = lazy(level_of(noise((32, 64, 64))), model, "value")
    assert model.total == 0, "building computes nothing"
    out[11].compute()
    assert model.total == 16
    out[:, 20, 20].compute()
    assert model.total == 20


def test_one_block_of_a_million_is_fast() -> None:
    class Endless:
        shape, dtype, chunks = (6400, 6400, 6400), np.dtype("u1"), (64, 64, 64)

        def __getitem__(self, index):
            return np.full([s.stop - s.start for s in index[-3:]], 7, np.uint8)

    begin = time.perf_counter()
    out = lazy(level_of(Endless()), Identity((64, 64, 64)), "value")
    assert out.npartitions == 10**6
    with dask.config.set(scheduler="sync"):
        block = out[6336:, :64, 64:128].compute()
    assert time.perf_counter() - begin < 1.0
    np.testing.assert_array_equal(block, np.full((64, 64, 64), 7))


def test_strided_outputs_have_their_own_shape() -> None:
    data = noise((10, 36, 50))
    out = lazy(level_of(data), BlockMax((4, 16, 16), (2, 4, 8), (2, 4, 8)), "value")
    assert out.shape == (5, 9, 7)
    padded = np.pad(data, ((0, 0), (0, 0), (0, 6)), mode="edge")
    np.testing.assert_array_equal(out.compute(), padded.reshape(5, 2, 9, 4, 7, 8).max((1, 3, 5)))


def test_is_what_execute_gives_with_batches_of_one() -> None:
    model, level = new_model(SCORER_3D, 0, device="cpu"), level_of(noise((16, 32, 40)))
    scaling = Scaling(0.0, 255.0)
    out = lazy(level, model, "object", scaling=scaling).compute()
    plan = TilePlan(level.shape, model.card.tile, model.card.halo)
    for tile, blocks in execute(level, plan, model, options=ExecuteOptions(scaling=scaling, batch=1)):
        corner = [a // s for a, s in zip(tile.write.start, (2, 4, 4), strict=True)]
        part = out[tuple(slice(a, a + n) for a, n in zip(corner, blocks["object"].shape, strict=True))]
        np.testing.assert_array_equal(part, blocks["object"])


def test_wrong_names_and_channels_are_refused() -> None:
    with pytest.raises(ModelError, match=r"has outputs \['value'\], not 'mask'"):
        lazy(level_of(noise((4, 8, 8))), Identity((4, 8, 8)), "mask")
    with pytest.raises(InputError, match="got 2 channels"):
        lazy(level_of(noise((2, 4, 8, 8))), Identity((4, 8, 8)), "value")

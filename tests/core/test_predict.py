"""Laws of the prediction loop, with networks made of numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.predict import owned, predict, read_tile, read_tiles, tile_seed
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level


def card(tile, halo, *outputs, channels=1):
    return ModelCard("numpy", "test", (1.0, 1.0, 1.0), tile, halo, outputs or (Output("same"),), channels=channels)


@dataclass
class Identity:
    """Every output is the first channel, trimmed, and averaged over its stride."""

    card: ModelCard

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        assert batch.dtype == np.float32
        assert len(seeds) == len(batch)
        return {o.name: self.output(batch[:, 0], o) for o in self.card.outputs}

    @staticmethod
    def output(volume: np.ndarray, o: Output) -> np.ndarray:
        inner = volume[(slice(None), *(slice(t, n - t) for t, n in zip(o.trimmed, volume.shape[1:], strict=True)))]
        (z, y, x), (dz, dy, dx) = inner.shape[1:], o.stride
        return inner.reshape(len(inner), z // dz, dz, y // dy, dy, x // dx, dx).mean(axis=(2, 4, 6))


def assemble(level, plan, predictor, name="same", **how):
    indices = how.pop("indices", np.arange(len(plan)))
    whole = np.full(level.shape, np.nan, np.float32)
    for tile, blocks in predict(level, plan.tiles(indices), predictor, **how):
        whole[tile.write.slices] = blocks[name]
    return whole


shapes = st.tuples(*[st.integers(1, 12)] * 3)
tiles = st.tuples(*[st.integers(1, 6)] * 3)
halos = st.tuples(*[st.integers(0, 3)] * 3)


@given(shapes, tiles, halos, st.integers(1, 5), st.randoms())
def test_identity_returns_the_volume_for_any_batch_and_order(shape, tile, halo, batch, random):
    array = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    plan = TilePlan(shape, tile, halo)
    indices = list(range(len(plan)))
    random.shuffle(indices)
    got = assemble(Level(array, (1, 1, 1)), plan, Identity(card(tile, halo)), batch=batch, indices=indices)
    np.testing.assert_array_equal(got, array)


@given(shapes, tiles, st.integers(1, 3))
@settings(max_examples=25)
def test_local_filter_within_the_halo_is_the_same_tiled_and_whole(shape, tile, radius):
    array = np.random.default_rng(0).random(shape, np.float32)

    @dataclass
    class Blur:
        card: ModelCard

        def __call__(self, batch, seeds):
            view = np.lib.stride_tricks.sliding_window_view(batch[:, 0], (2 * radius + 1,) * 3, axis=(1, 2, 3))
            return {"same": view.max(axis=(-3, -2, -1))}

    halo = (radius,) * 3
    predictor = Blur(card(tile, halo, Output("same", trimmed=halo)))
    tiled = assemble(Level(array, (1, 1, 1)), TilePlan(shape, tile, halo), predictor)
    whole = assemble(Level(array, (1, 1, 1)), TilePlan(shape, shape, halo), predictor)
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize("trimmed", [(0, 0, 0), (2, 4, 0)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (1, 2, 4), (2, 4, 4)])
def test_owned_at_strides_and_trims(stride, trimmed):
    shape, tile, halo = (6, 24, 20), (4, 8, 8), (2, 4, 4)  # the last tiles own less than a whole one
    array = np.random.default_rng(0).random(shape, np.float32)
    plan, output = TilePlan(shape, tile, halo), Output("cells", stride, trimmed)
    got = np.full([-(-n // s) for n, s in zip(shape, stride, strict=True)], np.nan, np.float32)
    for t, blocks in predict(Level(array, (1, 1, 1)), plan, Identity(card(tile, halo, output))):
        start = [a // s for a, s in zip(t.write.start, stride, strict=True)]
        place = tuple(slice(a, a + n) for a, n in zip(start, blocks["cells"].shape, strict=True))
        assert np.isnan(got[place]).all()
        got[place] = blocks["cells"]
    (z, y, x), (dz, dy, dx) = shape, stride
    want = array.reshape(z // dz, dz, y // dy, dy, x // dx, dx).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(got, want, rtol=1e-5)


def test_owned_takes_every_cell_that_touches():
    tile = Tile(0, Box((0, 0, 0), (1, 3, 5)), Box((0, -4, -4), (1, 8, 12)))
    block = np.arange(3 * 4).reshape(1, 3, 4)
    np.testing.assert_array_equal(owned(tile, block, Output("a", (1, 4, 4))), [[[5, 6]]])


def test_scaling_and_outputs_by_name():
    array = np.array([[[10, 20, 30, 40]]], np.uint8)
    predictor = Identity(card((1, 1, 2), (0, 0, 0), Output("a"), Output("b", (1, 1, 2))))
    got = list(predict(Level(array, (1, 1, 1)), TilePlan((1, 1, 4), (1, 1, 2)), predictor, scaling=Scaling(10, 10)))
    assert [blocks["a"].ravel().tolist() for _, blocks in got] == [[0, 1], [2, 3]]
    assert [blocks["b"].ravel().tolist() for _, blocks in got] == [[0.5], [2.5]]


def test_every_pass_has_the_full_batch_and_seeds_belong_to_tiles():
    seen = []

    @dataclass
    class Spy(Identity):
        def __call__(self, batch, seeds):
            seen.append((batch.shape, list(seeds)))
            return super().__call__(batch, seeds)

    plan, model = TilePlan((1, 1, 5), (1, 1, 1)), Spy(card((1, 1, 1), (0, 0, 0)))
    list(predict(Level(np.zeros((1, 1, 5)), (1, 1, 1)), plan, model, batch=3))
    seeds = [tile_seed(model.card, tile) for tile in plan]
    assert [shape for shape, _ in seen] == [(3, 1, 1, 1, 1)] * 2
    assert [s for _, s in seen] == [seeds[:3], [seeds[3], seeds[4], seeds[4]]]
    assert len(set(seeds)) == 5


def test_channels_must_fit():
    level = Level(np.zeros((3, 1, 4, 4)), (1, 1, 1))
    with pytest.raises(InputError, match="got 3 channels, the model 'numpy' takes 2; choose channels"):
        next(predict(level, TilePlan((1, 4, 4), (1, 4, 4)), Identity(card((1, 4, 4), (0, 0, 0), channels=2))))


class Broken:
    """An array of which the far half cannot be decoded."""

    shape, dtype = (1, 4, 8), np.dtype(np.float32)

    def __getitem__(self, index):
        if index[-1].stop > 4:
            raise ChunkError("chunk 0/0/1 of level 0 cannot be decoded")
        return np.ones(self.shape, np.float32)[index]


def test_bad_chunks_fail_fill_or_skip():
    level, plan = Level(Broken(), (1, 1, 1)), TilePlan((1, 4, 8), (1, 4, 4))
    with pytest.raises(ChunkError, match="chunk 0/0/1"):
        read_tile(level, plan[1])
    assert read_tile(level, plan[1], "skip") is None
    np.testing.assert_array_equal(read_tile(level, plan[1], "fill"), np.zeros((1, 1, 4, 4)))
    np.testing.assert_array_equal(read_tile(level, plan[0]), np.ones((1, 1, 4, 4)))
    assert [tile.index for tile, _ in read_tiles(level, plan, "skip")] == [0]
    assert [tile.index for tile, _ in read_tiles(level, plan, "fill")] == [0, 1]


def test_values_that_are_not_finite_fail_fill_or_skip():
    array = np.ones((2, 1, 2, 2), np.float32)
    array[1, 0, 1, 1], array[0, 0, 0, 0] = np.nan, np.inf
    level, tile = Level(array, (1, 1, 1)), TilePlan((1, 2, 2), (1, 2, 2))[0]
    with pytest.raises(ChunkError, match=r"NaN or infinite values, the first at voxel \(0, 0, 0\)"):
        read_tile(level, tile)
    assert read_tile(level, tile, "skip") is None
    np.testing.assert_array_equal(read_tile(level, tile, "fill"), np.where(np.isfinite(array), array, 0))


def test_a_value_that_is_not_finite_is_named_where_it_lies_not_where_padding_repeats_it():
    array = np.ones((3, 8, 8), np.float32)
    array[1, 5, 6] = np.nan
    tile = TilePlan((3, 8, 8), (3, 4, 4), (0, 2, 4))[3]
    assert tile.read.stop > array.shape
    with pytest.raises(ChunkError, match=r"the first at voxel \(1, 5, 6\)"):
        read_tile(Level(array, (1, 1, 1)), tile)

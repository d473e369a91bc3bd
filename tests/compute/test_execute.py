"""Laws of local execution; `test_cluster` holds them on workers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.options import Meter, default_batch
from napari_connecto.core.errors import ChunkError, InputError, TooBigError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.models.files import new_model
from tests.compute.parts import BlockMax, Chunked, Identity, LocalMean, Sleepy, card_of, level_of, mean_of, noise
from tests.models.cards import SCORER_3D, UNET_3D


def plan_of(level: Level, predictor: Predictor) -> TilePlan:
    return TilePlan(level.shape, predictor.card.tile, predictor.card.halo)


def assembled(level: Level, predictor: Predictor, options: ExecuteOptions = ExecuteOptions()) -> np.ndarray:  # noqa: B008
    out = np.full(level.shape, np.nan, np.float32)
    for tile, blocks in execute(level, plan_of(level, predictor), predictor, options=options):
        out[tile.write.slices] = blocks["value"]
    return out


@given(
    shape=st.tuples(st.integers(1, 20), st.integers(1, 30), st.integers(1, 30)),
    chunk=st.tuples(st.integers(1, 9), st.integers(1, 12), st.integers(1, 12)),
    tile=st.tuples(st.integers(1, 8), st.integers(3, 12), st.integers(3, 12)),
    halo=st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 4)),
    batch=st.integers(1, 5),
)
def test_an_identity_returns_the_volume(shape: Vec3, chunk: Vec3, tile: Vec3, halo: Vec3, batch: int) -> None:
    data = noise(shape)
    level, model = level_of(Chunked(data, chunk)), Identity(tile, halo)
    np.testing.assert_array_equal(assembled(level, model, ExecuteOptions(batch=batch)), data)


@pytest.mark.parametrize(
    ("shape", "tile", "halo"),
    [
        ((1, 70, 90), (1, 32, 32), (0, 3, 3)),
        ((9, 70, 60), (1, 32, 16), (2, 3, 3)),
        ((20, 50, 60), (8, 16, 24), (2, 4, 4)),
    ],
    ids=["2-D", "2.5-D", "3-D anisotropic"],
)
def test_a_local_filter_is_the_same_tiled_and_whole(shape: Vec3, tile: Vec3, halo: Vec3) -> None:
    data = noise(shape)
    whole = uniform_filter(data.astype(np.float64), [2 * h + 1 for h in halo], mode="nearest")
    tiled = assembled(level_of(Chunked(data, (4, 20, 20))), LocalMean(tile, halo))
    np.testing.assert_allclose(tiled, whole, atol=1e-4)


def test_outputs_at_an_anisotropic_stride_cover_the_volume() -> None:
    data, stride = noise((16, 48, 50)), (2, 4, 8)
    model = BlockMax((8, 16, 16), (2, 4, 8), stride)
    out = np.full((8, 12, 7), -1, np.float32)
    for tile, blocks in execute(level_of(data), plan_of(level_of(data), model), model):
        corner = [a // s for a, s in zip(tile.write.start, stride, strict=True)]
        out[tuple(slice(a, a + n) for a, n in zip(corner, blocks["value"].shape, strict=True))] = blocks["value"]
    padded = np.pad(data, ((0, 0), (0, 0), (0, 6)), mode="edge")
    np.testing.assert_array_equal(out, padded.reshape(8, 2, 12, 4, 7, 8).max((1, 3, 5)))


def test_values_are_scaled_and_channels_checked() -> None:
    data, model = noise((4, 8, 8)), Identity((4, 8, 8))
    got = assembled(level_of(data), model, ExecuteOptions(scaling=Scaling(10.0, 4.0)))
    np.testing.assert_allclose(got, (data - 10.0) / 4.0, rtol=1e-6)
    with pytest.raises(InputError, match="got 2 channels, the model 'known' takes 1"):
        execute(level_of(noise((2, 4, 8, 8))), [], model)


def test_a_sink_runs_on_every_tile_and_order_is_kept() -> None:
    data, model = noise((16, 32, 32)), Identity((4, 8, 8))
    plan = plan_of(level_of(data), model)
    order = np.random.default_rng(0).permutation(len(plan))
    got = list(execute(level_of(Chunked(data, (8, 8, 8))), plan.tiles(order), model, mean_of))
    assert [tile.index for tile, _ in got] == order.tolist()
    assert [v for _, v in got] == [data[plan[int(i)].write.slices].astype(float).mean() for i in order]


@pytest.mark.parametrize("card", [SCORER_3D, UNET_3D], ids=["scorer", "unet"])
def test_bits_do_not_depend_on_order_subset_or_threads(card) -> None:
    model = new_model(card, 0, device="cpu")
    level = level_of(Chunked(noise((20, 40, 40)), (8, 8, 8)))
    plan = plan_of(level, model)
    options = {"scaling": Scaling(0, 255.0), "batch": 4}
    whole = {t.index: b["object"] for t, b in execute(level, plan, model, options=ExecuteOptions(**options))}
    for chosen, calls in ((np.arange(len(plan))[::-1], 1), ([3, 0, 7], 2), (plan.order(np.arange(5)), 3)):
        some = execute(level, plan.tiles(chosen), model, options=ExecuteOptions(**options, calls=calls, readers=3))
        for tile, blocks in some:
            np.testing.assert_array_equal(blocks["object"], whole[tile.index])


def test_each_needed_chunk_is_decoded_once() -> None:
    array = Chunked(noise((40, 100, 100)), (8, 16, 16), seconds=2e-4)
    level, model, meter = level_of(array), Identity((8, 16, 16), (4, 8, 8)), Meter()
    plan = plan_of(level, model)
    chosen = plan.order(np.arange(0, len(plan), 3))
    out = list(execute(level, plan.tiles(chosen), model, mean_of, options=ExecuteOptions(readers=4, meter=meter)))
    assert len(out) == len(chosen) == meter.tiles
    assert set(array.decodes.values()) == {1}
    assert meter.chunks_read == len(array.decodes)
    needed = set()
    for tile in plan.tiles(chosen):
        inside = tile.read.clip(level.shape)
        cells = [range(a // c, -(-b // c)) for a, b, c in zip(inside.start, inside.stop, array.chunks, strict=True)]
        needed |= {(z, y, x) for z in cells[0] for y in cells[1] for x in cells[2]}
    assert set(array.decodes) == needed
    assert meter.read_s > 0
    assert meter.model_s > 0


def test_closing_ends_all_threads() -> None:
    level = level_of(Chunked(noise((32, 64, 64)), (8, 8, 8), seconds=0.01))
    model = Sleepy((4, 8, 8), 0.1)
    before = set(threading.enumerate())
    results = execute(level, plan_of(level, model), model, mean_of, options=ExecuteOptions(readers=3))
    next(results)
    assert set(threading.enumerate()) - before
    results.close()
    assert not set(threading.enumerate()) - before
    calls = model.total
    time.sleep(0.3)
    assert model.total == calls < 20


def test_leaving_a_loop_by_an_error_ends_all_threads() -> None:
    level, model = level_of(noise((16, 32, 32))), Identity((4, 8, 8))

    def broken(*_: object) -> None:
        raise OSError("disk full")

    before = set(threading.enumerate())
    with pytest.raises(OSError, match="disk full"):
        list(execute(level, plan_of(level, model), model, broken))
    assert not set(threading.enumerate()) - before


def test_reads_ahead_no_further_than_it_must() -> None:
    level, model = level_of(noise((32, 64, 64))), Identity((4, 8, 8))
    drawn = []

    def tiles():
        for tile in plan_of(level, model):
            drawn.append(tile.index)
            yield tile

    results = execute(level, tiles(), model, options=ExecuteOptions(batch=4, calls=2))
    next(results)
    assert len(drawn) <= 4 * 5
    results.close()


def test_as_many_calls_at_once_as_the_predictor_asks_for() -> None:
    level, model = level_of(noise((16, 32, 32))), Sleepy((4, 16, 16), 0.02, calls=3)
    list(execute(level, plan_of(level, model), model, mean_of, options=ExecuteOptions(batch=1)))
    assert model.most == 3
    assert model.total == 16


@pytest.mark.parametrize("on_bad", ["fail", "skip", "fill"])
def test_damaged_chunks(on_bad: str) -> None:
    data = noise((8, 32, 32)) | 1
    level, model = level_of(Chunked(data, (8, 8, 8), broken=[(0, 1, 2)])), Identity((8, 8, 8))
    plan = plan_of(level, model)
    results = execute(level, plan, model, mean_of, options=ExecuteOptions(on_bad=on_bad))  # type: ignore[arg-type]
    if on_bad == "fail":
        with pytest.raises(ChunkError, match=r"chunk \(0, 1, 2\) is damaged"):
            list(results)
        return
    got = {tile.index: value for tile, value in results}
    bad = 6
    assert set(got) == set(range(16)) - ({bad} if on_bad == "skip" else set())
    assert got.get(bad, 0.0) == 0.0
    assert all(v == data[plan[i].write.slices].astype(float).mean() for i, v in got.items() if i != bad)


def test_a_damaged_chunk_harms_only_tiles_that_need_it() -> None:
    """Reads are merged, so a good chunk can be in one read with a bad one; who needs only the good one gets it."""
    data = noise((8, 64, 64))
    for seed in range(5):
        array = Chunked(data, (8, 8, 8), broken=[(0, 4, 4)], seconds=1e-4)
        level, model = level_of(array), Identity((8, 8, 8), (0, 4, 4))
        plan = plan_of(level, model)
        order = np.random.default_rng(seed).permutation(64)
        options = ExecuteOptions(on_bad="skip", readers=4, batch=3)
        got = {tile.index for tile, _ in execute(level, plan.tiles(order), model, mean_of, options=options)}
        lost = {(z * 8 + y) * 8 + x for z in (0,) for y in (3, 4, 5) for x in (3, 4, 5)}
        assert got == set(range(64)) - lost


def test_options_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="got batch=0"):
        ExecuteOptions(batch=0)
    with pytest.raises(InputError, match="got on_bad='ignore'; allowed: fail, fill, skip"):
        ExecuteOptions(on_bad="ignore")  # type: ignore[arg-type]


def test_default_batches() -> None:
    assert default_batch(card_of((1, 512, 512), (0, 0, 0))) == 1
    assert default_batch(card_of((64, 64, 64), (0, 0, 0))) == 4
    assert default_batch(card_of((128, 128, 128), (0, 0, 0))) == 1


class Hungry(LocalMean):
    """Has memory for so many tiles at a time."""

    def __init__(self, room: int, error: Exception) -> None:
        super().__init__((4, 16, 16), (1, 2, 2))
        self.room, self.error, self.sizes = room, error, []

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        self.sizes.append(len(batch))
        if len(batch) > self.room:
            raise self.error
        return super().__call__(batch, seeds)


SHORT = [MemoryError(), torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 9 B")]


@pytest.mark.parametrize("error", SHORT)
def test_a_batch_that_does_not_fit_is_run_in_halves_and_so_are_those_that_follow(error: Exception) -> None:
    level, hungry = level_of(noise((8, 50, 40))), Hungry(2, error)
    answer = assembled(level, hungry, ExecuteOptions(batch=8, calls=1))
    np.testing.assert_array_equal(answer, assembled(level, LocalMean((4, 16, 16), (1, 2, 2))))
    assert hungry.sizes == [8, 4, *[2] * 12], "24 tiles, and two tries"


def test_a_tile_that_never_fits_says_which_to_ask_for_and_other_errors_stay_what_they_are() -> None:
    level = level_of(noise((8, 50, 40)))
    with pytest.raises(TooBigError, match=r"tile of \(4, 16, 16\) voxels .* --tile 2 8 8 .* finished parts are saved"):
        assembled(level, Hungry(0, MemoryError()))
    with pytest.raises(RuntimeError, match="shapes differ"):
        assembled(level, Hungry(0, RuntimeError("shapes differ")))

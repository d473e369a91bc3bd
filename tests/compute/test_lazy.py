from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.lazy import Array, arrays
from napari_connecto.core.errors import ChunkError, InputError, TooBigError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import Normalisation, Output, Predictor
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.models.files import new_model
from tests.compute.parts import NM, BlockMax, Chunked, Identity, LocalMean, Sleepy, noise
from tests.models.cards import SCORER_3D, SCORER_25D

TILE = (8, 16, 16)


def raw(model: Any) -> Any:
    """The model, reading voxels as they are."""
    model.card = replace(model.card, normalisation=Normalisation("none"))
    return model


def lazily(array: Any, model: Predictor) -> dict[str, Array]:
    volume = Volume.from_array(array, NM)
    return arrays(volume, volume.levels[0], model)


class Two(Sleepy):
    """Gives back what it gets, and every fourth voxel of a section twice as bright."""

    def __init__(self, tile: Vec3) -> None:
        super().__init__(tile, 0.0)
        self.card = replace(self.card, outputs=(Output("value"), Output("double", (1, 2, 2))))

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        value = super().__call__(batch, seeds)["value"]
        return {"value": value, "double": 2 * value[:, :, ::2, ::2]}


class Marked(Identity):
    """Leaves a file when it is called, pickled and unpickled."""

    def __init__(self, tile: Vec3, folder: Path) -> None:
        super().__init__(tile)
        self.folder = folder

    def mark(self, what: str) -> None:
        with (self.folder / what).open("a") as file:
            file.write("x")

    def __reduce__(self) -> tuple[Any, ...]:
        self.mark("pickled")
        return _unpickled, (self.card.tile, self.folder)

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        self.mark("called")
        return super().__call__(batch, seeds)


def _unpickled(tile: Vec3, folder: Path) -> Marked:
    model = raw(Marked(tile, folder))
    model.mark("unpickled")
    return model


def test_an_identity_returns_the_volume_and_decodes_each_chunk_once() -> None:
    array = Chunked(noise((20, 50, 40)), TILE)
    out = lazily(array, raw(Identity(TILE, (2, 4, 4))))["value"]
    assert (out.dtype, out.shape) == (np.float32, (20, 50, 40))
    assert out.chunks == ((8, 8, 4), (16, 16, 16, 2), (16, 16, 8)), "a chunk is what a tile owns"
    np.testing.assert_array_equal(out.compute(), array.data)
    assert set(array.decodes.values()) == {1}


@pytest.mark.parametrize("kind", ["range", "percentile", "standard"])
def test_building_reads_and_computes_nothing(kind: Any) -> None:
    """Not even the brightness range of the volume; that is read once, when the first tile is."""
    array, model = Chunked(noise((16, 32, 32)), (16, 32, 32)), Sleepy(TILE, 0.0)
    model.card = replace(model.card, normalisation=Normalisation(kind))
    volume = Volume.from_array(array, NM)
    out = arrays(volume, volume.levels[0], model)["value"]
    part = (out[3] > 0.5).sum()
    assert not array.decodes
    assert model.total == 0
    part.compute()
    out.compute()
    assert array.decodes[0, 0, 0] == (1 if kind == "range" else 2)
    scaling = model.card.normalisation.resolve(volume)
    np.testing.assert_array_equal(out.compute(), scaling(array.data))


@pytest.mark.parametrize(
    ("region", "tiles"),
    [
        (np.s_[11], 16),
        (np.s_[:, 20, 20], 4),
        (np.s_[7:9, 15:17, 15:17], 8),
        (np.s_[8:16, 16:32, 16:32], 1),
        (np.s_[31, 63, 59], 1),
        (np.s_[:], 64),
    ],
)
def test_a_slice_computes_the_tiles_it_touches_once_each(region: Any, tiles: int) -> None:
    data, model = noise((32, 64, 60)), raw(Sleepy(TILE, 0.0))
    np.testing.assert_array_equal(lazily(data, model)["value"][region].compute(), data[region])
    assert model.total == tiles


@pytest.mark.parametrize(
    "together",
    [
        lambda value, double: dask.compute(value, double),
        lambda value, double: (value[:, ::2, ::2] + double).compute(),
        lambda value, double: (value / 2 + value.mean()).compute(),
        lambda value, double: da.overlap.overlap(value, {0: 2, 1: 2, 2: 2}, "reflect").compute(),
        lambda value, double: value.rechunk((3, 64, 64)).compute(),
    ],
)
def test_what_is_composed_of_them_computes_each_tile_once(together: Any) -> None:
    """Outputs that meet again, uses of one output, overlaps and other chunks."""
    model = raw(Two(TILE))
    out = lazily(noise((32, 64, 64)), model)
    together(out["value"], out["double"])
    assert model.total == 64


def test_no_border_shows() -> None:
    """A filter as wide as the halo gives in tiles what it gives of the whole; the rims repeat the edge voxel."""
    data, halo = noise((20, 50, 40)), (2, 4, 4)
    [whole] = raw(LocalMean((20, 50, 40), halo))(np.pad(data, [(h, h) for h in halo], "edge")[None, None], [0]).values()
    out = lazily(data, raw(LocalMean(TILE, halo)))["value"].compute()
    np.testing.assert_allclose(out, whole[0, 2:-2, 4:-4, 4:-4], rtol=1e-6)


def test_a_single_section_and_an_image_smaller_than_a_tile() -> None:
    for shape in ((1, 40, 50), (3, 5, 7)):
        data = noise(shape)
        np.testing.assert_array_equal(lazily(data, raw(Identity(TILE)))["value"].compute(), data)


def test_strided_outputs_have_their_own_shape() -> None:
    data = noise((10, 36, 50))
    out = lazily(data, raw(BlockMax((4, 16, 16), (2, 4, 8), (2, 4, 8))))["value"]
    assert out.shape == (5, 9, 7)
    padded = np.pad(data, ((0, 0), (0, 0), (0, 6)), mode="edge")
    np.testing.assert_array_equal(out.compute(), padded.reshape(5, 2, 9, 4, 7, 8).max((1, 3, 5)))


@pytest.mark.parametrize(("card", "shape"), [(SCORER_3D, (16, 32, 40)), (SCORER_25D, (2, 7, 64, 80))])
def test_is_what_execute_gives_with_batches_of_one(card: Any, shape: Any) -> None:
    """Bit for bit, with strides, channels and a trimmed context."""
    model, volume = new_model(card, 0, device="cpu"), Volume.from_array(noise(shape), NM)
    level, scaling = volume.levels[0], card.normalisation.resolve(volume)
    [out] = dask.compute(lazily(level.array, model))
    plan, stride = TilePlan(level.shape, card.tile, card.halo), card.outputs[0].stride
    for tile, blocks in execute(level, plan, model, options=ExecuteOptions(scaling=scaling, batch=1)):
        corner = [a // s for a, s in zip(tile.write.start, stride, strict=True)]
        for name in out:
            place = tuple(slice(a, a + n) for a, n in zip(corner, blocks[name].shape, strict=True))
            np.testing.assert_array_equal(out[name][place], blocks[name])


@pytest.mark.skipif(
    not hasattr(da.core, "ArrayBlockIdDep"), reason="this dask makes the graph of the whole array first"
)
def test_a_block_of_a_million_needs_no_graph_of_a_million() -> None:
    class Endless:
        shape, dtype, chunks = (6400, 6400, 6400), np.dtype("u1"), (64, 64, 64)

        def __getitem__(self, index: Any) -> np.ndarray:
            return np.full([s.stop - s.start for s in index[-3:]], 7, np.uint8)

    out = lazily(Endless(), raw(Identity((64, 64, 64))))["value"]
    assert out.npartitions == 10**6
    part = out[6336:, :64, 64:128]
    [graph] = dask.optimize(part)
    assert len(dict(graph.__dask_graph__())) < 10
    np.testing.assert_array_equal(part.compute(scheduler="sync"), np.full((64, 64, 64), 7))


@pytest.mark.parametrize("calls", [1, 3])
def test_a_model_is_called_from_as_many_threads_as_it_says(calls: int) -> None:
    model = raw(Sleepy(TILE, 0.01, calls))
    with dask.config.set(scheduler="threads", num_workers=6):
        lazily(noise((16, 64, 64)), model)["value"].compute()
    assert model.most <= calls
    assert model.total == 32


def test_errors_are_those_of_a_run() -> None:
    class Hungry(Identity):
        def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
            raise MemoryError

    with pytest.raises(InputError, match="got 2 channels"):
        lazily(noise((2, 8, 16, 16)), Identity(TILE))
    out = lazily(Chunked(noise((16, 32, 32)), TILE, broken=[(1, 1, 1)]), Identity(TILE))["value"]
    assert out[0].compute().shape == (32, 32)
    with pytest.raises(ChunkError, match=r"chunk \(1, 1, 1\) is damaged"):
        out[9].compute()
    with pytest.raises(TooBigError, match="one tile"):
        lazily(noise((8, 16, 16)), Hungry(TILE))["value"].compute()


@pytest.mark.slow
def test_workers_get_one_model_per_graph(tmp_path: Path) -> None:
    """Pickled once, whatever the number of tiles, opened once by a worker, shared by its threads."""
    data = noise((32, 64, 64))
    out = lazily(data, raw(Marked(TILE, tmp_path)))["value"]
    local = LocalCluster(n_workers=1, threads_per_worker=2, processes=True, dashboard_address="127.0.0.1:0")
    with local as cluster, Client(cluster):
        np.testing.assert_array_equal(out.compute(), data)
    assert Counter({path.name: path.stat().st_size for path in tmp_path.iterdir()}) == Counter(
        called=64, pickled=1, unpickled=1
    )

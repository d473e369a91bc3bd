from __future__ import annotations

import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import ome_zarr_models.v05
import pytest
import zarr

from napari_connecto.core.errors import ChunkError, InputError, StoreError
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.io.volumes.pyramid import downsample
from napari_connecto.io.volumes.read import open_volume
from tests.contracts.tile_cache import PLAN, TileCacheContract

SHAPE, TILE = (40, 100, 90), (16, 32, 32)
OUTPUTS = {"probability": "u1", "ids": "u4", "raw": "f4"}


def level(shape=SHAPE) -> Level:
    return Level(np.broadcast_to(np.uint8(0), shape), (40.0, 10.0, 10.0), (100.0, 5.0, 0.0))


def blocks_of(tile) -> dict[str, np.ndarray]:
    """Blocks that depend on the place alone, so that any process makes the same."""
    z, y, x = np.meshgrid(
        *(np.arange(a, b) for a, b in zip(tile.write.start, tile.write.stop, strict=True)), indexing="ij"
    )
    value = ((z * 31 + y * 17 + x * 7) % 256).astype(np.float32)
    return {"probability": value / 255, "ids": (value // 64).astype(np.uint32) * 1000, "raw": value - 3.5}


class TestContract(TileCacheContract):
    @pytest.fixture
    def open_cache(self, tmp_path):
        like = Level(np.zeros(PLAN.shape, np.uint8), (1.0, 1.0, 1.0))
        return lambda: TileStore.open(tmp_path / "store", like, PLAN.tile, {"a": "f4"})

    def read(self, cache, box):
        return cache.volume("a").levels[0].read(box)


def test_levels_are_the_downsampled_whole_and_tiles_own_whole_chunks(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, OUTPUTS, metadata={"model": "abc"})
    for tile in store.plan:
        store.write(tile, blocks_of(tile))
    whole = blocks_of(TilePlan(SHAPE, SHAPE)[0])
    expected = {
        "probability": np.rint(whole["probability"] * 255).astype(np.uint8),
        "ids": whole["ids"],
        "raw": whole["raw"],
    }
    kinds = {"probability": "image", "ids": "labels", "raw": "image"}
    assert [grid.factor for grid in store.grids] == [(1, 1, 1), (1, 2, 2)]
    for name, array in expected.items():
        volume = store.volume(name)
        assert volume.kind == kinds[name]
        assert volume.metadata["model"] == "abc"
        assert volume.levels[0].array.source.array.read_only
        assert volume.levels[0].array.chunks == TILE
        np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), array)
        coarse = volume.levels[1]
        assert coarse.array.chunks == (16, 16, 16)
        assert (coarse.voxel_nm, coarse.origin_nm) == ((40.0, 20.0, 20.0), (100.0, 5.0, 0.0))
        np.testing.assert_array_equal(coarse.read(coarse.box), downsample(array, (1, 2, 2), kinds[name]))


def test_images_are_valid_ome_zarr_that_open_at_the_right_place(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, OUTPUTS)
    store.write(store.plan[0], blocks_of(store.plan[0]))
    for name in OUTPUTS:
        ome_zarr_models.v05.Image.from_zarr(zarr.open_group(tmp_path / "s" / f"{name}.zarr", mode="r"))
        opened = open_volume(tmp_path / "s" / f"{name}.zarr")
        live = store.volume(name)
        assert opened.kind == live.kind
        assert [lv.voxel_nm for lv in opened.levels] == [lv.voxel_nm for lv in live.levels]
        assert [lv.origin_nm for lv in opened.levels] == [(100.0, 5.0, 0.0)] * 2


def test_live_volume_shows_a_tile_as_soon_as_it_is_written(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, {"raw": "f4"})
    live = store.volume("raw").levels[0]
    tile = store.plan[4]
    assert not live.read(tile.write).any()
    store.write(tile, blocks_of(tile))
    np.testing.assert_array_equal(live.read(tile.write), blocks_of(tile)["raw"])


def test_missing_keeps_the_order_asked_for(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, {"raw": "f4"})
    store.mark([5, 1])
    assert store.missing([7, 5, 3, 1]).tolist() == [7, 3]
    assert store.missing().tolist() == [i for i in range(len(store.plan)) if i not in (1, 5)]
    store.mark([])
    assert store.done().tolist() == [1, 5]


def test_big_tiles_of_a_thin_or_flat_volume(tmp_path):
    for name, shape, tile in (("flat", (1, 300, 200), (1, 128, 128)), ("small", (5, 6, 7), (64, 64, 64))):
        store = TileStore.open(tmp_path / name, level(shape), tile, {"raw": "f4"})
        for one in store.plan:
            store.write(one, blocks_of(one))
        finest = store.volume("raw").levels[0]
        np.testing.assert_array_equal(finest.read(finest.box), blocks_of(TilePlan(shape, shape)[0])["raw"])


def test_another_plan_or_other_outputs_are_refused_and_named(tmp_path):
    TileStore.open(tmp_path / "s", level(), TILE, OUTPUTS)
    with pytest.raises(StoreError, match="tiles of another tile and outputs; choose another folder"):
        TileStore.open(tmp_path / "s", level(), (16, 16, 16), {"raw": "f4"})
    with pytest.raises(StoreError, match="another shape"):
        TileStore.open(tmp_path / "s", level((8, 8, 8)), TILE, OUTPUTS)


def test_foreign_image_of_the_same_name_is_left_alone(tmp_path):
    (tmp_path / "raw.zarr").mkdir()
    (tmp_path / "raw.zarr" / "mine").write_text("x")
    with pytest.raises(StoreError, match="not part of a tile store"):
        TileStore.open(tmp_path, level(), TILE, {"raw": "f4"})
    assert [p.name for p in tmp_path.rglob("*")] == ["raw.zarr", "mine"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        TileStore.open(tmp_path / "file", level(), TILE, {"raw": "f4"})


def test_unknown_output_and_unwritable_place(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, {"raw": "f4"})
    with pytest.raises(InputError, match=r"got output 'x'; the store keeps \['raw'\]"):
        store.volume("x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"):
        TileStore.open(tmp_path / "file" / "s", level(), TILE, {"raw": "f4"})


def test_creation_cut_off_is_taken_up_again(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, OUTPUTS)
    os.rename(tmp_path / "s" / "ids.zarr", tmp_path / "s" / ".ids.partial")  # as if killed before the rename
    (tmp_path / "s" / ".ids.partial" / "zarr.json").unlink()
    again = TileStore.open(tmp_path / "s", level(), TILE, OUTPUTS)
    again.write(again.plan[0], blocks_of(again.plan[0]))
    assert store.done().tolist() == [0]
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "ids.zarr",
        "probability.zarr",
        "raw.zarr",
        "tiles.journal",
        "tiles.json",
    ]


def write_in_worker(job: tuple[TileStore, int]) -> int:
    store, index = job
    store.write_blocks(store.plan[index], blocks_of(store.plan[index]))
    return index


def test_pickled_store_writes_from_many_processes_at_once(tmp_path):
    store = TileStore.open(tmp_path / "s", level(), TILE, {"raw": "f4", "ids": "u4"})
    assert len(pickle.dumps(store)) < 2000
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for index in pool.map(write_in_worker, [(store, i) for i in range(len(store.plan))], chunksize=4):
            store.mark(index)
    finest = store.volume("raw").levels[0]
    np.testing.assert_array_equal(finest.read(finest.box), blocks_of(TilePlan(SHAPE, SHAPE)[0])["raw"])
    assert len(store.missing()) == 0


def filled(path: Path) -> TileStore:
    store = TileStore.open(path, level(), TILE, {"raw": "f4"})
    for tile in store.plan:
        store.write(tile, blocks_of(tile))
    return store


@pytest.mark.parametrize("spoil", ["a flipped bit", "cut off", "emptied", "overwritten"])
def test_a_spoilt_chunk_is_never_read_as_good_and_is_named(tmp_path, spoil):
    store, rng, named = filled(tmp_path / "s"), np.random.default_rng(0), 0
    chunk, tile = tmp_path / "s/raw.zarr/0/c/0/1/2", store.plan[5]
    whole, good = chunk.read_bytes(), blocks_of(tile)["raw"]
    levels = [store.volume("raw").levels[0], open_volume(tmp_path / "s/raw.zarr").levels[0]]
    for at in rng.integers(0, len(whole), 20).tolist():
        data = bytearray(whole)
        if spoil == "a flipped bit":
            data[at] ^= 1 << int(rng.integers(8))
        elif spoil == "overwritten":
            data[at : at + 16] = rng.bytes(len(data[at : at + 16]))
        else:
            del data[0 if spoil == "emptied" else at :]
        chunk.write_bytes(bytes(data))
        for shown in levels:
            try:  # a few bits of a frame's header say nothing
                np.testing.assert_array_equal(shown.read(tile.write), good)
            except ChunkError as error:
                named += "chunk 'c/0/1/2' of level 0 of" in str(error)
    assert named >= 38
    chunk.write_bytes(whole)
    np.testing.assert_array_equal(levels[0].read(tile.write), good)


def test_a_store_deleted_under_a_writer_is_an_error_not_a_new_store(tmp_path):
    store = filled(tmp_path / "s")
    shutil.rmtree(tmp_path / "s")
    for tile in store.plan:
        with pytest.raises(StoreError, match=r"cannot write '.*s': No such file or directory"):
            store.write(tile, blocks_of(tile))
    assert not (tmp_path / "s").exists()


FILL = """
import sys
sys.path.insert(0, {root!r})
from tests.io.stores.test_tile_store import TILE, OUTPUTS, blocks_of, level
from napari_connecto.io.stores.tile_store import TileStore
store = TileStore.open({path!r}, level(), TILE, OUTPUTS)
for index in store.missing():
    store.write(store.plan[int(index)], blocks_of(store.plan[int(index)]))
"""


def contents(folder: Path) -> dict[str, bytes]:
    files = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: data for name, data in files.items() if not name.endswith((".partial", "tiles.journal"))}


def test_killed_again_and_again_every_done_tile_is_whole_and_the_end_is_the_same(tmp_path):
    root = str(Path(__file__).resolve().parents[2])
    path = tmp_path / "killed"
    script = FILL.format(root=root, path=str(path))
    kills, journal = 0, path / "tiles.journal"
    for wanted in (2, 9, 17):
        process = subprocess.Popen([sys.executable, "-c", script])
        size, stop = 30 + 12 * wanted, time.monotonic() + 60
        while process.poll() is None and time.monotonic() < stop:
            if journal.exists() and journal.stat().st_size >= size:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.0005)
        kills += process.wait() == -signal.SIGKILL
        store = TileStore.open(path, level(), TILE, OUTPUTS)
        finest = {name: store.volume(name).levels[0] for name in OUTPUTS}
        for index in store.done():
            tile = store.plan[int(index)]
            expected = blocks_of(tile)
            np.testing.assert_array_equal(finest["raw"].read(tile.write), expected["raw"])
            np.testing.assert_array_equal(finest["ids"].read(tile.write), expected["ids"])
    assert kills >= 1
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len(store.missing()) == 0
    straight = TileStore.open(tmp_path / "straight", level(), TILE, OUTPUTS)
    for tile in straight.plan:
        straight.write(tile, blocks_of(tile))
    assert contents(path) == contents(tmp_path / "straight")

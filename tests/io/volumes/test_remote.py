"""Volumes on servers: over HTTP by ranges, from servers that stumble or fall silent; on S3, read and written."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import zarr
from benchmarks._site import Site

from napari_connecto.compute.execute import ExecuteOptions, execute
from napari_connecto.compute.options import Meter
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.io.volumes import patient_store
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from tests.compute.parts import Identity
from tests.io.travel import travelled

ARRAY = np.random.default_rng(0).integers(0, 255, (8, 64, 64), dtype=np.uint8)


@pytest.fixture
def site(tmp_path) -> Iterator[Site]:
    plain = zarr.create_array(tmp_path / "plain", shape=ARRAY.shape, chunks=(8, 16, 16), dtype="u1")
    plain[:] = ARRAY
    shards = zarr.create_array(
        tmp_path / "shards", shape=ARRAY.shape, chunks=(8, 16, 16), shards=(8, 64, 64), dtype="u1"
    )
    shards[:] = ARRAY
    with Site(tmp_path) as made:
        yield made


def test_a_chunk_of_a_shard_is_one_range_of_it(site):
    level = travelled(open_volume(f"{site.url}/shards", voxel_nm=(8, 8, 8))).levels[0]
    assert level.array.remote
    site.sent = 0
    np.testing.assert_array_equal(level.read(Box((0, 16, 32), (8, 32, 48))), ARRAY[:, 16:32, 32:48])
    assert site.ranges == 2, "the index at the shard's end, and the chunk"
    assert site.sent < ARRAY.size / 8
    np.testing.assert_array_equal(level.read(level.box), ARRAY)


def test_a_server_that_stumbles_is_asked_again(site, monkeypatch):
    monkeypatch.setattr(patient_store, "WAIT_S", 0.01)
    level = open_volume(f"{site.url}/plain", voxel_nm=(8, 8, 8)).levels[0]
    site.stumbles["c/0/1/2"] = patient_store.TRIES - 1
    np.testing.assert_array_equal(level.read(level.box), ARRAY)
    assert site.requests["/plain/c/0/1/2"] == patient_store.TRIES
    site.stumbles["c/0/1/2"] = 10**6
    with pytest.raises(ChunkError, match=r"chunk 'c/0/1/2' of .*plain' is damaged \(503"):
        level.read(level.box)
    site.stumbles.clear()
    before = sum(site.requests.values())
    assert level.read(Box((0, 0, 0), (8, 16, 16))).sum() == ARRAY[:, :16, :16].sum()
    assert sum(site.requests.values()) == before + 1, "what is there is asked for once"


def test_a_server_that_falls_silent_is_given_up(site, monkeypatch):
    monkeypatch.setattr(patient_store, "WAIT_S", 0.01)
    monkeypatch.setattr(patient_store, "SILENT_S", 0.2)
    level = open_volume(f"{site.url}/plain", voxel_nm=(8, 8, 8)).levels[0]
    site.mute = "c/0/0/0"
    with pytest.raises(ChunkError, match=r"chunk 'c/0/0/0' of .*plain' is damaged"):
        level.read(level.box)


def test_tiles_of_a_far_volume_are_read_side_by_side(site):
    """Reading ahead hides the way: many requests are under way at once."""
    level, model = open_volume(f"{site.url}/plain", voxel_nm=(8, 8, 8)).levels[0], Identity((8, 16, 16))
    most, under_way, lock = [0], [0], threading.Lock()
    read = type(level.array).__getitem__

    def counted(view, key):
        with lock:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
        site.over.wait(0.02)
        try:
            return read(view, key)
        finally:
            with lock:
                under_way[0] -= 1

    plan, meter = TilePlan(level.shape, (8, 16, 16)), Meter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(level.array), "__getitem__", counted)
        results = list(execute(level, plan, model, options=ExecuteOptions(meter=meter)))
    for tile, blocks in results:
        np.testing.assert_array_equal(blocks["value"], ARRAY[tile.write.slices])
    assert meter.chunks_read == len(plan) == 16
    assert most[0] > 2


def test_results_do_not_go_to_an_object_store():
    with pytest.raises(InputError, match=r"'s3://bucket/out'; results need a local or shared folder"):
        JobFolder.open("s3://bucket/out", {})


@pytest.fixture
def bucket(monkeypatch) -> Iterator[str]:
    """An S3 that lives in this process."""
    pytest.importorskip("s3fs", reason="the extra 's3' is not installed")
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    import fsspec
    import fsspec.config

    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "FSSPEC_S3_ENDPOINT_URL": f"http://{host}:{port}",
    }.items():
        monkeypatch.setenv(name, value)
    fsspec.config.set_conf_env(fsspec.config.conf, dict(os.environ))
    fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
    yield "s3://bucket"
    server.stop()
    fsspec.config.conf.clear()


def test_s3_is_written_read_and_asked_for_ranges(bucket):
    save_volume(Volume.from_array(ARRAY, (8.0, 8.0, 8.0)), f"{bucket}/v.ome.zarr", levels=2)
    volume = travelled(open_volume(f"{bucket}/v.ome.zarr"))
    assert len(volume.levels) == 2
    level = volume.levels[0]
    assert level.array.remote
    np.testing.assert_array_equal(level.read(level.box), ARRAY)
    np.testing.assert_array_equal(level.read(Box((1, 2, 3), (5, 60, 61))), ARRAY[1:5, 2:60, 3:61])
    with pytest.raises(InputError, match="no zarr group or array"):
        open_volume(f"{bucket}/w.ome.zarr")

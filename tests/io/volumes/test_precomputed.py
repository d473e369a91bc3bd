"""Precomputed volumes, read back by the library of neuroglancer's makers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes import write
from napari_connecto.io.volumes.precomputed import save_precomputed, save_precomputed_job
from napari_connecto.io.volumes.pyramid import downsample

ts = pytest.importorskip("tensorstore")


def labels(shape=(20, 90, 150), dtype=np.uint16, origin=(0.0, 0.0, 0.0), voxel=(40.0, 8.0, 8.0)) -> Volume:
    array = np.random.default_rng(0).integers(0, 7, [n // 5 for n in shape]).astype(dtype)
    for axis in range(3):
        array = array.repeat(5, axis)
    return Volume((Level(array, voxel, origin),), name="cells", kind="labels")


def back(path, k: int) -> np.ndarray:
    """Level k as (z, y, x)."""
    spec = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{path}/", "scale_index": k}
    return ts.open(spec).result()[ts.d["channel"][0]].read().result().transpose()


def test_every_level_has_its_voxels_and_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_BLOCK_BYTES", 2**17)  # many blocks
    volume = labels()
    save_precomputed(volume, tmp_path / "p")
    info = json.loads((tmp_path / "p" / "info").read_text())
    assert (info["type"], info["data_type"]) == ("segmentation", "uint32")
    assert [s["resolution"] for s in info["scales"]] == [[8, 8, 40], [16, 16, 40], [32, 32, 40]]
    assert [s["size"] for s in info["scales"]] == [[150, 90, 20], [75, 45, 20], [38, 23, 20]]
    assert {s["encoding"] for s in info["scales"]} == {"compressed_segmentation"}
    expected = np.asarray(volume.levels[0].array)
    for k in range(3):
        np.testing.assert_array_equal(back(tmp_path / "p", k), expected)
        expected = downsample(expected, (1, 2, 2), "labels")
    assert [p.name for p in tmp_path.iterdir()] == ["p"]


def test_an_origin_of_whole_voxels_is_kept_and_another_is_told(tmp_path):
    job = save_precomputed_job(labels(origin=(80.0, 64.0, -32.0)), tmp_path / "whole")
    assert finished(job) is True
    scales = json.loads((tmp_path / "whole" / "info").read_text())["scales"]
    assert [s["voxel_offset"] for s in scales] == [[-4, 8, 2], [-2, 4, 2], [-1, 2, 2]]
    assert finished(save_precomputed_job(labels(origin=(80.0, 60.0, 0.0)), tmp_path / "part")) is False
    scales = json.loads((tmp_path / "part" / "info").read_text())["scales"]
    assert [s["voxel_offset"] for s in scales] == [[0, 0, 0]] * 3


def finished(job):
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value


def test_images_keep_their_channels_and_type(tmp_path):
    array = np.random.default_rng(0).random((2, 5, 20, 30)).astype(np.float64)
    save_precomputed(Volume((Level(array, (9.5, 9.5, 9.5)),)), tmp_path / "p", levels=1)
    stored = ts.open({"driver": "neuroglancer_precomputed", "kvstore": f"file://{tmp_path}/p/"}).result()
    assert json.loads((tmp_path / "p" / "info").read_text())["scales"][0]["key"] == "9.5_9.5_9.5"
    np.testing.assert_array_equal(stored.read().result().transpose(), array.astype(np.float32))


@pytest.mark.parametrize(("dtype", "stored"), [(bool, "uint32"), (np.int8, "uint32"), (np.int64, "uint64")])
def test_labels_lose_their_sign_alone(tmp_path, dtype, stored):
    volume = labels((10, 20, 30), dtype)
    save_precomputed(volume, tmp_path / "p", levels=1)
    assert back(tmp_path / "p", 0).dtype == stored
    np.testing.assert_array_equal(back(tmp_path / "p", 0), np.asarray(volume.levels[0].array).astype(stored))


def test_bad_input_leaves_nothing(tmp_path):
    negative = Volume((Level(np.full((4, 4, 4), -3, np.int32), (1.0, 1.0, 1.0)),), kind="labels")
    with pytest.raises(InputError, match="got the label -3; labels are 0 or more"):
        save_precomputed(negative, tmp_path / "p")
    with pytest.raises(InputError, match="states no voxel size"):
        save_precomputed(Volume(labels().levels, calibrated=False), tmp_path / "p")
    with pytest.raises(InputError, match="got an image of type complex64; precomputed holds uint8"):
        save_precomputed(Volume.from_array(np.zeros((4, 4, 4), np.complex64), (1, 1, 1)), tmp_path / "p")
    job = save_precomputed_job(labels(), tmp_path / "p")
    next(job)
    job.close()
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_replaced_only_when_told(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("all of it")
    with pytest.raises(StoreError, match="is not a precomputed volume and will not be overwritten"):
        save_precomputed(labels(), tmp_path / "mine", overwrite=True)
    save_precomputed(labels(), tmp_path / "p")
    with pytest.raises(StoreError, match="exists; choose another name"):
        save_precomputed(labels(), tmp_path / "p")
    (tmp_path / "mine" / "info").write_text("what I know of it")
    (tmp_path / "p" / "thesis.txt").write_text("all of it")
    for place in ("mine", "p"):
        with pytest.raises(StoreError, match="is not a precomputed volume and will not be overwritten"):
            save_precomputed(labels(), tmp_path / place, overwrite=True)
        assert (tmp_path / place / "thesis.txt").exists()
    with pytest.raises(InputError, match="got 's3://bucket/p'; precomputed is written to a local folder"):
        save_precomputed(labels(), "s3://bucket/p")
    (tmp_path / "p" / "thesis.txt").unlink()
    other = labels(dtype=np.uint64)
    save_precomputed(other, tmp_path / "p", overwrite=True)
    assert back(tmp_path / "p", 0).dtype == np.uint64


def test_without_tensorstore_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorstore", None)
    with pytest.raises(InputError, match=r"install napari-connecto\[neuroglancer\]"):
        save_precomputed(labels(), tmp_path / "p")

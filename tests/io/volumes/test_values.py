"""Every container gives every type of number exactly, and a local file may have any name."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from tests.io.travel import travelled

SHAPE = (3, 20, 24)
TYPES = ("bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "longlong", "ulonglong")


def values(dtype: str) -> np.ndarray:
    """Numbers up to the ends of a type, of which float32 and float64 lose some."""
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return np.random.default_rng(0).random(SHAPE) > 0.5
    if kind.kind == "f":
        return np.random.default_rng(0).normal(0, 100, SHAPE).astype(kind)
    info = np.iinfo(kind)
    ends = [info.min, info.min + 1, info.max - 1, info.max]
    found = np.resize(np.array(ends, kind), SHAPE)
    found[0] = np.arange(20 * 24).reshape(20, 24) % 100
    return found


def tiff(path, array, **how):
    tifffile.imwrite(path.with_suffix(".tif"), array, photometric="minisblack", **how)
    return path.with_suffix(".tif")


def hdf5(path, array, **how):
    with h5py.File(path.with_suffix(".h5"), "w") as file:
        file.create_dataset("a", data=array, **how)
    return path.with_suffix(".h5")


def plain_zarr(path, array):
    store = zarr.storage.LocalStore(path.with_suffix(".zarr"))  # zarr itself takes "::" for a chain of file systems
    zarr.create_array(store, data=array.astype(np.dtype(array.dtype.str)))
    return path.with_suffix(".zarr")


def folder(path, array):
    path.mkdir()
    for k, section in enumerate(array):
        tifffile.imwrite(path / f"{k}.tif", section, photometric="minisblack")
    return path


CONTAINERS = {
    "tiff": tiff,
    "big-endian tiff": lambda path, array: tiff(path, array, byteorder=">"),
    "zlib tiff": lambda path, array: tiff(path, array, compression="zlib"),
    "tiled zlib tiff": lambda path, array: tiff(path, array, compression="zlib", tile=(16, 16)),
    "hdf5": hdf5,
    "big-endian hdf5": lambda path, array: hdf5(path, array.astype(array.dtype.newbyteorder(">"))),
    "gzip hdf5": lambda path, array: hdf5(path, array, compression="gzip"),
    "zarr": plain_zarr,
    "folder of tiffs": folder,
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_type_in_every_container_is_read_exactly(tmp_path, container, dtype):
    array = values(dtype)
    level = travelled(open_volume(CONTAINERS[container](tmp_path / "v", array))).levels[0]
    read = level.read(level.box)
    expected = array.astype("u1") if array.dtype.kind == "b" else array
    assert read.dtype == level.dtype == expected.dtype
    assert level.dtype.type is np.dtype(expected.dtype.str).type, "C's two names of one integer are one"
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("dtype", ["bool", "u8", "i8", "longlong", "ulonglong", "u4"])
def test_labels_of_every_type_are_converted_exactly(tmp_path, dtype):
    array = values(dtype)
    stored = open_volume(tiff(tmp_path / "l", array), voxel_nm=(40, 8, 8))
    held = Volume((Level(array, (40, 8, 8)),))
    for volume, name in ((stored, "a.zarr"), (held, "b.zarr")):
        save_volume(volume, tmp_path / name, kind="labels", levels=1)
        np.testing.assert_array_equal(zarr.open(tmp_path / name)["0"][...], array)


def test_a_picture_of_one_bit_is_0_and_1(tmp_path):
    mask = values("bool")[0]
    Image.fromarray(mask).save(tmp_path / "m.png")
    level = open_volume(tmp_path / "m.png").levels[0]
    assert level.dtype == np.uint8
    np.testing.assert_array_equal(level.read(level.box)[0], mask)


NAMES = ("what?", "a#b", "x%20y", "[1]", "{a,b}", "a*b", "a b", "größe µm", "切片", "a::b", "C;x", "'q'", "~a", "$HOME")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("container", ["tiff", "zlib tiff", "hdf5", "zarr", "folder of tiffs"])
def test_a_local_file_may_have_any_name(tmp_path, container, name):
    array = values("u2")
    (tmp_path / name).mkdir()
    path = CONTAINERS[container](tmp_path / name / name, array)
    level = travelled(open_volume(path)).levels[0]
    np.testing.assert_array_equal(level.read(level.box), array)


def test_a_name_that_begins_with_a_tilde_is_no_home_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiff(tmp_path / "~a", values("u2"))
    assert open_volume("~a.tif").levels[0].shape == SHAPE
    with pytest.raises(InputError, match=r"no file or folder at '.*~b\.tif'"):
        open_volume("~b.tif")


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_may_have_any_name(tmp_path, name):
    Image.fromarray(values("u1")[0]).save(tmp_path / f"{name}.png")
    level = open_volume(tmp_path / f"{name}.png").levels[0]
    np.testing.assert_array_equal(level.read(level.box)[0], values("u1")[0])

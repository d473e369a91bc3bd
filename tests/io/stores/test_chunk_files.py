"""Chunks written as files are those zarr would have written."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from napari_connecto.core.errors import StoreError
from napari_connecto.io.stores.chunk_files import ChunkFiles
from napari_connecto.io.volumes.ngff import COMPRESSOR

SHAPE, CHUNK = (5, 20, 30), (2, 16, 16)


def array(folder, dtype="uint16", **options):
    options = {"compressors": COMPRESSOR, **options}
    return zarr.create_array(str(folder), shape=SHAPE, chunks=CHUNK, dtype=dtype, fill_value=0, **options)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "float32"])
def test_files_are_byte_for_byte_those_of_zarr(tmp_path, dtype):
    values = (np.arange(np.prod(SHAPE)).reshape(SHAPE) % 251).astype(dtype)
    array(tmp_path / "theirs", dtype)[:] = values
    files = ChunkFiles(tmp_path / "ours", array(tmp_path / "ours", dtype))
    for index in np.ndindex(3, 2, 2):
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, CHUNK, strict=True))
        files.write(index, values[part])
    names = sorted(p.relative_to(tmp_path / "theirs") for p in (tmp_path / "theirs" / "c").rglob("*") if p.is_file())
    assert len(names) == 12
    for name in names:
        assert (tmp_path / "ours" / name).read_bytes() == (tmp_path / "theirs" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "ours" / "c").rglob("*.partial")) == []
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "ours"), mode="r")[:], values)


def test_an_empty_chunk_is_left_out_and_takes_the_old_one_away(tmp_path):
    made = array(tmp_path)
    files = ChunkFiles(tmp_path, made)
    files.write((0, 1, 1), np.full((2, 4, 14), 7))
    assert made[:2, 16:, 16:].tolist() == np.full((2, 4, 14), 7).tolist()
    files.write((0, 1, 1), np.zeros((2, 4, 14)))
    assert made[:].sum() == 0
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.name != "zarr.json"] == []


@pytest.mark.parametrize("options", [{"shards": (4, 32, 32)}, {"compressors": None}])
def test_other_ways_of_storing_are_refused(tmp_path, options):
    with pytest.raises(StoreError, match="not written by this version; choose another folder"):
        ChunkFiles(tmp_path, array(tmp_path, **options))


def test_an_array_that_was_deleted_is_not_made_again_with_a_few_chunks(tmp_path):
    files = ChunkFiles(tmp_path / "a", array(tmp_path / "a"))
    files.write((0, 0, 0), np.ones(CHUNK))
    shutil.rmtree(tmp_path / "a")
    for index in ((0, 0, 1), (1, 1, 0)):
        with pytest.raises(FileNotFoundError):
            files.write(index, np.ones(CHUNK))
    assert not (tmp_path / "a").exists()

"""Levels that are made as they are read are those that a pyramid would store, and little is read for them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field

import numpy as np
import pytest

from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.model import Normalisation
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores import chunk_folder
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.workflows.cascade.search.coarser import fill_job, making_bytes, with_coarser, with_levels_at

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@dataclass
class Stored:
    """An array that counts what is read of it: regular values, whole chunks."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.uint8))
    read: int = 0
    most: int = 0
    damaged: Box | None = None
    seen: set = field(default_factory=set)

    def __getitem__(self, index):
        box = Box(tuple(s.start for s in index[-3:]), tuple(s.stop for s in index[-3:]))
        if self.damaged is not None and self.damaged.overlaps(box):
            raise ChunkError("chunk 0 is damaged; copy it again")
        cells = [range(a // c, -(-b // c)) for a, b, c in zip(box.start, box.stop, self.chunks, strict=True)]
        whole = int(np.prod([len(c) for c in cells])) * int(np.prod(self.chunks))
        self.read, self.most = self.read + whole, max(self.most, whole)
        z, y, x = (np.arange(s.start, s.stop).astype(np.uint8) for s in index[-3:])
        return (z[:, None, None] * 7 + y[:, None] * 3 + x * 5).astype(self.dtype)  # wraps at 256


CASES = {
    "flat": ((1, 300, 257), (8.0, 8.0, 8.0), np.uint8, "image"),
    "thick": ((9, 300, 257), (40.0, 8.0, 8.0), np.uint16, "image"),
    "cubes": ((70, 150, 129), (8.0, 8.0, 8.0), np.float32, "image"),
    "labels": ((9, 200, 200), (40.0, 8.0, 8.0), np.uint32, "labels"),
    "channels": ((3, 5, 140, 150), (40.0, 8.0, 8.0), np.uint8, "image"),
}


@pytest.mark.parametrize("case", CASES)
def test_levels_are_those_of_a_pyramid(case, tmp_path):
    shape, voxel_nm, dtype, kind = CASES[case]
    array = RNG.integers(0, 200, shape).astype(dtype)
    volume = Volume((Level(array, voxel_nm, (10.0, 20.0, 30.0)),), kind=kind)
    save_volume(volume, tmp_path / "p.zarr")
    stored = open_volume(tmp_path / "p.zarr", channel="all" if len(shape) == 4 else None)
    made = with_coarser(volume)
    assert len(made.levels) == len(stored.levels) > 1
    for mine, theirs in zip(made.levels, stored.levels, strict=True):
        np.testing.assert_array_equal(mine.read(mine.box), theirs.read(theirs.box))
        np.testing.assert_allclose(mine.voxel_nm, theirs.voxel_nm)
        np.testing.assert_allclose(mine.origin_nm, theirs.origin_nm, atol=1e-9)
    assert with_coarser(stored) is stored


@pytest.mark.parametrize("chunks", [(64, 64, 64), (1, 5000, 5000), (128, 256, 256), (16, 128, 128)])
def test_nothing_is_read_before_it_is_asked_for_and_a_sample_is_bounded(chunks):
    source = Stored((2000, 5000, 5000), chunks)  # 50 GB
    volume = with_coarser(Volume((Level(source, (8.0, 8.0, 8.0)),)))
    assert source.read == 0
    assert len(volume.levels) == 8
    scaling = Normalisation("percentile", 1.0, 99.5).resolve(volume)
    assert scaling == Normalisation("percentile", 1.0, 99.5).resolve(volume)
    assert source.read < 200e6
    assert 0 < scaling.offset < 125 < scaling.offset + scaling.scale < 250


def test_pages_are_decoded_once_and_memory_is_bounded(tmp_path):
    source = Stored((12, 4000, 4000), (1, 4000, 4000))
    volume = with_coarser(Volume((Level(source, (40.0, 8.0, 8.0)),)), tmp_path / "levels")
    run(fill_job(volume, volume.levels))
    assert source.read == 12 * 4000 * 4000
    assert source.most <= 16e6


def test_what_was_made_is_kept_for_the_next_time(tmp_path, cache):
    save_volume(
        Volume((Level(RNG.integers(0, 200, (9, 300, 300)).astype(np.uint8), (40.0, 8.0, 8.0)),)),
        tmp_path / "a.zarr",
        levels=1,
    )
    stored = open_volume(tmp_path / "a.zarr")
    assert len(stored.levels) == 1
    first = with_coarser(stored)
    reports = []
    run(fill_job(first, first.levels), reports.append)
    assert reports[-1].done == reports[-1].total
    [folder] = [path for path, _, _ in chunk_folder.list_levels()]
    assert folder.parent == cache / "levels"
    source = Stored((9, 300, 300), (9, 128, 128))
    again = with_coarser(stored)
    object.__setattr__(again.levels[1].array.maker.finer.cache, "array", source)
    for mine, theirs in zip(first.levels[1:], again.levels[1:], strict=True):
        np.testing.assert_array_equal(mine.read(mine.box), theirs.read(theirs.box))
    assert source.read == 0
    assert list(fill_job(again, again.levels)) == []
    damaged = next(folder.joinpath("0").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-3])
    once_more = with_coarser(stored).levels[1]
    np.testing.assert_array_equal(once_more.read(once_more.box), first.levels[1].read(first.levels[1].box))


def test_the_cache_keeps_its_size_and_large_levels_go_beside_the_result(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(chunk_folder, "IN_USE_S", -1)
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE_GB", "0.01")
    folders = [chunk_folder.cached_levels(name, 4_000_000) for name in "abc"]
    for folder in folders[:2]:
        folder.mkdir(parents=True)
    assert chunk_folder.cached_levels("c", 4_000_000) == folders[2]
    assert [path.name for path, _, _ in chunk_folder.list_levels()] == ["b-4"]
    assert chunk_folder.cached_levels("d", 11_000_000) is None
    source = Stored((100, 1000, 1000), (64, 64, 64))
    volume = Volume((Level(source, (8.0, 8.0, 8.0)),), source="/data/em.tif")
    assert making_bytes(with_coarser(volume)) > 10e6
    beside = with_coarser(volume, tmp_path / "out")
    level = beside.levels[3]
    level.read(level.box)
    assert any((tmp_path / "out").rglob("*"))
    assert not list(cache.rglob("*.partial"))


def test_a_pyramid_halved_along_other_axes_gets_the_level_that_a_cascade_needs():
    array = RNG.integers(0, 200, (16, 128, 128)).astype(np.uint8)
    volume = Volume(
        tuple(Level(array[:: 2**k, :: 2**k, :: 2**k], (50.0 * 2**k, 4.0 * 2**k, 4.0 * 2**k)) for k in range(3))
    )
    sizes = [(50.0, 4.0, 4.0), (50.0, 8.0, 8.0), (50.0, 16.0, 16.0)]
    made = with_levels_at(volume, sizes)
    for size in sizes:
        assert made.level_at(size).voxel_nm == size
    level = made.level_at((50.0, 16.0, 16.0))
    expected = np.rint(array.reshape(16, 32, 4, 32, 4).astype(float).mean(axis=(2, 4)))
    np.testing.assert_array_equal(level.read(level.box), expected)
    assert with_levels_at(volume, [(50.0, 4.0, 4.0)]) is volume
    assert with_levels_at(volume, [(50.0, 2.0, 2.0)]) is volume  # finer than what there is


def test_a_damaged_chunk_stops_the_making_unless_it_may_be_passed_over():
    source = Stored((64, 256, 256), (32, 64, 64), damaged=Box((0, 0, 0), (1, 1, 1)))
    volume = with_coarser(Volume((Level(source, (8.0, 8.0, 8.0)),)))
    with pytest.raises(ChunkError, match="damaged"):
        run(fill_job(volume, volume.levels))
    run(fill_job(volume, volume.levels, damaged=True))
    assert volume.levels[1].array.sample(2**24, damaged=True).size > 0


def test_made_levels_travel_to_workers():
    volume = with_coarser(Volume((Level(np.arange(40**3, dtype=np.uint16).reshape(40, 40, 40), (8.0, 8.0, 8.0)),)))
    assert len(volume.levels) == 1  # 64 voxels need no pyramid
    volume = with_levels_at(volume, [(16.0, 16.0, 16.0)])
    there = pickle.loads(pickle.dumps(volume.levels[1]))  # noqa: S301 - our own
    np.testing.assert_array_equal(there.read(there.box), volume.levels[1].read(volume.levels[1].box))

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import fsspec
import numpy as np
import ome_zarr_models.v04
import ome_zarr_models.v05
import pytest
import zarr

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import run
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes import write
from napari_connecto.io.volumes.precomputed import save_precomputed
from napari_connecto.io.volumes.pyramid import downsample
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume, save_volume_job
from tests.io.travel import travelled

SHAPE, VOXEL, ORIGIN = (30, 150, 131), (40.0, 10.0, 10.0), (7.0, -30.0, 1000.0)


def image(dtype="u2", **more) -> Volume:
    array = np.random.default_rng(0).integers(0, 250, SHAPE).astype(dtype)
    return Volume((Level(array, VOXEL, ORIGIN),), name="cells", **more)


def same(volume: Volume, level: int, array: np.ndarray) -> None:
    np.testing.assert_array_equal(volume.levels[level].read(volume.levels[level].box), array)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_what_nobody_measured_still_says_so(tmp_path, version):
    told = {"synthetic": True, "seed": 3, "simulated": {"fwhm_nm": [60.0, 60.0, 60.0]}, "simulated_from": "em"}
    save_volume(image(metadata={**told, "revision": "x"}), tmp_path / "v.zarr", version=version)
    opened = open_volume(tmp_path / "v.zarr")
    assert {k: opened.metadata.get(k) for k in told} == told
    save_volume(image(metadata={"revision": "x"}), tmp_path / "w.zarr", version=version)
    assert "napari-connecto" not in zarr.open_group(tmp_path / "w.zarr", mode="r").attrs


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_image_comes_back_with_every_level_in_place(tmp_path, version):
    volume = image()
    save_volume(volume, tmp_path / "v.zarr", version=version)
    opened = open_volume(tmp_path / "v.zarr")
    assert opened.metadata["format"] == f"OME-Zarr {version}"
    assert (opened.name, opened.kind, opened.calibrated) == ("cells", "image", True)
    assert [level.shape for level in opened.levels] == [(30, 150, 131), (30, 75, 66), (30, 38, 33)]
    assert [level.voxel_nm for level in opened.levels] == [(40, 10, 10), (40, 20, 20), (40, 40, 40)]
    assert [level.origin_nm for level in opened.levels] == [ORIGIN] * 3
    whole = volume.levels[0].array
    same(opened, 0, whole)
    same(opened, 1, downsample(whole, (1, 2, 2), "image"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_metadata_are_valid_by_ome_zarr_models(tmp_path, version):
    models = {"0.4": ome_zarr_models.v04, "0.5": ome_zarr_models.v05}[version]
    save_volume(image(), tmp_path / "v.zarr", version=version)
    found = models.Image.from_zarr(zarr.open_group(tmp_path / "v.zarr", mode="r"))
    attributes = found.attributes if version == "0.4" else found.ome_attributes
    multiscale = attributes.multiscales[0]
    assert [(axis.name, axis.unit) for axis in multiscale.axes] == [(a, "nanometer") for a in "zyx"]
    scale, translation = multiscale.datasets[1].coordinateTransformations
    ones, shift = multiscale.coordinateTransformations
    assert (scale.scale, ones.scale) == ([40.0, 20.0, 20.0], [1.0, 1.0, 1.0])
    centre = np.add(translation.translation, shift.translation)  # of voxel 0
    assert centre.tolist() == [27.0, -20.0, 1010.0]
    save_volume(image(kind="labels"), tmp_path / "l.zarr", version=version)
    models.ImageLabel.from_zarr(zarr.open_group(tmp_path / "l.zarr", mode="r"))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_are_labels_again_and_keep_their_ids(tmp_path, version):
    ids = np.zeros(SHAPE, np.uint64)
    ids[:, 20:60, 30:70], ids[10:, 100:, 100:] = 2**40 + 1, 7
    save_volume(Volume((Level(ids, VOXEL),), kind="labels"), tmp_path / "l.zarr", version=version, levels=4)
    opened = open_volume(tmp_path / "l.zarr")
    assert opened.kind == "labels"
    assert len(opened.levels) == 4
    for level in opened.levels:
        assert set(np.unique(level.read(level.box))) == {0, 7, 2**40 + 1}
    same(opened, 1, downsample(ids, (1, 2, 2), "labels"))


def test_channels_flat_images_and_masks(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (3, 20, 90, 80)).astype("u1")
    save_volume(Volume((Level(colours, (5.0, 5.0, 5.0)),)), tmp_path / "c.zarr")
    opened = open_volume(tmp_path / "c.zarr", channel="all")
    same(opened, 0, colours)
    same(opened, 1, downsample(colours, (2, 2, 2), "image"))
    same(open_volume(tmp_path / "c.zarr", channel=2), 0, colours[2])
    flat = np.random.default_rng(0).random((1, 300, 200)).astype("f4")
    save_volume(Volume.from_array(flat[0], (5.0, 5.0, 5.0)), tmp_path / "f.zarr")
    opened = open_volume(tmp_path / "f.zarr")
    same(opened, 0, flat)
    assert [level.shape for level in opened.levels] == [(1, 300, 200), (1, 150, 100), (1, 75, 50), (1, 38, 25)]
    assert opened.levels[1].voxel_nm == (5.0, 10.0, 10.0)
    mask = flat > 0.5
    save_volume(Volume.from_array(mask, (5.0, 5.0, 5.0)), tmp_path / "m.zarr", version="0.4")
    same(open_volume(tmp_path / "m.zarr"), 0, mask)


def test_uncalibrated_stays_uncalibrated_and_nan_stays_nan(tmp_path):
    array = np.ones((4, 80, 80), np.float32)
    array[1, 2, 3] = np.nan
    save_volume(Volume((Level(array, (1.0, 1.0, 1.0)),), calibrated=False), tmp_path / "v.zarr")
    opened = open_volume(tmp_path / "v.zarr")
    assert not opened.calibrated
    assert opened.levels[0].voxel_nm == (1.0, 1.0, 1.0)
    assert np.argwhere(np.isnan(opened.levels[0].read(opened.levels[0].box))).tolist() == [[1, 2, 3]]


def test_levels_that_a_volume_has_are_kept_as_they_are(tmp_path):
    fine = np.random.default_rng(0).integers(0, 9, (8, 48, 48)).astype("u1")
    coarse = np.full((8, 16, 16), 5, np.uint8)
    volume = Volume(
        (Level(fine, (30.0, 4.0, 4.0), (1.0, 2.0, 3.0)), Level(coarse, (30.0, 12.0, 12.0), (1.0, 2.0, 3.0)))
    )
    save_volume(volume, tmp_path / "two.zarr")
    opened = open_volume(tmp_path / "two.zarr")
    assert [level.voxel_nm for level in opened.levels] == [(30.0, 4.0, 4.0), (30.0, 12.0, 12.0)]
    same(opened, 1, coarse)
    save_volume(volume, tmp_path / "three.zarr", levels=3)
    opened = open_volume(tmp_path / "three.zarr")
    assert [level.shape for level in opened.levels] == [(8, 48, 48), (8, 16, 16), (8, 8, 8)]
    assert (opened.levels[2].read(opened.levels[2].box) == 5).all()
    save_volume(volume, tmp_path / "one.zarr", levels=1)
    assert len(open_volume(tmp_path / "one.zarr").levels) == 1


def test_big_levels_are_sharded_and_blocks_do_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_SHARD_BYTES", 2**17)
    monkeypatch.setattr(write, "_BLOCK_BYTES", 2**17)
    volume = image("u1")
    volume = Volume((Level(np.tile(volume.levels[0].array, (3, 2, 1)), (10.0, 10.0, 10.0)),))
    save_volume(volume, tmp_path / "v.zarr", levels=3)
    first = zarr.open_array(tmp_path / "v.zarr" / "0", mode="r")
    assert first.shards == (128, 256, 192)
    assert first.chunks == (64, 64, 64)
    opened = open_volume(tmp_path / "v.zarr")
    array = volume.levels[0].array
    for k in range(3):
        same(opened, k, array)
        array = downsample(array, (2, 2, 2), "image")


def test_memory_url_is_written_whole_or_not_at_all(tmp_path):
    volume = image()
    save_volume(volume, "memory://bucket/v.zarr")
    opened = travelled(open_volume("memory://bucket/v.zarr"))
    assert opened.source == "memory://bucket/v.zarr"
    same(opened, 0, volume.levels[0].array)
    with pytest.raises(StoreError, match="exists; choose another name"):
        save_volume(volume, "memory://bucket/v.zarr")
    save_volume(image("f4"), "memory://bucket/v.zarr", overwrite=True)
    assert open_volume("memory://bucket/v.zarr").levels[0].dtype == np.float32
    job = save_volume_job(volume, "memory://bucket/w.zarr")
    next(job)
    with pytest.raises(InputError, match="no multiscale metadata"):
        open_volume("memory://bucket/w.zarr")
    job.close()
    with pytest.raises(InputError, match="no zarr group"):
        open_volume("memory://bucket/w.zarr")
    with pytest.raises(StoreError, match="http is read-only"):
        save_volume(volume, "http://127.0.0.1:9/v.zarr")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_what_is_no_zarr_store_is_not_overwritten_at_an_address_either(kind, tmp_path):
    place = f"memory://{tmp_path.name}/lab" if kind == "memory" else f"file://{tmp_path}/lab"
    with fsspec.open(f"{place}/other/notes.txt", "w", auto_mkdir=True) as notes:
        notes.write("mine")
    with pytest.raises(StoreError, match="is not a zarr store and will not be overwritten"):
        save_volume(image(), place, overwrite=True)
    with fsspec.open(f"{place}/other/notes.txt", "r") as notes:
        assert notes.read() == "mine"


def test_a_store_at_an_address_is_not_overwritten_by_what_is_read_from_it(tmp_path):
    place = f"memory://{tmp_path.name}/v.zarr"
    save_volume(image(), place)
    with pytest.raises(InputError, match="which the volume is read from"):
        save_volume(open_volume(place), place, overwrite=True)
    same(open_volume(place), 0, image().levels[0].array)


def test_an_address_that_pathlib_has_cut_is_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for write_to in (save_volume, save_precomputed):
        with pytest.raises(InputError, match="pathlib takes a slash from an address"):
            write_to(image(), Path("s3://bucket/v.zarr"))
    with pytest.raises(InputError, match="pathlib takes a slash from an address"):
        open_volume(Path("s3://bucket/v.zarr"))
    assert not list(tmp_path.iterdir())


def test_what_comes_while_a_volume_is_written_stays(tmp_path):
    job = save_volume_job(image(), tmp_path / "v.zarr")
    next(job)
    (tmp_path / "v.zarr").mkdir()
    (tmp_path / "v.zarr" / "thesis.txt").write_text("mine")
    with pytest.raises(StoreError, match="exists; choose another name"):
        run(job)
    assert (tmp_path / "v.zarr" / "thesis.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["v.zarr"]


def test_what_is_replaced_comes_back_where_the_swap_fails(tmp_path, monkeypatch):
    save_volume(image(), tmp_path / "v.zarr")
    rename = Path.rename

    def refused(self, target):
        if self.name == "new.zarr":
            raise PermissionError("not now")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(StoreError, match="not now"):
        save_volume(image("f4"), tmp_path / "v.zarr", overwrite=True)
    assert open_volume(tmp_path / "v.zarr").levels[0].dtype == np.uint16
    assert [p.name for p in tmp_path.iterdir()] == ["v.zarr"]


def test_what_a_killed_process_had_put_aside_comes_back(tmp_path):
    save_volume(image(), tmp_path / "v.zarr")
    partial = tmp_path / ".v.zarr.partial"
    partial.mkdir()
    (tmp_path / "v.zarr").rename(partial / "old.zarr")  # killed between the two moves
    with pytest.raises(StoreError, match="exists; choose another name"):
        save_volume(image("f4"), tmp_path / "v.zarr")
    assert open_volume(tmp_path / "v.zarr").levels[0].dtype == np.uint16
    (tmp_path / ".v.zarr.partial").mkdir()
    (tmp_path / "v.zarr").rename(partial / "old.zarr")
    job = save_volume_job(image("f4"), tmp_path / "v.zarr", overwrite=True)
    next(job)
    job.close()
    assert open_volume(tmp_path / "v.zarr").levels[0].dtype == np.uint16


def test_closed_job_and_failed_read_leave_nothing(tmp_path):
    job = save_volume_job(image(), tmp_path / "v.zarr")
    progress = next(job)
    assert (progress.done, progress.stage) == (1, "level 0 of 3")
    assert not (tmp_path / "v.zarr").exists()
    job.close()
    assert not list(tmp_path.iterdir())

    class Broken:
        shape, dtype = (4, 4, 4), np.dtype("u1")

        def __getitem__(self, key):
            raise RuntimeError("broken source")

    with pytest.raises(RuntimeError, match="broken source"):
        save_volume(Volume((Level(Broken(), (1.0, 1.0, 1.0)),)), tmp_path / "v.zarr")
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_cleared(tmp_path):
    left = tmp_path / ".v.zarr.partial" / "new.zarr"
    left.mkdir(parents=True)
    (left / "zarr.json").write_text("{")
    save_volume(image(), tmp_path / "v.zarr")
    same(open_volume(tmp_path / "v.zarr"), 0, image().levels[0].array)
    assert [p.name for p in tmp_path.iterdir()] == ["v.zarr"]


def test_existing_output_is_left_alone_unless_told(tmp_path):
    save_volume(image(), tmp_path / "v.zarr")
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    with pytest.raises(StoreError, match="exists; choose another name, or overwrite it"):
        save_volume(image("u1"), tmp_path / "v.zarr")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
    save_volume(image("u1"), tmp_path / "v.zarr", overwrite=True)
    assert open_volume(tmp_path / "v.zarr").levels[0].dtype == np.uint8
    assert [p.name for p in tmp_path.iterdir()] == ["v.zarr"]


@pytest.mark.parametrize("name", ["x.zip", "x.TIF", "x.ome.h5", "memory://check/x.zip"])
def test_a_name_that_promises_another_format_is_refused(name, tmp_path):
    path = name if "://" in name else tmp_path / name
    with pytest.raises(InputError, match=r"a zarr store is not a \.\w+; allowed: a name that ends in .zarr"):
        save_volume(image(), path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["x", "x.zarr", "em_1.5nm"])
def test_no_suffix_or_one_of_its_own_is_fine(name, tmp_path):
    save_volume(image(), tmp_path / name)
    assert open_volume(tmp_path / name).levels[0].dtype == image().levels[0].dtype


def test_overwriting_spares_what_is_no_zarr(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_text("x")
    with pytest.raises(StoreError, match="not a zarr store and will not be overwritten"):
        save_volume(image(), tmp_path / "photos", overwrite=True)
    assert [p.name for p in (tmp_path / "photos").iterdir()] == ["a.png"]


def test_store_may_be_written_over_itself(tmp_path):
    save_volume(image(), tmp_path / "v.zarr", levels=1)
    save_volume(open_volume(tmp_path / "v.zarr"), tmp_path / "v.zarr", levels=3, overwrite=True)
    opened = open_volume(tmp_path / "v.zarr")
    assert len(opened.levels) == 3
    same(opened, 0, image().levels[0].array)


def test_second_writer_is_refused(tmp_path):
    job = save_volume_job(image(), tmp_path / "v.zarr")
    next(job)
    with pytest.raises(StoreError, match="in use by another process"):
        save_volume(image(), tmp_path / "v.zarr")
    for _ in job:
        pass
    same(open_volume(tmp_path / "v.zarr"), 0, image().levels[0].array)


def test_full_and_unwritable_disks_are_one_line_and_leave_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"cannot write .*choose another place"):
        save_volume(image(), tmp_path / "file" / "v.zarr")
    import zarr.storage._local as local

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(local, "_put", full)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        save_volume(image(), tmp_path / "v.zarr")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_bad_options_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InputError, match=r"got OME-Zarr version '0.3'; allowed: 0.4, 0.5"):
        save_volume(image(), tmp_path / "v.zarr", version="0.3")
    with pytest.raises(InputError, match="got levels=0; allowed: 1 or more"):
        save_volume(image(), tmp_path / "v.zarr", levels=0)
    with pytest.raises(InputError, match="got labels of type float32"):
        save_volume(image("f4"), tmp_path / "v.zarr", kind="labels")
    with pytest.raises(InputError, match="got kind='points'"):
        save_volume(image(), tmp_path / "v.zarr", kind="points")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_beside_their_image_are_listed_there(tmp_path, version):
    save_volume(image(), tmp_path / "v.zarr", version=version)
    for name in ("cells", "nuclei", "cells"):
        target = tmp_path / "v.zarr" / "labels" / name
        save_volume(image(kind="labels"), target, version=version, overwrite=True)
    attributes = zarr.open_group(tmp_path / "v.zarr" / "labels", mode="r").attrs.asdict()
    assert attributes.get("ome", attributes)["labels"] == ["nuclei", "cells"]
    opened = open_volume(tmp_path / "v.zarr", array="labels/cells")
    assert opened.kind == "labels"
    same(opened, 0, image().levels[0].array)
    other = {"0.4": "0.5", "0.5": "0.4"}[version]
    with pytest.raises(InputError, match=f"labels of an image of version {version}"):
        save_volume(image(kind="labels"), tmp_path / "v.zarr" / "labels" / "x", version=other)
    with pytest.raises(InputError, match="that place is for labels"):
        save_volume(image(), tmp_path / "v.zarr" / "labels" / "x", version=version)


def test_chunks_are_written_atomically_by_zarr():
    """What resuming relies on: zarr's LocalStore writes beside and renames."""
    import inspect

    import zarr.storage._local as local

    assert "_atomic_write" in inspect.getsource(local._put)
    assert "replace" in inspect.getsource(local._atomic_write)


def test_reading_a_box_of_every_level_reads_the_same_place(tmp_path):
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32)[None, None, :], (16, 64, 128)).copy()
    save_volume(Volume((Level(ramp, (20.0, 10.0, 10.0), (0.0, 0.0, 50.0)),)), tmp_path / "v.zarr", levels=3)
    opened = open_volume(tmp_path / "v.zarr")
    for level in opened.levels:
        box = Box((0, 0, level.shape[2] // 2), (1, 1, level.shape[2] // 2 + 1))
        x_nm = level.to_nm([box.centre])[0, 2]
        assert level.read(box)[0, 0, 0] == pytest.approx((x_nm - 50.0) / 10.0 - 0.5)


def test_source_is_read_in_small_blocks_and_each_voxel_once(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "_BLOCK_BYTES", 2**20)
    asked = []

    class Virtual:
        shape, dtype = (200, 300, 250), np.dtype("u2")

        def __getitem__(self, key):
            block = np.zeros([part.stop - part.start for part in key[1:]], np.uint16)
            asked.append(block.nbytes)
            return block

    save_volume(Volume((Level(Virtual(), (1.0, 1.0, 1.0)),)), tmp_path / "v.zarr", levels=3)
    assert max(asked) <= 2**20
    assert sum(asked) == 200 * 300 * 250 * 2


MEASURE = """
import resource, sys
import numpy as np
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes.write import save_volume
tile = np.random.default_rng(0).integers(0, 4096, (64, 64, 64)).astype("u2")
class Virtual:
    def __init__(self, n):
        self.shape, self.dtype = (n, n, n), tile.dtype
    def __getitem__(self, key):
        return np.tile(tile, [-(-(part.stop - part.start) // 64) for part in key if isinstance(part, slice)])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
save_volume(Volume((Level(Virtual(int(sys.argv[2])), (2.0, 1.0, 1.0)),)), sys.argv[1])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is counted in other units")
def test_memory_does_not_grow_with_the_volume(tmp_path):
    peaks = []
    for n in (384, 640):
        command = [sys.executable, "-c", MEASURE, str(tmp_path / f"{n}.zarr"), str(n)]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < 350  # MB, for 500 MB of voxels
    assert peaks[1] < 1.25 * peaks[0] + 20

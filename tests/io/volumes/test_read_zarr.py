from __future__ import annotations

import functools
import http.server
import json
import shutil
import threading

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from napari_connecto.core.errors import ChoiceError, ChunkError, InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.io.volumes.read import open_volume
from tests.io.travel import travelled

RNG = np.random.default_rng(0)


def write_image(path, arrays, axes, transforms=None, version="0.5", **more):
    """A minimal OME-Zarr image, as another tool may write it."""
    group = zarr.create_group(path, zarr_format=2 if version != "0.5" else 3)
    for k, array in enumerate(arrays):
        chunks = tuple(min(n, 8) for n in array.shape)
        group.create_array(f"s{k}", shape=array.shape, dtype=array.dtype, chunks=chunks)[...] = array
    datasets = [{"path": f"s{k}"} for k in range(len(arrays))]
    for dataset, transform in zip(datasets, transforms or [], strict=False):
        dataset["coordinateTransformations"] = transform
    multiscale = {"datasets": datasets, **({"axes": axes} if axes else {}), **more}
    attributes = {"multiscales": [multiscale]}
    group.attrs.update({"ome": {"version": "0.5", **attributes}} if version == "0.5" else attributes)


def axes_of(names, unit="micrometer"):
    kinds = {"t": "time", "c": "channel"}
    return [{"name": n, "type": kinds.get(n, "space"), **({} if n in "tc" else {"unit": unit})} for n in names]


def scale(*values):
    return {"type": "scale", "scale": list(values)}


def shift(*values):
    return {"type": "translation", "translation": list(values)}


# geometry ------------------------------------------------------------------------------------------------------------


def test_translations_are_those_of_centres(tmp_path):
    fine, coarse = RNG.random((4, 16, 16)), RNG.random((4, 8, 8))
    transforms = [
        [scale(0.04, 0.01, 0.01), shift(1.0, 2.0, 3.0)],
        [scale(0.04, 0.02, 0.02), shift(1.0, 2.005, 3.005)],
    ]
    write_image(tmp_path / "v", [fine, coarse], axes_of("zyx"), transforms)
    volume = open_volume(tmp_path / "v")
    assert volume.calibrated
    for level, size in zip(volume.levels, (10.0, 20.0), strict=True):
        assert level.voxel_nm == pytest.approx((40.0, size, size))
        assert level.origin_nm == pytest.approx((980.0, 1995.0, 2995.0))


def test_without_translations_levels_share_the_corner_of_level_0(tmp_path):
    arrays = [RNG.random((4, 16, 16)), RNG.random((4, 4, 4))]
    write_image(tmp_path / "v", arrays, axes_of("zyx", "nanometer"), [[scale(30, 4, 4)], [scale(30, 16, 16)]])
    assert [level.origin_nm for level in open_volume(tmp_path / "v").levels] == [(-15.0, -2.0, -2.0)] * 2


def test_transformations_of_all_levels_come_after_their_own(tmp_path):
    transforms = [[scale(1, 1, 1), shift(1, 1, 1)]]
    shared = [scale(30, 4, 5), shift(100, 0, 0), {"type": "identity"}]
    write_image(
        tmp_path / "v",
        [RNG.random((4, 8, 8))],
        axes_of("zyx", "nanometer"),
        transforms,
        coordinateTransformations=shared,
    )
    level = open_volume(tmp_path / "v").levels[0]
    assert level.voxel_nm == (30.0, 4.0, 5.0)
    assert level.origin_nm == (30.0 + 100 - 15, 4.0 - 2, 5.0 - 2.5)


@pytest.mark.parametrize(("unit", "nm"), [("angstrom", 0.1), ("millimeter", 1e6), ("µm", 1e3), ("meter", 1e9)])
def test_units(tmp_path, unit, nm):
    write_image(tmp_path / "v", [RNG.random((4, 8, 8))], axes_of("zyx", unit), [[scale(4, 2, 2)]])
    assert open_volume(tmp_path / "v").levels[0].voxel_nm == pytest.approx((4 * nm, 2 * nm, 2 * nm))


@pytest.mark.parametrize("unit", [None, "pixel", "parsnip"])
def test_without_a_length_it_is_not_calibrated_until_told(tmp_path, unit):
    arrays = [RNG.random((4, 16, 16)), RNG.random((4, 8, 8))]
    write_image(tmp_path / "v", arrays, axes_of("zyx", unit), [[scale(1, 1, 1)], [scale(1, 2, 2)]])
    volume = open_volume(tmp_path / "v")
    assert not volume.calibrated
    assert [level.voxel_nm for level in volume.levels] == [(1, 1, 1), (1, 2, 2)]
    told = open_volume(tmp_path / "v", voxel_nm=(50, 4, 8))
    assert told.calibrated
    assert [level.voxel_nm for level in told.levels] == [(50, 4, 8), (50, 8, 16)]
    assert [level.origin_nm for level in told.levels] == [(-25, -2, -4)] * 2


@pytest.mark.parametrize("bad", [(1, 2), (0, 1, 1), (1, 1, float("nan")), "abc", (1, 2, 3, 4), 5])
def test_voxel_size_that_is_none_is_refused(tmp_path, bad):
    write_image(tmp_path / "v", [RNG.random((4, 8, 8))], axes_of("zyx"))
    if bad == (1, 2):
        assert open_volume(tmp_path / "v", voxel_nm=bad).levels[0].voxel_nm == (1, 1, 2)
        return
    with pytest.raises(VoxelSizeError, match="got voxel_nm="):
        open_volume(tmp_path / "v", voxel_nm=bad)


def test_old_versions_without_axes_and_sizes_get_ratios_from_shapes(tmp_path):
    arrays = [RNG.random((1, 1, 5, 33, 33)), RNG.random((1, 1, 5, 16, 17)), RNG.random((1, 1, 5, 8, 8))]
    write_image(tmp_path / "v", arrays, None, version="0.1")
    volume = open_volume(tmp_path / "v")
    assert not volume.calibrated
    assert [level.voxel_nm for level in volume.levels] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert volume.levels[0].shape == (5, 33, 33)


def test_axes_are_taken_by_name_whatever_their_order(tmp_path):
    array = RNG.random((16, 12, 4, 2))
    write_image(tmp_path / "v", [array], axes_of("xyzc"), [[scale(0.001, 0.002, 0.003, 1)]])
    volume = open_volume(tmp_path / "v", channel=1)
    level = volume.levels[0]
    assert level.voxel_nm == pytest.approx((3.0, 2.0, 1.0))
    np.testing.assert_array_equal(level.read(level.box), array[..., 1].transpose(2, 1, 0))
    np.testing.assert_array_equal(level.read(Box((1, 2, 3), (3, 5, 9))), array[3:9, 2:5, 1:3, 1].transpose(2, 1, 0))


def test_two_dimensional_image_has_one_section(tmp_path):
    array = RNG.random((20, 30))
    write_image(tmp_path / "v", [array, array[::2, ::2]], axes_of("yx", "nm"), [[scale(4, 5)], [scale(8, 10)]])
    volume = open_volume(tmp_path / "v")
    assert [level.voxel_nm for level in volume.levels] == [(4, 4, 5), (4, 8, 10)]
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), array[None])


# channels and time ---------------------------------------------------------------------------------------------------


def test_channel_and_time_are_picked_explicitly(tmp_path):
    array = RNG.integers(0, 99, (3, 2, 4, 10, 12)).astype("u1")
    write_image(tmp_path / "v", [array], axes_of("tczyx"), [[scale(1, 1, 1, 1, 1)]])
    with pytest.raises(InputError, match=r"got 2 channels and none picked; .* channel=0 to 1; or channel='all'"):
        open_volume(tmp_path / "v")
    with pytest.raises(InputError, match="got 3 times and none picked; choose one, time=0 to 2"):
        open_volume(tmp_path / "v", channel=0)
    with pytest.raises(InputError, match="got channel=2; allowed: 0 to 1"):
        open_volume(tmp_path / "v", channel=2, time=0)
    with pytest.raises(InputError, match="got channel='red'; allowed: a number from 0, or 'all'"):
        open_volume(tmp_path / "v", channel="red")
    one = open_volume(tmp_path / "v", channel=1, time=2).levels[0]
    np.testing.assert_array_equal(one.read(one.box), array[2, 1])
    both = open_volume(tmp_path / "v", channel="all", time=0).levels[0]
    assert both.channels == 2
    np.testing.assert_array_equal(both.read(Box((1, 2, 3), (3, 4, 5))), array[0, :, 1:3, 2:4, 3:5])
    revisions = {open_volume(tmp_path / "v", channel=c, time=0).metadata["revision"] for c in (0, 1, "all")}
    assert len(revisions) == 3


# finding the image ---------------------------------------------------------------------------------------------------


def test_bioformats2raw_opens_its_image_or_the_one_asked_for(tmp_path):
    group = zarr.create_group(tmp_path / "v", zarr_format=3)
    group.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    for k in (0, 1):
        write_image(tmp_path / "v" / str(k), [np.full((2, 4, 4), k, "u1")], axes_of("zyx"), [[scale(1, 1, 1)]])
    for array, value in (("0", 0), ("1", 1), ("1/s0", 1)):
        level = open_volume(tmp_path / "v", array=array).levels[0]
        assert (level.read(level.box) == value).all()
    with pytest.raises(ChoiceError, match=r"several images in .*choose array= one of '0', '1' \(--array NAME\)"):
        open_volume(tmp_path / "v")
    spoil(tmp_path / "v" / "0", name="macro image")
    level = open_volume(tmp_path / "v").levels[0]
    assert (level.read(level.box) == 1).all()
    group.create_group("OME").attrs["ome"] = {"version": "0.5", "series": ["0", "1", "A/2"]}
    write_image(tmp_path / "v" / "A" / "2", [np.full((2, 4, 4), 2, "u1")], axes_of("zyx"), [[scale(1, 1, 1)]], name="b")
    with pytest.raises(ChoiceError) as caught:
        open_volume(tmp_path / "v")
    assert caught.value.lines == ("several images: choose one with --array", "1", "A/2: b")


def test_group_without_multiscales_names_what_is_in_it(tmp_path):
    group = zarr.create_group(tmp_path / "v")
    group.create_array("raw/em", shape=(4, 4, 4), dtype="u1")
    write_image(tmp_path / "v" / "image", [np.zeros((2, 4, 4), "u1")], axes_of("zyx"))
    with pytest.raises(InputError, match=r"no multiscale metadata in .*array= one of .*'raw/em'.* \(--array NAME\)$"):
        open_volume(tmp_path / "v")
    assert open_volume(tmp_path / "v", array="raw/em").levels[0].shape == (4, 4, 4)
    assert open_volume(tmp_path / "v", array="image").levels[0].shape == (2, 4, 4)


def test_plates_and_wells_say_what_to_open(tmp_path):
    group = zarr.create_group(tmp_path / "v", zarr_format=2)
    group.attrs["plate"] = {"wells": [{"path": "B/2"}]}
    with pytest.raises(InputError, match="it is a plate: choose one of its images, array='B/2/0'"):
        open_volume(tmp_path / "v")


def test_labels_group_with_one_image_opens_it(tmp_path):
    labels = zarr.create_group(tmp_path / "v" / "labels", zarr_format=2)
    labels.attrs["labels"] = ["cells"]
    write_image(tmp_path / "v" / "labels" / "cells", [np.full((2, 4, 4), 3, "u4")], axes_of("zyx"), version="0.4")
    zarr.open_group(tmp_path / "v" / "labels" / "cells").attrs["image-label"] = {}
    volume = open_volume(tmp_path / "v" / "labels")
    assert volume.kind == "labels"
    assert volume.levels[0].dtype == np.uint32


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_plain_array_by_path_or_name(tmp_path, zarr_format):
    array = RNG.integers(0, 99, (4, 10, 12)).astype("u1")
    zarr.create_array(tmp_path / "v", name="a/b", shape=array.shape, dtype="u1", zarr_format=zarr_format)[...] = array
    for path, name in ((tmp_path / "v", "a/b"), (tmp_path / "v" / "a" / "b", None)):
        volume = open_volume(path, array=name)
        assert not volume.calibrated
        assert volume.levels[0].voxel_nm == (1, 1, 1)
        np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), array)


def test_dimension_names_of_a_plain_array_count(tmp_path):
    array = RNG.random((4, 10, 12))
    zarr.create_array(tmp_path / "v", shape=array.shape, dtype="f8", dimension_names=["x", "y", "z"])[...] = array
    level = open_volume(tmp_path / "v").levels[0]
    np.testing.assert_array_equal(level.read(level.box), array.T)


# refusals ------------------------------------------------------------------------------------------------------------


def spoil(path, **change):
    """Rewrite the multiscale metadata."""
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["ome"]["multiscales"][0].update(change)
    (path / "zarr.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"axes": axes_of("zy")}, "states axes .* for an array of 3 axes"),
        ({"axes": [{"name": n, "type": "odd"} for n in "abc"]}, r"got axes \['a', 'b', 'c'\]; allowed: y and x"),
        ({"axes": axes_of("zyy")}, "got axes .*each at most once"),
        ({"axes": "zyx"}, "states axes 'zyx' for an array of 3 axes"),
        ({"axes": [1, 2, 3]}, "states axes"),
        ({"datasets": []}, "names no datasets"),
        ({"datasets": [{"path": "gone"}]}, "no zarr group or array at .*gone"),
        ({"datasets": [{"name": "s0"}]}, "has a dataset without a path"),
        (
            {"datasets": [{"path": "s0", "coordinateTransformations": [scale(1, 1)]}]},
            r"states \[1, 1\] where 3 numbers",
        ),
        ({"datasets": [{"path": "s0", "coordinateTransformations": [scale(0, 1, 1)]}]}, "must be positive"),
        ({"datasets": [{"path": "s0", "coordinateTransformations": [{"type": "scale"}]}]}, "states None where 3"),
    ],
)
def test_wrong_metadata_are_one_clear_line(tmp_path, change, message):
    write_image(tmp_path / "v", [np.zeros((4, 8, 8), "u1")], axes_of("zyx"), [[scale(1, 1, 1)]])
    spoil(tmp_path / "v", **change)
    with pytest.raises(InputError, match=message) as caught:
        open_volume(tmp_path / "v")
    assert "\n" not in str(caught.value)


def test_missing_empty_and_damaged_stores_are_one_clear_line(tmp_path):
    with pytest.raises(InputError, match=r"no file or folder at .*check the path"):
        open_volume(tmp_path / "nowhere.zarr")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match=r"no zarr group or array at .*empty\.zarr"):
        open_volume(tmp_path / "empty.zarr")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="neither a zarr store nor a folder of images"):
        open_volume(tmp_path / "folder")
    write_image(tmp_path / "v", [np.zeros((4, 8, 8), "u1")], axes_of("zyx"))
    with pytest.raises(InputError, match=r"no zarr group or array at .*/nope"):
        open_volume(tmp_path / "v", array="nope")
    (tmp_path / "v" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match=r"cannot open .* as zarr"):
        open_volume(tmp_path / "v")
    zarr.create_array(tmp_path / "zero.zarr", shape=(0, 4, 4), chunks=(1, 4, 4), dtype="u1")
    with pytest.raises(InputError, match=r"empty array of shape \(0, 4, 4\)"):
        open_volume(tmp_path / "zero.zarr")
    zarr.create_array(tmp_path / "long.zarr", shape=(4,), dtype="u1")
    with pytest.raises(InputError, match=r"got an array of shape \(4,\); 2 to 5 axes"):
        open_volume(tmp_path / "long.zarr")
    with pytest.raises(InputError, match="Protocol not known"):
        open_volume("parsnip://bucket/v.zarr")
    with pytest.raises(InputError, match="got missing='maybe'"):
        open_volume(tmp_path / "zero.zarr", missing="maybe")
    (tmp_path / "notes.docx").write_text("x")
    with pytest.raises(InputError, match=r"allowed: OME-Zarr or image folders, \.bmp"):
        open_volume(tmp_path / "notes.docx")


# damaged chunks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cut", "garbage", "empty"])
@pytest.mark.parametrize("codec", ["zstd", "blosc", "none"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_damaged_chunk_is_named_and_others_read(tmp_path, how, codec, zarr_format):
    if codec == "none" and how == "garbage":
        pytest.skip("without a codec any bytes are voxels")
    compressor = {"zstd": "auto", "none": None, "blosc": BloscCodec() if zarr_format == 3 else "auto"}[codec]
    array = RNG.integers(0, 999, (8, 8, 8)).astype("u2")
    stored = zarr.create_array(
        tmp_path / "v", shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2", zarr_format=zarr_format, compressors=compressor
    )
    stored[...] = array
    name = "c/1/0/1" if zarr_format == 3 else "1.0.1"
    file = tmp_path / "v" / name
    data = file.read_bytes()
    file.write_bytes({"cut": data[: len(data) // 2], "garbage": b"\xff" * len(data), "empty": b""}[how])
    level = open_volume(tmp_path / "v").levels[0]
    np.testing.assert_array_equal(level.read(Box((0, 0, 0), (4, 8, 8))), array[:4])
    with pytest.raises(ChunkError, match=f"chunk '{name}' of .*v' is damaged .*--on-bad-chunk fill or skip") as caught:
        level.read(level.box)
    assert "\n" not in str(caught.value)


def test_damaged_chunk_of_a_level_and_a_shard_is_named(tmp_path):
    write_image(tmp_path / "v", [np.ones((4, 16, 16), "u1"), np.ones((4, 8, 8), "u1")], axes_of("zyx"))
    file = next(p for p in (tmp_path / "v" / "s1" / "c").rglob("*") if p.is_file())
    file.write_bytes(b"\xff")
    volume = open_volume(tmp_path / "v")
    assert volume.levels[0].read(volume.levels[0].box).all()
    with pytest.raises(ChunkError, match=r"chunk 'c/0/0/0' of level 1 of .*v'"):
        volume.levels[1].read(volume.levels[1].box)
    noise = RNG.integers(0, 999, (16, 16, 16)).astype("u2")
    zarr.create_array(tmp_path / "s", shape=(16, 16, 16), chunks=(4, 4, 4), shards=(8, 8, 8), dtype="u2")[...] = noise
    file = tmp_path / "s" / "c" / "0" / "1" / "0"
    data = bytearray(file.read_bytes())
    data[:20] = b"\xff" * 20
    file.write_bytes(data)
    level = open_volume(tmp_path / "s").levels[0]
    with pytest.raises(ChunkError, match=r"chunk \(0, 0, 0\) in shard 'c/0/1/0' of"):
        level.read(level.box)
    np.testing.assert_array_equal(level.read(Box((8, 0, 0), (16, 16, 16))), noise[8:])


def test_missing_chunk_is_fill_value_or_an_error(tmp_path):
    zarr.create_array(tmp_path / "v", shape=(8, 8, 8), chunks=(4, 4, 4), dtype="u2")[...] = 7
    (tmp_path / "v" / "c" / "1" / "0" / "1").unlink()
    level = open_volume(tmp_path / "v").levels[0]
    assert level.read(level.box).sum(dtype=int) == 7 * (512 - 64)
    strict = travelled(open_volume(tmp_path / "v", missing="error")).levels[0]
    assert (strict.read(Box((0, 0, 0), (4, 8, 8))) == 7).all()
    with pytest.raises(ChunkError, match=r"chunk c/1/0/1 of .*v' is missing"):
        strict.read(strict.box)


def test_nan_passes_through(tmp_path):
    array = np.ones((4, 4, 4), np.float32)
    array[1, 2, 3] = np.nan
    zarr.create_array(tmp_path / "v", shape=(4, 4, 4), dtype="f4")[...] = array
    level = open_volume(tmp_path / "v").levels[0]
    np.testing.assert_array_equal(level.read(level.box), array)


# laziness, identity, safety ------------------------------------------------------------------------------------------


def test_revision_changes_with_the_source_and_only_then(tmp_path):
    write_image(tmp_path / "v", [RNG.integers(1, 9, (4, 16, 16)).astype("u1")], axes_of("zyx"), [[scale(1, 1, 1)]])
    first = open_volume(tmp_path / "v")
    assert open_volume(tmp_path / "v").fingerprint() == first.fingerprint()
    assert first.source == str(tmp_path / "v")
    zarr.open_array(tmp_path / "v" / "s0", mode="r+")[0, 0, 0] = 77
    second = open_volume(tmp_path / "v").metadata["revision"]
    assert second != first.metadata["revision"]
    spoil(tmp_path / "v", name="renamed")
    assert open_volume(tmp_path / "v").metadata["revision"] != second


def test_source_is_never_writable_or_written(tmp_path):
    write_image(tmp_path / "v", [np.ones((4, 16, 16), "u1")], axes_of("zyx"))
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    level = open_volume(tmp_path / "v").levels[0]
    level.read(level.box)
    assert level.array.source.array.read_only
    assert not hasattr(level.array, "__setitem__")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_huge_sparse_store_opens_and_reads_a_box_at_once(tmp_path):
    zarr.create_array(tmp_path / "v", shape=(2**20, 2**20, 2**20), chunks=(64, 64, 64), dtype="u1", fill_value=3)
    level = travelled(open_volume(tmp_path / "v")).levels[0]
    assert level.array.chunks == (64, 64, 64)
    assert (level.read(Box((2**19,) * 3, (2**19 + 10,) * 3)) == 3).all()


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        if self.path.endswith("broken/c/0/0/0"):
            self.send_error(500)
        else:
            super().do_GET()


@pytest.fixture
def site(tmp_path):
    """A web server on this machine over tmp_path."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_http(tmp_path, site):
    array = RNG.integers(0, 99, (4, 16, 16)).astype("u1")
    write_image(tmp_path / "v.zarr", [array], axes_of("zyx"), [[scale(1, 1, 1)]])
    volume = travelled(open_volume(f"{site}/v.zarr"))
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), array)
    plain = open_volume(f"{site}/v.zarr", array="s0").levels[0]
    np.testing.assert_array_equal(plain.read(Box((1, 2, 3), (2, 12, 14))), array[1:2, 2:12, 3:14])
    with pytest.raises(InputError, match="no zarr group or array at"):
        open_volume(f"{site}/w.zarr")
    shutil.copytree(tmp_path / "v.zarr" / "s0", tmp_path / "broken")
    level = open_volume(f"{site}/broken").levels[0]
    with pytest.raises(ChunkError, match=r"chunk 'c/0/0/0' of .*broken' is damaged .500"):
        level.read(level.box)
    with pytest.raises(InputError, match=r"cannot open .*check that it is complete and reachable"):
        open_volume("http://127.0.0.1:9/v.zarr")


# stores that other tools wrote ---------------------------------------------------------------------------------------


@pytest.mark.real
@pytest.mark.parametrize("name", ["simple_0.4", "simple_0.5"])
def test_foreign_pyramid_in_subfolders(real_data, name):
    volume = open_volume(real_data / "foreign_stores" / name)
    assert volume.calibrated
    assert [level.shape for level in volume.levels] == [(1, 10, 10), (1, 5, 5), (1, 2, 2)]
    assert [level.voxel_nm for level in volume.levels] == [(4, 4, 30), (4, 8, 60), (4, 16, 120)]
    assert [level.origin_nm[1:] for level in volume.levels] == [(-2, -15)] * 3
    assert volume.levels[0].read(volume.levels[0].box).sum() == 4950


@pytest.mark.real
@pytest.mark.parametrize("name", ["blobs_image_v04.ome.zarr", "blobs_image_v05.ome.zarr"])
def test_foreign_spatialdata_image(real_data, name):
    with pytest.raises(InputError, match="got 3 channels and none picked"):
        open_volume(real_data / "foreign_stores" / name)
    volume = open_volume(real_data / "foreign_stores" / name, channel="all")
    assert not volume.calibrated
    assert volume.levels[0].array.shape == (3, 1, 12, 12)
    assert volume.levels[0].read(volume.levels[0].box).sum() == pytest.approx(234.00014717314764)


@pytest.mark.real
def test_foreign_bioformats2raw_with_int8_and_empty_filters(real_data):
    volume = open_volume(real_data / "foreign_stores" / "bioformats2raw.zarr", channel=1)
    assert volume.levels[0].dtype == np.int8
    assert [level.shape for level in volume.levels] == [(1, 167, 439), (1, 83, 219)]
    assert [level.voxel_nm for level in volume.levels] == [(1, 1, 1), (1, 2, 2)]
    assert volume.levels[1].read(volume.levels[1].box).sum(dtype=int) == 852376


def test_a_machine_without_room_for_a_thread_is_not_a_damaged_store(tmp_path, monkeypatch):
    def refuse(*_args, **_keywords):
        raise RuntimeError("can't start new thread")

    write_image(tmp_path / "a.ome.zarr", [np.zeros((2, 4, 4), np.uint8)], [{"name": n, "type": "space"} for n in "zyx"])
    monkeypatch.setattr("zarr.open", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        open_volume(tmp_path / "a.ome.zarr")

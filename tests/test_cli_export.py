"""Commands that write for other programs, and those that say what is here."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from urllib.request import urlopen

import numpy as np
import pytest
from click.testing import CliRunner

from napari_connecto import cli
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import write_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.io.volumes.write import save_volume
from napari_connecto.models.inference.kept import keep
from napari_connecto.workflows.app import doctor
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, REJECTED, Verdicts, write_verdicts


def invoke(*arguments, **more) -> str:
    result = CliRunner().invoke(cli.cli, [str(a) for a in arguments], catch_exceptions=False, **more)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def result(tmp_path):
    """A result folder with labels."""
    array = np.zeros((8, 40, 40), np.uint32)
    array[2:5, 10:20, 10:30] = 7
    volume = Volume((Level(array, (40.0, 8.0, 8.0)),), name="cells", kind="labels")
    (tmp_path / "run" / "labels").mkdir(parents=True)
    save_volume(volume, tmp_path / "run" / "labels" / "labels.zarr", levels=1)
    return tmp_path / "run", array


def test_labels_of_a_result_folder(result, tmp_path):
    pytest.importorskip("tensorstore")
    quiet = ("--progress", "none")
    assert invoke("export", "labels", result[0], tmp_path / "p", *quiet) == f"written to {tmp_path / 'p'}\n"
    info = json.loads((tmp_path / "p" / "info").read_text())
    assert (info["type"], info["scales"][0]["resolution"]) == ("segmentation", [8, 8, 40])
    invoke("export", "labels", result[0], tmp_path / "z.zarr", "--to", "ome-zarr", "--format", "0.4", *quiet)
    again = open_volume(tmp_path / "z.zarr")
    assert again.kind == "labels"
    np.testing.assert_array_equal(again.levels[0].array[:], result[1])


def odd_labels(dtype):
    """Ids that no mean and no float keeps: neighbours differ, and are above 2^53 where the type allows it."""
    least = 2**53 + 1 if np.dtype(dtype).itemsize == 8 else 2**24 + 1 if np.dtype(dtype).itemsize == 4 else 1
    return (np.arange(4 * 32 * 32).reshape(4, 32, 32) // 64 * 2 + least).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "uint64", "int64"])
@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed", "out"])
def test_labels_of_a_volume_that_states_no_kind_are_labels(tmp_path, dtype, name):
    if name != "out.zarr":
        ts = pytest.importorskip("tensorstore")
    labels = odd_labels(dtype)
    pyramid = Volume(tuple(Level(labels[:, ::k, ::k], (40.0, 8.0 * k, 8.0 * k)) for k in (1, 2)))
    save_volume(pyramid, tmp_path / "image.zarr")  # as an image: its level 1 may hold anything
    invoke("export", "labels", tmp_path / "image.zarr", tmp_path / name, "--progress", "none", "--levels", "3")
    if name == "out.zarr":
        volume = open_volume(tmp_path / name)
        levels, kind = [level.read(level.box) for level in volume.levels], volume.kind
    else:
        spec = {"driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": str(tmp_path / name)}}
        stores = [ts.open({**spec, "scale_index": k}).result() for k in range(3)]
        levels = [np.asarray(store.read().result())[..., 0].T for store in stores]
        kind = {"segmentation": "labels"}.get(json.loads((tmp_path / name / "info").read_text())["type"])
    assert kind == "labels"
    assert len(levels) == 3
    np.testing.assert_array_equal(levels[0], labels.astype(levels[0].dtype))
    for level in levels:
        assert set(np.unique(level).tolist()) <= set(np.unique(labels).tolist())


@pytest.mark.parametrize("dtype", ["uint8", "int32", "uint64"])
def test_labels_as_tiff(result, tmp_path, dtype):
    labels = (np.arange(4 * 32 * 32).reshape(4, 32, 32) // 64).astype(dtype)
    level = Level(labels, (40.0, 8.0, 4.0), (80.0, 0.0, 0.0))
    save_volume(Volume((level,), kind="labels"), tmp_path / "in.zarr")
    line = invoke("export", "labels", tmp_path / "in.zarr", tmp_path / "out.tif", "--progress", "none")
    assert "TIFF cannot store the origin 80 x 0 x 0 nm; it was written as 0" in line
    volume = open_volume(tmp_path / "out.tif")
    np.testing.assert_array_equal(volume.levels[0].read(volume.levels[0].box), labels)
    assert volume.levels[0].voxel_nm == (40, 8, 4)
    with pytest.raises(StoreError, match="exists; choose another name"):
        invoke("export", "labels", tmp_path / "in.zarr", tmp_path / "out.tif")
    large = Volume((Level(odd_labels("uint64"), (40.0, 8.0, 8.0)),), kind="labels")
    save_volume(large, tmp_path / "large.zarr")
    with pytest.raises(InputError, match=r"TIFF holds 0 to 4294967295: write a \.zarr"):
        invoke("export", "labels", tmp_path / "large.zarr", tmp_path / "large.tif")
    assert not (tmp_path / "large.tif").exists()


def test_a_refused_export_names_what_works(result, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"names that end in \.zarr, \.precomputed, \.tif, .* --to ome-zarr"):
        invoke("export", "labels", result[0], tmp_path / "out.h5")
    monkeypatch.setitem(sys.modules, "tensorstore", None)
    with pytest.raises(InputError, match=r"tensorstore; install .*a name that ends in \.zarr \(--to ome-zarr\)"):
        invoke("export", "labels", result[0], tmp_path / "out.precomputed")
    invoke("export", "labels", result[0], tmp_path / "out.zarr", "--progress", "none")
    assert open_volume(tmp_path / "out.zarr").kind == "labels"
    save_volume(Volume((Level(np.ones((2, 8, 8), "f4"), (1.0, 1.0, 1.0)),)), tmp_path / "map.zarr")
    with pytest.raises(InputError, match=r"labels of type float32; .*--kind image"):
        invoke("export", "labels", tmp_path / "map.zarr", tmp_path / "map2.zarr")


def test_convert_says_that_what_may_be_labels_was_averaged(tmp_path):
    save_volume(Volume((Level(odd_labels("uint32"), (40.0, 8.0, 8.0)),)), tmp_path / "in.zarr")
    line = "uint32 was averaged as an image; if these are labels, repeat with --kind labels --overwrite"
    assert line in invoke("convert", tmp_path / "in.zarr", tmp_path / "a.zarr", "--progress", "none")
    told = invoke("convert", tmp_path / "in.zarr", tmp_path / "b.zarr", "--kind", "labels", "--progress", "none")
    assert "averaged" not in told


def test_a_search_for_centres_has_no_labels(tmp_path):
    (tmp_path / "map").mkdir()
    (tmp_path / "detections.csv").write_text("z_nm,y_nm,x_nm,score\n")
    with pytest.raises(InputError, match=r"the search in '.*' finds centres and has no labels; use export points"):
        invoke("export", "labels", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_points_from_one_format_into_another(result, tmp_path):
    (tmp_path / "a.csv").write_text("z_nm,y_nm,x_nm\n100,84,12\n")
    image = ("--image", result[0] / "labels" / "labels.zarr")
    assert "1 points written" in invoke("export", "points", tmp_path / "a.csv", tmp_path / "a.xml", *image)
    assert "<MarkerX>1</MarkerX><MarkerY>10</MarkerY><MarkerZ>2</MarkerZ>" in (tmp_path / "a.xml").read_text()
    invoke("export", "points", tmp_path / "a.xml", tmp_path / "b.csv", *image)
    assert (tmp_path / "b.csv").read_text() == "z_nm,y_nm,x_nm\n100.0,84.0,12.0\n"
    with pytest.raises(InputError, match=r"allowed: names that end in \.csv, \.parquet, \.xml"):
        invoke("export", "points", tmp_path / "a.csv", tmp_path / "a.txt")


def test_what_was_rejected_is_left_out_and_the_others_keep_their_ids(tmp_path):
    found = Detections(np.eye(3) * 100, np.array([0.9, 0.8, 0.7]), np.tile([0, 0, 0, 1, 1, 1], (3, 1)), np.arange(3))
    found.save(tmp_path / "detections.csv")
    write_json(tmp_path / "report.json", {"levels": [{"voxel_nm": [10, 10, 10], "origin_nm": [0, 0, 0]}]})
    assert invoke("export", "points", tmp_path, tmp_path / "all.csv").startswith("3 points written")
    write_verdicts(tmp_path, Verdicts(np.array([1, 2]), found.centre_nm[:2], np.array([REJECTED, ACCEPTED])))
    said = invoke("export", "points", tmp_path, tmp_path / "kept.csv")
    assert said.endswith("kept.csv; 1 rejected and left out\n")
    kept = Detections.load(tmp_path / "kept.csv")
    assert (kept.id.tolist(), kept.status.tolist()) == ([2, 3], [ACCEPTED, NEW])
    invoke("export", "points", tmp_path, tmp_path / "kept.xml")
    assert (tmp_path / "kept.xml").read_text().count("<Marker>") == 2


def test_labels_that_were_rejected_are_left_out_on_every_level(tmp_path):
    run, out = tmp_path / "run", tmp_path / "kept.zarr"
    array = np.zeros((8, 64, 64), np.uint32)
    array[2:6, 8:24, 8:24], array[2:6, 32:56, 32:56] = 1, 2
    volume = Volume((Level(array, (40.0, 8.0, 8.0)),), name="cells", kind="labels")
    save_volume(volume, run / "labels" / "objects.zarr", levels=2)
    centre = np.array([[160.0, 128, 128], [160, 352, 352]])
    Detections(centre, np.ones(2), np.zeros((2, 6), int), np.arange(1)).save(run / "detections.csv")
    write_json(run / "report.json", {})
    told = ("export", "labels", run, out, "--to", "ome-zarr", "--progress", "none")
    assert invoke(*told) == f"written to {out}\n"
    write_verdicts(run, Verdicts(np.array([2]), centre[1:], np.array([REJECTED]), 10.0))
    assert "1 rejected and left out\n" in invoke(*told, "--overwrite")
    for level, before in zip(open_volume(out).levels, open_volume(run / "labels" / "objects.zarr").levels, strict=True):
        assert set(np.unique(before.array[:])) == {0, 1, 2}
        np.testing.assert_array_equal(level.array[:], np.where(before.array[:] == 1, 1, 0))


def test_an_added_object_is_a_ball_in_labels_with_the_id_of_its_row(tmp_path):
    run, out = tmp_path / "run", tmp_path / "kept.zarr"
    array = np.zeros((8, 64, 64), np.uint32)
    array[2:6, 8:24, 8:24] = 1
    volume = Volume((Level(array, (40.0, 8.0, 8.0)),), name="cells", kind="labels")
    save_volume(volume, run / "labels" / "objects.zarr", levels=1)
    Detections(np.array([[160.0, 128, 128]]), np.ones(1), np.zeros((1, 6), int), np.arange(1)).save(
        run / "detections.csv"
    )
    write_json(run / "report.json", {})
    place = np.array([[180.0, 404, 404]])
    write_verdicts(run, Verdicts(np.array([0]), place, np.array([ADDED]), 60.0))
    said = invoke("export", "labels", run, out, "--to", "ome-zarr", "--progress", "none")
    assert "1 added and drawn as balls of the typical diameter\n" in said
    written = open_volume(out).levels[0].array[:]
    np.testing.assert_array_equal(np.where(written == 2, 0, written), array)
    z, y, x = np.nonzero(written == 2)
    np.testing.assert_allclose([z.mean(), y.mean(), x.mean()], [4, 50, 50])
    assert (len(set(z)), len(set(y))) == (3, 15)
    assert Detections.load(run).id.tolist() == [1, 2]


def test_detect_refuses_an_unknown_table_before_it_searches(tmp_path):
    with pytest.raises(InputError, match=r"got table 'cells\.xls'"):
        invoke("detect", tmp_path, "--cascade", "cells", "--out", tmp_path / "o", "--table", "cells.xls")
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("table", "error", "line"),
    [
        ("cells.parquet", InputError, r"Parquet needs pyarrow; install napari-connecto\[parquet\]"),
        ("file/cells.csv", StoreError, r"cannot write '.*cells\.csv'"),
    ],
)
def test_detect_refuses_a_table_it_could_not_write_before_it_searches(tmp_path, monkeypatch, table, error, line):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "file").write_text("in the way of a folder")
    with pytest.raises(error, match=line):
        invoke("detect", tmp_path, "--cascade", "cells", "--out", tmp_path / "o", "--table", tmp_path / table)
    assert not (tmp_path / "o").exists()


def test_the_folder_of_a_table_is_made(tmp_path):
    (tmp_path / "a.csv").write_text("z_nm,y_nm,x_nm\n100,84,12\n")
    invoke("export", "points", tmp_path / "a.csv", tmp_path / "new" / "deep" / "b.csv")
    assert (tmp_path / "new" / "deep" / "b.csv").read_text() == "z_nm,y_nm,x_nm\n100.0,84.0,12.0\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent otherwise there")
def test_neuroglancer_serves_until_ctrl_c(result):
    # what is started in the background of a shell does not hear SIGINT
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{hear}; from napari_connecto.cli import main; main()"
    command = [sys.executable, "-c", program, "neuroglancer", str(result[0]), "--state", "--for-seconds", "120"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        (layer,) = told["layers"]
        assert layer["source"].startswith("zarr://http://127.0.0.1:")
        with urlopen(layer["source"].removeprefix("zarr://") + "zarr.json") as answer:
            assert "multiscales" in json.load(answer)["attributes"]["ome"]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert said.splitlines()[-1] == "closed"


def test_neuroglancers_own_page_is_used_where_its_package_is(result):
    pytest.importorskip("neuroglancer")
    link = invoke("neuroglancer", result[0], "--for-seconds", "0.01").splitlines()[0]
    assert link.startswith("http://127.0.0.1:")
    link = invoke("neuroglancer", result[0], "--for-seconds", "0.01", "--client", "https://ng.example/").splitlines()[0]
    assert link.startswith("https://ng.example/#!%7B%22dimensions%22:")


def test_cache_is_shown_and_emptied(tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    names = ("napari-connecto-scratch-old", "napari-connecto-scratch-new", "napari-connecto-mine")
    left, busy, mine = (tmp_path / "scratch" / name for name in names)
    for folder in (left, busy, mine):
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"x" * 1000)
    for path in (left / "part", left, mine / "part", mine):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    keep("abc-123", b"a" * 4960, b"")
    lines = invoke("cache", "show").splitlines()
    assert lines[0].endswith("1 converted networks, 5 kB")
    assert lines[1].startswith("  abc-123  5 kB, used 20")
    assert lines[-1] == f"  left behind: {left}  1 kB"
    with pytest.raises(InputError, match=r"^no terminal to ask for confirmation; give --yes$"):
        invoke("cache", "empty", input="")
    refused = CliRunner().invoke(cli.cli, ["cache", "empty"], input="n\n")
    assert refused.exit_code == 1
    assert left.exists()
    assert invoke("cache", "empty", "--yes") == "6 kB deleted\n"
    assert (left.exists(), busy.exists(), mine.exists()) == (False, True, True)
    assert "is empty" in invoke("cache", "empty")


def test_doctor_tells_what_is_there_and_what_is_not(monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("openvino", "zarr") else version(name))
    monkeypatch.setattr(doctor, "OPENGL", "napari_connecto.no_such_module")
    monkeypatch.setattr(doctor, "_memory", lambda: 1 / 0)
    told = json.loads(invoke("doctor", "--json", "--no-tiles"))
    assert told["packages"]["needed"]["numpy"] == np.__version__
    assert told["devices"]["chosen by auto"]
    assert re.search(r"[MGT]B in ", told["disks"]["free for temporary"])
    assert "zarr is not installed (needed)" in told["missing"]
    assert "openvino is not installed (optional)" in told["missing"]
    assert "memory: ZeroDivisionError: division by zero" in told["missing"]
    text = invoke("doctor", "--no-tiles")
    assert "missing or not working:\n" in text
    assert "  memory: ZeroDivisionError: division by zero\n" in text
    if told["packages"]["gui"]["napari"]:
        assert any(line.startswith("display: Qt or OpenGL failed") for line in told["missing"])


def test_doctor_times_a_tile():
    told = doctor._tiles()
    assert "million voxels of" in told["cpu (torch)"]
    assert float(told["cpu (torch)"].split()[0]) > 0

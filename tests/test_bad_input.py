"""Bad input: one clear line, exit code 2, and nothing is written."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_connecto import cli
from napari_connecto.phantoms import phantom
from tests import tiny


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A volume and a cascade for it."""
    folder = tmp_path_factory.mktemp("good")
    volume = tiny.volume(folder)
    return volume, tiny.cascade(volume, folder / "cascade")


@pytest.fixture
def refused(capsys, monkeypatch, tmp_path):
    """Run a command that must end with code 2 and one line, and leave ``tmp_path`` as it was; returns the line."""

    def run(*arguments) -> str:
        before = content(tmp_path)
        monkeypatch.setattr(sys, "argv", ["napari-connecto", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capsys.readouterr()
        assert end.value.code == 2, err
        assert out == ""
        assert err.endswith("\n")
        assert err.count("\n") == 1, err
        assert content(tmp_path) == before
        return err

    return run


def content(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*") if not p.is_dir()}


def detect(volume, cascade, out, *more):
    return ("detect", volume, "--cascade", cascade, "--out", out, "--backend", "torch", "--progress", "none", *more)


def missing(folder):
    return folder / "absent.ome.zarr", r"no file or folder at '.*absent.ome.zarr'"


def empty_folder(folder):
    (folder / "empty").mkdir()
    return folder / "empty", r"empty"


def group_without_multiscale(folder):
    zarr.open_group(str(folder / "g.zarr"), mode="w").create_array("a", shape=(4, 8, 8), dtype="u1")
    return folder / "g.zarr", r"g.zarr.*(multiscale|array)"


def wrong_axes(folder):
    zarr.create_array(str(folder / "a.zarr"), shape=(2, 2, 2, 2, 8, 8), chunks=(1, 1, 1, 1, 8, 8), dtype="u1")
    return folder / "a.zarr", r"(axes|shape|dimension)"


def zero_size(folder):
    zarr.create_array(str(folder / "z.zarr"), shape=(4, 0, 8), chunks=(4, 1, 8), dtype="u1")
    return folder / "z.zarr", r"(empty|zero|0)"


def text_as_tiff(folder):
    (folder / "t.tif").write_text("not an image")
    return folder / "t.tif", r"t.tif"


def cut_tiff(folder):
    tifffile.imwrite(folder / "c.tif", np.zeros((8, 64, 64), np.uint8))
    os.truncate(folder / "c.tif", 6)
    return folder / "c.tif", r"c.tif"


def unknown_suffix(folder):
    (folder / "table.xlsx").write_bytes(b"PK")
    return folder / "table.xlsx", r"table.xlsx.*allowed"


def hdf5_without_choice(folder):
    with h5py.File(folder / "two.h5", "w") as file:
        file["a"], file["b"] = np.zeros((4, 8, 8)), np.zeros((4, 8, 8))
    return folder / "two.h5", r"a.*b"


SOURCES = [
    missing,
    empty_folder,
    group_without_multiscale,
    wrong_axes,
    zero_size,
    text_as_tiff,
    cut_tiff,
    unknown_suffix,
    hdf5_without_choice,
]


@pytest.mark.parametrize("make", SOURCES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("command", ["info", "convert", "detect"])
def test_what_cannot_be_opened(make, command, refused, good, tmp_path):
    if command == "info" and make is hdf5_without_choice:
        pytest.skip("info lists what there is to choose from")
    source, message = make(tmp_path)
    out = tmp_path / "out.ome.zarr"
    arguments = {
        "info": ("info", source),
        "convert": ("convert", source, out, "--progress", "none"),
        "detect": detect(source, good[1], out),
    }[command]
    line = refused(*arguments)
    assert line.startswith("napari-connecto: ")
    assert re.search(message, line), line
    assert not out.exists()


def corrupt(good, tmp_path, level="0"):
    """A copy of the volume with one damaged chunk; returns its path and the chunk's key."""
    copy = tmp_path / "damaged.ome.zarr"
    shutil.copytree(good[0], copy)
    chunks = sorted(p for p in (copy / level / "c").rglob("*") if p.is_file())
    chunks[0].write_bytes(b"\x07" * 40)
    return copy, "c/" + "/".join(chunks[0].relative_to(copy / level / "c").parts)


def run_main(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["napari-connecto", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    return code, *capsys.readouterr()


def test_a_corrupt_chunk_is_named_and_can_be_filled_or_skipped(good, tmp_path, monkeypatch, capsys):
    volume, key = corrupt(good, tmp_path)
    one = ("--exhaustive", "--audit", "0")
    code, out, err = run_main(monkeypatch, capsys, *detect(volume, good[1], tmp_path / "out", *one))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert key in err
    assert "--on-bad-chunk fill or skip" in err
    assert not (tmp_path / "out/detections.csv").exists()
    code, out, err = run_main(
        monkeypatch, capsys, *detect(volume, good[1], tmp_path / "out", *one, "--on-bad-chunk", "skip")
    )
    assert code == 0, err
    assert "damaged chunks of level 0 were skipped" in out
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["levels"][0]["skipped"] > 0
    code, out, err = run_main(
        monkeypatch, capsys, *detect(volume, good[1], tmp_path / "out", *one, "--on-bad-chunk", "fill")
    )
    assert code == 0, err
    assert "were skipped" not in out


@pytest.mark.parametrize("how", ["fill", "skip"])
def test_a_corrupt_chunk_where_the_percentiles_are_taken_is_left_out(good, tmp_path, monkeypatch, capsys, how):
    image = zarr.open_array(str(good[0] / "0"), mode="r")[:]
    zarr.create_array(str(tmp_path / "v.zarr"), data=image, chunks=(16, 64, 64))
    volume = tmp_path / "fine.ome.zarr"
    made = ("--voxel-nm", *tiny.VOXEL, "--levels", "2")
    assert run_main(monkeypatch, capsys, "convert", tmp_path / "v.zarr", volume, *made)[0] == 0
    coarse = next(p for p in volume.iterdir() if p.name.endswith("1"))
    data = zarr.open_array(str(coarse), mode="r")[:]
    shutil.rmtree(coarse / "c")
    small = zarr.create_array(str(coarse), data=data, chunks=(8, 32, 32), overwrite=True)
    assert small.nchunks > 1
    sorted(p for p in (coarse / "c").rglob("*") if p.is_file())[0].write_bytes(b"\x07" * 40)
    one = detect(volume, good[1], tmp_path / "out", "--audit", "0")
    assert run_main(monkeypatch, capsys, *one)[0] == 2
    code, _, err = run_main(monkeypatch, capsys, *one, "--on-bad-chunk", how)
    assert code == 0, err


def test_a_corrupt_chunk_is_not_converted(good, tmp_path, monkeypatch, capsys):
    volume, key = corrupt(good, tmp_path)
    code, _, err = run_main(monkeypatch, capsys, "convert", volume, tmp_path / "out.ome.zarr", "--progress", "none")
    assert code == 2
    assert key in err
    assert not (tmp_path / "out.ome.zarr").exists()


def test_nan_is_refused_with_its_place(good, tmp_path, monkeypatch, capsys):
    image = phantom("cells", (16, 160, 160), seed=5).image.levels[0].array.astype(np.float32)
    image[3, 50, 60] = np.inf
    zarr.create_array(str(tmp_path / "inf.zarr"), data=image, chunks=(16, 64, 64))
    made = ("--voxel-nm", *tiny.VOXEL)
    coarse = tmp_path / "inf.ome.zarr"
    assert run_main(monkeypatch, capsys, "convert", tmp_path / "inf.zarr", coarse, *made, "--levels", "2")[0] == 0
    arguments = detect(coarse, good[1], tmp_path / "out", "--exhaustive")
    code, out, err = run_main(monkeypatch, capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "NaN or infinite values, the first at voxel (3, 50, 60)" in err
    assert not (tmp_path / "out/detections.csv").exists()
    assert run_main(monkeypatch, capsys, *arguments, "--on-bad-chunk", "fill")[0] == 0
    assert (tmp_path / "out/detections.csv").exists()


def test_absent_and_wrong_voxel_sizes(good, tmp_path, refused):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((16, 64, 64), np.uint8))
    line = refused(*detect(tmp_path / "plain.tif", good[1], tmp_path / "out"))
    assert "states no voxel size; give it in nm (voxel_nm=, --voxel-nm Z Y X)" in line
    line = refused(*detect(good[0], good[1], tmp_path / "out", "--voxel-nm", "2000", "740", "1000"))
    assert "the model needs 2000x1000x1000 nm within 25 %" in line
    line = refused(*detect(good[0], good[1], tmp_path / "out", "--voxel-nm", "2000", "-1", "1000"))
    assert "-1" in line


def test_a_region_outside(good, tmp_path, refused):
    line = refused(*detect(good[0], good[1], tmp_path / "out", "--region", "0", "500", "0", "9", "600", "9"))
    assert "(16, 160, 160)" in line


def test_outputs_that_exist_are_kept(good, tmp_path, refused):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/mine.txt").write_text("mine")
    assert "is a file" in refused(*detect(good[0], good[1], tmp_path / "file"))
    assert "not the folder of a job" in refused(*detect(good[0], good[1], tmp_path / "folder"))
    assert "exists" in refused("convert", good[0], tmp_path / "folder", "--progress", "none")
    assert "exists" in refused("convert", good[0], tmp_path / "file", "--progress", "none")
    train = ("train-cascade", good[0], "--labels", good[0], "--out", tmp_path / "folder", "--progress", "none")
    assert "exists" in refused(*train)
    assert "file" in refused(*train[:-3], tmp_path / "file", "--progress", "none")


@pytest.fixture
def models(good, tmp_path):
    """A copy of the cascade to spoil."""
    shutil.copytree(good[1], tmp_path / "cascade")
    return tmp_path / "cascade"


def test_pickled_weights(good, models, tmp_path, refused):
    (models / "level_0/weights.safetensors").unlink()
    (models / "level_0/weights.pt").write_bytes(pickle.dumps({"w": 1}))
    assert "pickled weights, which can run any code" in refused(*detect(good[0], models, tmp_path / "out"))
    (tmp_path / "model.pt").write_bytes(pickle.dumps({"w": 1}))
    assert "cascade" in refused(*detect(good[0], tmp_path / "model.pt", tmp_path / "out"))


def test_a_digest_that_does_not_match(good, models, tmp_path, refused):
    path = models / "level_1/weights.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    assert "the card says" in refused(*detect(good[0], models, tmp_path / "out"))


def test_weights_of_another_cascade(good, models, tmp_path, refused):
    card = json.loads((models / "level_1/card.json").read_text())
    document = json.loads((models / "cascade.json").read_text())
    document["digests"][1] = "0" * 64
    (models / "cascade.json").write_text(json.dumps(document))
    line = refused(*detect(good[0], models, tmp_path / "out"))
    assert card["digest"][:12] in line
    assert "other than those it was calibrated with" in line


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "unknown format"),
        ('{"format": 99}', "unknown format"),
        ('{"format": 1}', "is damaged"),
        ('{"format": 1, "digests": 3}', "is damaged"),
    ],
)
def test_damaged_cascades(good, models, tmp_path, refused, text, message):
    (models / "cascade.json").write_text(text)
    assert message in refused(*detect(good[0], models, tmp_path / "out"))


def test_damaged_cascades_are_not_listed_as_usable(good, tmp_path, refused):
    assert "give a folder made by train-cascade, or one of" in refused(*detect(good[0], "nonsense", tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    assert "cascade.json" in refused(*detect(good[0], tmp_path / "empty", tmp_path / "out"))


def test_wrong_options(good, tmp_path, refused):
    assert "target-recall" in refused(*detect(good[0], good[1], tmp_path / "out", "--target-recall", "2"))
    assert "batch" in refused(*detect(good[0], good[1], tmp_path / "out", "--batch", "0"))
    assert "nonsense" in refused(*detect(good[0], good[1], tmp_path / "out", "--nonsense"))
    assert "channel" in refused(*detect(good[0], good[1], tmp_path / "out", "--channel", "red"))
    assert "channel" in refused("info", good[0], "--channel", "²")
    assert "needs labels, points or a detector" in refused("train-cascade", good[0], "--out", tmp_path / "out")
    assert "nonsense" in refused("nonsense")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "workflow: detect",
            "lacks out, volume; 'detect' takes backend, cascade, detector, ",
        ),
        ("workflow: dance", "'workflow:' with one of detect, train-cascade"),
        ("- a", "is not a recipe"),
        ("a: [", "is not YAML"),
        ("workflow: !!python/object/apply:os.getcwd []", "has the YAML tag"),
        ("workflow: detect\nvolume: {volume}\ncascade: {cascade}\nout: {out}\nbackend: torch\nregoin: [0]", "regoin"),
        (
            "workflow: detect\nvolume: {volume}\ncascade: {cascade}\nout: {out}\nbackend: torch\nparams: {{recall: 1}}",
            "recall",
        ),
        (
            "workflow: detect\nvolume: {volume}\ncascade: {cascade}\nout: {out}\nbackend: torch\nparams: {{audit: x}}",
            "audit",
        ),
        (
            "workflow: detect\nvolume: {volume}\ncascade: {cascade}\nout: {out}\nbackend: torch\nregion: [0, 1]",
            "six numbers",
        ),
        (
            "workflow: detect\nvolume: {volume}\ncascade: {cascade}\nout: {out}\nbackend: torch\nregion: everything",
            "six numbers",
        ),
        (
            "workflow: detect\nvolume: {{path: {volume}, file: 3}}\ncascade: {cascade}\nout: {out}\nbackend: torch",
            "it needs 'path'",
        ),
        ("workflow: detect\nvolume: 7\ncascade: {cascade}\nout: {out}\nbackend: torch", "got volume 7; it is a path"),
    ],
)
def test_bad_recipes(good, tmp_path, refused, text, message):
    path = tmp_path / "recipe.yaml"
    path.write_text(text.format(volume=good[0], cascade=good[1], out=tmp_path / "out") if "{out}" in text else text)
    assert message in refused("run", path)


def test_a_recipe_that_is_missing(tmp_path, refused):
    assert "absent.yaml" in refused("run", tmp_path / "absent.yaml")


def test_an_output_that_cannot_be_written(good, refused):
    for out in ("/proc/nothing", "/dev/null/nothing"):
        assert "cannot write" in refused(*detect(good[0], good[1], out))
        assert out in refused("convert", good[0], out, "--progress", "none")


@pytest.fixture(params=["read-only", "full"])
def unwritable(request, tmp_path):
    """A disk of its own that is read-only, or has 64 kB: as root by mounting, else skipped."""
    place = tmp_path / "disk"
    place.mkdir()
    option = "ro" if request.param == "read-only" else "size=64k"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", option, "none", place], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield place
    subprocess.run(["umount", place], check=True)


def test_read_only_and_full_disks(good, unwritable, monkeypatch, capsys):
    one = ("--exhaustive", "--audit", "0")
    for arguments in (
        detect(good[0], good[1], unwritable / "out", *one),
        ("convert", good[0], unwritable / "out.ome.zarr", "--progress", "none"),
    ):
        code, out, err = run_main(monkeypatch, capsys, *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert "No space left" in err or "Read-only" in err
        assert not (unwritable / "out.ome.zarr").exists()
        assert not (unwritable / "out/detections.csv").exists()

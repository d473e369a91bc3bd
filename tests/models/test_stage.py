"""The folder in which a loader works: data change only when it has come to its end, and nothing else is deleted."""

from __future__ import annotations

import os

import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import run
from napari_connecto.models.datasets import stage as module
from napari_connecto.models.datasets.stage import STAGE, Stage


@pytest.fixture
def stage(tmp_path):
    """Of a folder with a file, one in a folder, and a lock; the loader sees the data."""
    (tmp_path / "part").mkdir()
    for name in ("raw.h5", "part/labels.h5", ".lock"):
        (tmp_path / name).write_text("old")
    stage = Stage(tmp_path)
    run(stage.fill_job())
    return stage


def content(folder):
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def test_a_file_that_a_loader_changes_in_place_stays_as_it_was_until_the_end(stage, tmp_path):
    """Law: interrupted, no file of the data has changed; at the end it is the loader's, and others are untouched."""
    assert content(stage.path) == {"raw.h5": "old", "part/labels.h5": "old"}
    untouched = (tmp_path / "raw.h5").stat()
    with (stage.path / "part/labels.h5").open("a") as file:
        file.write(" and new")
    assert (tmp_path / "part/labels.h5").read_text() == "old"
    stage.settle()
    stage.remove()
    assert content(tmp_path) == {".lock": "old", "part/labels.h5": "old and new", "raw.h5": "old"}
    now = (tmp_path / "raw.h5").stat()
    assert (now.st_ino, now.st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)


def test_a_new_folder_is_moved_as_a_whole(stage, tmp_path, monkeypatch):
    """Law: killed at any moment, a zarr array is there with all its chunks or not at all."""
    for name in ("a.zarr/raw/c/0", "a.zarr/raw/c/1", "a.zarr/zarr.json", "part/new/0"):
        (stage.path / name).parent.mkdir(parents=True, exist_ok=True)
        (stage.path / name).write_text(name)
    moved, replace = [], type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda path, to: (moved.append(to), replace(path, to)))
    stage.settle()
    assert moved == [tmp_path / "a.zarr", tmp_path / "part/new"]
    assert content(tmp_path / "a.zarr") == {name: f"a.zarr/{name}" for name in ("raw/c/0", "raw/c/1", "zarr.json")}
    assert stage.settled(stage.path / "a.zarr") == tmp_path / "a.zarr"


@pytest.mark.parametrize("name", ["raw.h5", "new.h5"])
def test_a_file_that_another_program_writes_meanwhile_is_kept(stage, tmp_path, name):
    """Law: only what is as it was when the loader began is replaced; else nothing is moved at all."""
    (stage.path / "first.h5").write_text("loader's")
    (stage.path / name).write_text("loader's own")
    (tmp_path / name).write_text("user's")
    with pytest.raises(StoreError, match=rf"{name}' was written by another program during the download; run the com"):
        stage.settle()
    assert (tmp_path / name).read_text() == "user's"
    assert not (tmp_path / "first.h5").exists()


def test_what_a_loader_deletes_stays_among_the_data(stage, tmp_path):
    (stage.path / "raw.h5").unlink()
    stage.settle()
    assert (tmp_path / "raw.h5").read_text() == "old"


def test_a_killed_run_s_folder_is_filled_anew_and_copying_can_be_cancelled(stage, tmp_path, monkeypatch):
    (stage.path / "half.h5").write_text("ha")
    monkeypatch.setattr(module, "PIECE", 1)
    again = Stage(tmp_path)
    job = again.fill_job()
    next(job)
    job.close()
    assert content(tmp_path / STAGE) == {"part/labels.h5": "o"}
    again.remove()
    assert content(tmp_path) == {".lock": "old", "part/labels.h5": "old", "raw.h5": "old"}


@pytest.mark.skipif(os.name == "nt", reason="no permissions of this kind")
def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match=r"cannot write in '.*file': Not a directory; make room there, or choose"):
        run(Stage(tmp_path / "file").fill_job())

from __future__ import annotations

import os

import pytest

from napari_connecto.core.whole import new_folder, sweep, whole_file


def interrupted(path):
    path.write_text("sec")
    raise KeyboardInterrupt


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "a.txt"
    with whole_file(path) as partial:
        partial.write_text("first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt), whole_file(path) as partial:
        interrupted(partial)
    assert path.read_text() == "first"
    with whole_file(path) as partial:
        partial.write_text("second")
    assert path.read_text() == "second"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError), whole_file(tmp_path / "gone" / "b.txt") as partial:
        partial.write_text("")
    assert not (tmp_path / "gone").exists()


def test_a_folder_is_whole_or_not_there(tmp_path):
    path = tmp_path / "made" / "model"
    with pytest.raises(KeyboardInterrupt), new_folder(path) as partial:
        interrupted(partial / "half")
    assert not list(path.parent.iterdir())
    with new_folder(path) as partial:
        (partial / "all").write_text("")
        assert not path.exists()
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["made", "made/model", "made/model/all"]
    with pytest.raises(OSError), new_folder(path) as partial:
        (partial / "other").write_text("")
    assert [p.name for p in path.parent.rglob("*")] == ["model", "all"]


def test_what_a_kill_left_is_swept_and_nothing_else(tmp_path):
    stay = [tmp_path / ".notes.partial", tmp_path / "a.b.partial", tmp_path / ".ids.zarr.partial" / "x"]
    stay[2].parent.mkdir()
    for path in stay:
        path.write_text("")
        os.utime(path, (0, 0))
    killed, writing = whole_file(tmp_path / "a.txt"), whole_file(tmp_path / "b.txt")
    for file in (killed, writing):
        file.__enter__().write_text("half")  # and never left
    (orphan,) = tmp_path.glob(".a.txt.*")
    os.utime(orphan, (0, 0))
    stay += tmp_path.glob(".b.txt.*")
    sweep(tmp_path)
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(stay)

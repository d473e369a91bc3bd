from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_connecto.core.errors import StoreError
from napari_connecto.io.stores.job_folder import JobFolder

FINGERPRINT = {"model": "abc", "params": {"threshold": 0.5, "tile": (64, 64, 64)}, "count": np.int64(3)}


def test_same_job_comes_back_and_keeps_what_it_wrote(tmp_path):
    with JobFolder.open(tmp_path / "a" / "job", FINGERPRINT) as folder:
        assert not folder.resumed
        folder.write_json("report.json", {"calls": np.int32(7), "at": (1, 2)})
    with JobFolder.open(tmp_path / "a" / "job", FINGERPRINT) as folder:
        assert folder.resumed
        assert folder.read_json("report.json") == {"calls": 7, "at": [1, 2]}


def test_other_job_is_refused_and_the_message_says_what_differs(tmp_path):
    JobFolder.open(tmp_path / "job", FINGERPRINT).close()
    other = {**FINGERPRINT, "params": {"threshold": 0.4, "tile": (64, 64, 64)}, "model": "xyz"}
    with pytest.raises(StoreError, match=r"model: got \"xyz\", stored \"abc\"; params.threshold: got 0.4, stored 0.5"):
        JobFolder.open(tmp_path / "job", other)
    JobFolder.open(tmp_path / "job", FINGERPRINT).close()


def test_overwrite_empties_a_job_folder_only(tmp_path):
    with JobFolder.open(tmp_path / "job", FINGERPRINT) as folder:
        (folder.path / "tiles").mkdir()
        (folder.path / "tiles" / "x").write_text("x")
    with JobFolder.open(tmp_path / "job", {"model": "new"}, overwrite=True) as folder:
        assert not folder.resumed
        assert sorted(p.name for p in folder.path.iterdir() if p.name != ".lock") == ["job.json"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "photo.png").write_text("x")
    with pytest.raises(StoreError, match="not the folder of a job"):
        JobFolder.open(mine, FINGERPRINT, overwrite=True)
    assert [p.name for p in mine.iterdir()] == ["photo.png"]


def test_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "job").write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        JobFolder.open(tmp_path / "job", FINGERPRINT)
    assert (tmp_path / "job").read_text() == "x"


def test_second_user_is_refused_in_this_process_and_in_another(tmp_path):
    script = (
        "from napari_connecto.io.stores.job_folder import JobFolder\n"
        "from napari_connecto.core.errors import StoreError\n"
        f"try:\n    JobFolder.open({str(tmp_path / 'job')!r}, {{'a': 1}})\n    print('opened')\n"
        "except StoreError as error:\n    print(error)\n"
    )
    with JobFolder.open(tmp_path / "job", {"a": 1}):
        with pytest.raises(StoreError, match="in use by another process"):
            JobFolder.open(tmp_path / "job", {"a": 1})
        busy = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    free = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "in use by another process" in busy.stdout
    assert free.stdout.strip() == "opened"


def test_lock_is_given_free_when_opening_fails(tmp_path):
    JobFolder.open(tmp_path / "job", {"a": 1}).close()
    with pytest.raises(StoreError, match="a: got 2, stored 1"):
        JobFolder.open(tmp_path / "job", {"a": 2})
    JobFolder.open(tmp_path / "job", {"a": 1}).close()


def test_damaged_description_is_one_line(tmp_path):
    JobFolder.open(tmp_path / "job", {"a": 1}).close()
    (tmp_path / "job" / "job.json").write_text("{")
    with pytest.raises(StoreError, match="cannot read"):
        JobFolder.open(tmp_path / "job", {"a": 1})


def test_full_disk_is_one_line_and_the_old_file_stays(tmp_path, monkeypatch):
    with JobFolder.open(tmp_path / "job", {"a": 1}) as folder:
        folder.write_json("report.json", {"b": 1})

        def full(*_args, **_kwargs):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(Path, "write_text", full)
        with pytest.raises(StoreError, match="No space left on device; choose another place or make room"):
            folder.write_json("report.json", {"b": 2})
        monkeypatch.undo()
        assert folder.read_json("report.json") == {"b": 1}
        assert not list(folder.path.glob(".*partial"))


def test_a_kill_in_the_first_write_leaves_a_folder_to_come_back_to(tmp_path):
    (tmp_path / ".job.json.0123456789abcdef.partial").write_text('{"fing')
    with JobFolder.open(tmp_path, {"a": 1}) as job:
        assert not job.resumed

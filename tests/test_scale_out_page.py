"""The commands of docs/scale-out.md that need one machine only are run as they are written there, but for the port."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks._cluster import free_port

ROOT = Path(__file__).resolve().parents[1]


def commands(which: str) -> str:
    """The block of shell commands behind a mark of the page."""
    page = (ROOT / "docs" / "scale-out.md").read_text(encoding="utf-8")
    found = re.search(rf"<!-- run here: {which} -->\n```bash\n(.*?)```", page, re.DOTALL)
    assert found, which
    return found.group(1)


def test_marks_are_there():
    assert "--workers 2" in commands("local")
    assert commands("address").count("dask worker tcp://127.0.0.1:8786") == 2


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_both_ways_find_the_same(tmp_path):
    if not (ROOT / "sample_data" / "shipped" / "cells.ome.zarr").exists():
        pytest.skip("the samples are not there")
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    script = commands("local") + "\n" + commands("address").replace("8786", str(free_port()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    shell = subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        shell.wait(timeout=550)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)  # scheduler and workers too
    said = shell.stdout.read() if shell.stdout is not None else ""
    assert shell.returncode == 0, said
    here, there = ((tmp_path / f / "detections.csv").read_text() for f in ("found-local", "found"))
    assert here == there
    assert len(here.splitlines()) > 20

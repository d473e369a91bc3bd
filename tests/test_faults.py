"""Killed, full, spoilt, deleted, short of memory: the script of docs/reliability.md in short."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "faults.py"
KINDS = ("kill", "full-at", "deleted", "spoilt", "exchanged", "two", "clock", "memory", "gpu")


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and limits an address space")
def test_no_fault_spoils_a_result(tmp_path):
    command = [sys.executable, str(SCRIPT), "--only", *KINDS, "--jobs", "predict", "annotate", "--tries", "1"]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == len(KINDS) + 3, "kill, full-at and exchanged also of an annotation session"
    assert {tries for _, tries, _ in rows} == {"1"}
    assert all(outcome.endswith("; 0 wrong") for *_, outcome in rows)

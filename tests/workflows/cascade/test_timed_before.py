"""Timings are kept: for good from a quiet machine, for an hour from a busy one."""

from __future__ import annotations

import os

import pytest

from napari_connecto.workflows.cascade.search import timed_before as kept
from napari_connecto.workflows.cascade.thresholds.prices import ONE, Price, Timings

TIMES = Timings(((Price(ONE, 0.25, 2),),), 0.5, 0.125)


@pytest.mark.parametrize(("load", "age_s", "there"), [(9.0, 60, True), (9.0, 7200, False), (0.5, 10**7, True)])
def test_timings_of_a_busy_machine_are_forgotten_after_an_hour(tmp_path, monkeypatch, load, age_s, there):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "getloadavg", lambda: (load * os.cpu_count(), 0.0, 0.0), raising=False)
    kept.keep_timings(["volume", "cascade"], TIMES)
    (file,) = kept.timings_folder().iterdir()
    then = file.stat().st_mtime - age_s
    os.utime(file, (then, then))
    assert kept.timed_before(["volume", "cascade"], 1) == (TIMES if there else None)
    assert kept.timed_before(["volume", "other"], 1) is None


@pytest.mark.parametrize("damaged", ["[]", "null", "7", '{"busy": true}'])
def test_damaged_timings_are_measured_again(tmp_path, monkeypatch, damaged):
    monkeypatch.setenv("NAPARI_CONNECTO_CACHE", str(tmp_path))
    kept.keep_timings(["volume"], TIMES)
    (file,) = kept.timings_folder().iterdir()
    file.write_text(damaged)
    assert kept.timed_before(["volume"], 1) is None

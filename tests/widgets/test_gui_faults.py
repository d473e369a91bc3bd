"""Closing, deleting, renaming and clicking about while jobs run; benchmarks/gui_faults.py does the same more often."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("napari")

from tests.widgets.faults import FAULTS, disturbed
from tests.widgets.monkey import Monkey, close, scenes, threads, until, widgets

pytestmark = pytest.mark.gl
SLOW = [
    ("Cascade detection", "preview"),
    ("Adapt to my data", "rank"),
    ("Adapt to my data", "suggest"),
    ("Adapt to my data", "segment"),
    ("X-ray to EM", "run"),
    ("X-ray to EM", "preview"),
]
JOBS = [("Cascade detection", "run"), *(pytest.param(*job, marks=pytest.mark.slow) for job in SLOW)]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    return scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Where results go, and what relative paths are below."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("name", "job"), JOBS)
def test_a_job_that_is_disturbed_ends_well_or_says_so(places, viewer, name, job, fault):
    told = disturbed(viewer, places[name], name, job, FAULTS[fault])
    assert told == "done" or told.startswith(("cancelled", "said: ")), told
    assert threads() == []


@pytest.mark.parametrize("name", ["Cascade detection", "Adapt to my data", "X-ray to EM"])
def test_a_monkey_breaks_nothing(places, viewer, name):
    before = Counter(widgets())  # of other tests
    dock = places[name].shown(viewer, name)
    monkey = Monkey(viewer, dock, seed=30)
    monkey.play(30)
    close(viewer, dock)
    del dock, monkey
    until(lambda: threads() == [], "a job outlives its dock")
    assert Counter(widgets()) - before == Counter()

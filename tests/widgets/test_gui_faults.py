"""Closing, deleting, renaming and clicking about while jobs run; benchmarks/gui_faults.py does the same more often."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("napari")

from tests.widgets.faults import FAULTS, disturbed
from tests.widgets.monkey import Monkey, close, scenes, threads, until, widgets

pytestmark = pytest.mark.gl
WHOLE = [("Cascade detection", "run"), ("Adapt to my data", "suggest"), ("X-ray to EM", "run")]
"""Of each dock one job that meets every fault."""
OTHERS = [
    ("Cascade detection", "preview"),
    ("Adapt to my data", "rank"),
    ("Adapt to my data", "segment"),
    ("X-ray to EM", "preview"),
]
"""These meet the two faults that a job itself has to do with; benchmarks/gui_faults.py tries all."""
CASES = [(*job, fault) for job in WHOLE for fault in FAULTS]
CASES += [(*job, fault) for job in OTHERS for fault in ("the dock is closed", "the layer is deleted")]
CLOSED = ("the dock is closed", "napari is closed")


@pytest.fixture(scope="module")
def places(tmp_path_factory, library):
    return scenes(tmp_path_factory.mktemp("scenes"), library)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Where results go, and what relative paths are below."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("name", "job", "fault"),
    [pytest.param(*case, marks=() if case[:2] == WHOLE[0] else pytest.mark.slow) for case in CASES],
)
def test_a_job_ends_with_its_dock_and_is_done_whatever_else_happens(places, own_viewer, name, job, fault):
    told = disturbed(own_viewer, places[name], name, job, FAULTS[fault])
    assert told == ("cancelled" if fault in CLOSED else "done")
    assert threads() == []


@pytest.mark.parametrize("name", ["Cascade detection", "Adapt to my data", "X-ray to EM", "Inspect a model"])
def test_a_monkey_breaks_nothing(places, own_viewer, name):
    before = Counter(widgets())  # of other tests
    dock = places[name].shown(own_viewer, name)
    monkey = Monkey(own_viewer, dock, seed=30)
    monkey.play(30)
    assert monkey.strays == []
    close(own_viewer, dock)
    del dock, monkey
    until(lambda: threads() == [], "a job outlives its dock")
    assert Counter(widgets()) - before == Counter()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Cascade detection", "Adapt to my data", "X-ray to EM", "Inspect a model"])
@pytest.mark.parametrize("seed", [18, 2026])
def test_a_patient_monkey_breaks_nothing(places, own_viewer, name, seed):
    """200 random actions."""
    before = Counter(widgets())
    dock = places[name].shown(own_viewer, name)
    monkey = Monkey(own_viewer, dock, seed=seed)
    monkey.play(200)
    assert monkey.strays == []
    close(own_viewer, dock)
    del dock, monkey
    until(lambda: threads() == [], "a job outlives its dock")
    assert Counter(widgets()) - before == Counter()

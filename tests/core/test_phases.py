"""A bar over several phases: it never goes back, it ends at 1, and what it says is left comes true."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_connecto.core import phases as module
from napari_connecto.core.jobs import Progress, loading, progress_line, progress_of, run
from napari_connecto.core.phases import Phases, Watch, left_text


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when it is told to."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def steps(n, stage="", begin=0):
    """A job of n steps that reports before and after each; ``begin`` were done by an earlier run."""
    for i in range(begin, n + 1):
        yield Progress(i, n, stage)
    return n


def ticking(job, clock, seconds):
    """A job that takes as many seconds per report after its first."""
    yield next(job)
    try:
        while True:
            clock[0] += seconds
            yield next(job)
    except StopIteration as end:
        clock[0] -= seconds
        return end.value


PLANS = st.recursive(
    st.integers(0, 4),  # a plain job of so many steps, 0: one that reports nothing
    lambda inner: st.lists(st.tuples(st.integers(0, 9), inner), min_size=1, max_size=4),
    max_leaves=12,
)


def planned(plan):
    """A job of phases in phases as a plan says: (work, what it is made of)."""
    if isinstance(plan, int):
        yield from steps(plan) if plan else ()
        return plan
    works = [work for work, _ in plan]
    phases = Phases({f"phase {i}": work + (sum(works) == 0) for i, work in enumerate(works)})
    total = 0
    for i, (_, inner) in enumerate(plan):
        total += yield from phases.run(f"phase {i}", planned(inner))
    return total


@given(PLANS.filter(lambda plan: not isinstance(plan, int)))
def test_the_whole_never_goes_back_and_ends_at_1(plan):
    reports = []
    run(planned(plan), reports.append)
    overall = [p.overall for p in reports]
    assert all(0 <= value <= 1 for value in overall)
    assert overall == sorted(overall)
    assert overall[-1] == 1
    assert reports[-1].left_s == 0
    assert all(p.stage for p in reports)


def test_work_is_shared_out():
    reports = []
    phases = Phases({"loading": 0, "train": 3, "measure": 1})

    def job():
        yield loading("torch")
        assert (yield from phases.run("train", steps(2, "training level 0"))) == 2
        return (yield from phases.run("measure", steps(1)))

    assert run(job(), reports.append) == 1
    assert [p.overall for p in reports] == [0, 0, 0.375, 0.75, 0.75, 1]
    assert [p.stage for p in reports[:2]] == ["loading torch", "training level 0"]
    assert reports[-1].stage == "measure"
    with pytest.raises(ValueError, match="none may be below 0"):
        Phases({"a": 0})


def test_what_is_left_counts_the_phases_to_come(clock):
    """Expected 100 units, then 300; at 2 units per second 200 s in all."""
    phases, left = Phases({"a": 100, "b": 300}), []

    def job():
        yield from phases.run("a", ticking(steps(100), clock, 0.5))
        yield from phases.run("b", ticking(steps(100), clock, 1.5))

    started = clock[0]
    run(job(), lambda p: left.append((clock[0] - started, p.left_s)))
    known = [(at, seconds) for at, seconds in left if seconds is not None]
    assert known[0][0] < 5
    for at, seconds in known:
        assert at + seconds == pytest.approx(200)


def test_a_slow_phase_does_not_slow_down_what_comes_after_it_as_much(clock):
    """The first takes ten times as long as expected: what is left of it is known by its own pace."""
    phases, left = Phases({"a": 50, "b": 50}), []

    def job():
        yield from phases.run("a", ticking(steps(10), clock, 10.0))
        yield from phases.run("b", ticking(steps(10), clock, 1.0))

    run(job(), lambda p: left.append(p.left_s))
    assert left[5] == pytest.approx(50 + 100)  # the other is expected to be as slow
    assert left[-4] == pytest.approx(3.0)  # but then its own pace counts, not that of the first


def test_what_was_done_before_is_no_pace(clock):
    """A run that is resumed at 90 of 100 has 10 s to go at 1 s per step, and is not said to be nearly over at once."""
    phases, left = Phases({"a": 1}), []
    run(phases.run("a", ticking(steps(100, begin=90), clock, 1.0)), lambda p: left.append(p.left_s))
    assert left[0] is None
    assert left[1:4] == pytest.approx([9, 8, 7])


def test_closing_closes_the_phase():
    closed = []

    def inner():
        try:
            yield Progress(0, 2)
            yield Progress(1, 2)
        finally:
            closed.append(True)

    job = Phases({"a": 1}).run("a", inner())
    next(job)
    job.close()
    assert closed == [True]


@pytest.mark.parametrize(
    "progress",
    [
        Progress(1, 3, "a"),
        Progress(0, 0, "b", {"loss": 0.5, "step": 3}, 0.25, 12.5, (("a", 0.25), ("b", 0.75))),
        loading("torch"),
    ],
)
def test_a_report_crosses_processes(progress):
    assert progress_of(json.loads(progress_line(progress))) == progress


def test_a_watch_follows_the_whole_or_else_the_stage(clock):
    watch = Watch()
    watch.see(Progress(0, 0, "opening"))
    assert (watch.share, watch.left_s) == (None, None)
    said = Progress(1, 4, "a", overall=0.5, left_s=10.0)
    watch.see(said)
    clock[0] += 4
    watch.see(said)  # a heartbeat says it again
    assert (watch.share, watch.left_s) == (0.5, 6.0)
    clock[0] += 7
    assert watch.left_s is None  # over, and not done: nothing is known, least of all that 0 s are left
    watch = Watch()
    for n in range(3):
        watch.see(Progress(n, 10, "level 1"))
        clock[0] += 2
    assert watch.share == 0.2
    assert watch.left_s == pytest.approx(16 - 2)
    watch.see(Progress(0, 10, "level 0"))
    assert watch.left_s is None


def test_the_time_left_in_words():
    assert [left_text(s) for s in (None, 0.0, 0.9, 30.0)] == ["", "", "", ", 30 s left"]


def test_reports_tell_the_phases_of_the_whole_job():
    """Segments of a bar: names in order, shares that sum to 1, phases in phases laid out in their place."""
    phases, told = Phases({"named only": 0, "a": 1, "b": 3}), []

    def job():
        yield from phases.run("a", steps(2))
        yield from phases.run("b", Phases({"coarse": 1, "fine": 2}).run("fine", steps(2)))

    run(job(), lambda p: told.append(p.phases))
    assert told[0] == (("a", 0.25), ("b", 0.75))
    assert [name for name, _ in told[-1]] == ["a", "coarse", "fine"]
    assert [share for _, share in told[-1]] == pytest.approx([0.25, 0.25, 0.5])
    watch = Watch()
    watch.see(Progress(1, 3, "b", overall=0.5, phases=told[-1]))
    watch.see(Progress(2, 3, "b", overall=0.6))  # a report without them changes nothing
    assert watch.phases == told[-1]

"""A job off the GUI thread: it reports, stops, resumes, fails in the open, and its generator is always closed."""

from __future__ import annotations

import threading
import time

import pytest

pytest.importorskip("napari")

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Progress, loading
from napari_connecto.core.phases import Phases
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.worker import State, Worker


def endless(closed: threading.Event, pause=0.01):
    try:
        n = 0
        while True:
            time.sleep(pause)
            yield Progress(n := n + 1, 0, "going", payload=n)
    finally:
        closed.set()


def three():
    for n in (1, 2, 3):
        yield Progress(n, 3, "counting", payload=n)
    return "done"


@pytest.fixture
def worker(qtbot):
    worker = Worker("test")
    yield worker
    worker.close()


def test_reports_every_payload_then_the_result(worker, qtbot):
    seen, results = [], []
    worker.reported.connect(lambda progress, payloads: seen.extend(payloads))
    worker.returned.connect(results.append)
    with qtbot.waitSignal(worker.returned, timeout=3000):
        worker.start(three)
    assert seen == [1, 2, 3]
    assert results == ["done"]
    assert worker.state is State.DONE


def test_the_job_is_made_and_run_off_the_gui_thread(worker, qtbot):
    threads = []

    def make():
        threads.append(threading.current_thread())
        return three()

    with qtbot.waitSignal(worker.returned, timeout=3000):
        worker.start(make)
    assert threads[0] is not threading.main_thread()


def test_cancel_closes_the_generator(worker, qtbot):
    closed = threading.Event()
    with qtbot.waitSignal(worker.reported, timeout=3000):
        worker.start(lambda: endless(closed))
    worker.cancel()
    assert worker.state is State.CANCELLING
    qtbot.waitUntil(lambda: worker.state is State.CANCELLED, timeout=20000)  # benchmarks/gui.py measures it
    assert closed.is_set()


def test_an_error_in_the_factory_or_the_job_is_reported_with_its_traceback(worker, qtbot):
    def broken():
        yield Progress(0, 1)
        raise InputError("got 3; allowed 1 to 2; choose less")

    for make in (broken, lambda: (_ for _ in ()).throw(InputError("got 3; allowed 1 to 2; choose less"))):
        with qtbot.waitSignal(worker.failed, timeout=3000) as caught:
            worker.start(make)
        error, text = caught.args
        assert str(error) == "got 3; allowed 1 to 2; choose less"
        assert "Traceback" in text
        assert worker.state is State.FAILED


def test_a_job_that_leaves_the_program_has_failed(worker, qtbot):
    def leaving():
        yield Progress(0, 1)
        raise SystemExit(3)

    with qtbot.waitSignal(worker.failed, timeout=3000) as caught:
        worker.start(leaving)
    assert isinstance(caught.args[0], SystemExit)
    assert worker.state is State.FAILED


def test_a_new_start_closes_the_old_job_and_hears_only_the_new(worker, qtbot):
    closed, results = threading.Event(), []
    worker.returned.connect(results.append)
    worker.start(lambda: endless(closed))
    with qtbot.waitSignal(worker.returned, timeout=3000):
        worker.start(three)
    assert closed.wait(1)
    assert results == ["done"]


def test_deleting_the_widget_closes_the_generator(qtbot):
    closed, bar = threading.Event(), JobBar("test", "Run", "Runs")
    with qtbot.waitSignal(bar.worker.reported, timeout=3000):
        bar.start(lambda: endless(closed))
    bar.deleteLater()
    qtbot.waitUntil(closed.is_set, timeout=3000)


def test_many_reports_do_not_flood_the_gui(worker, qtbot):
    calls = []
    worker.reported.connect(lambda progress, payloads: calls.append(progress.done))

    def fast():
        for n in range(20_000):
            yield Progress(n, 20_000, "fast")

    with qtbot.waitSignal(worker.returned, timeout=5000):
        worker.start(fast)
    assert len(calls) < 100
    assert calls[-1] == 19_999


def test_bar_goes_through_its_states(qtbot):
    closed, bar = threading.Event(), JobBar("test", "Run all", "Runs")
    qtbot.addWidget(bar)
    bar.clicked.connect(lambda: bar.start(lambda: endless(closed)))
    assert bar.button.text() == "Run all"
    bar.button.click()
    assert bar.button.text() == "Cancel"
    qtbot.waitUntil(lambda: bar.status.text().startswith("going"), timeout=3000)
    bar.button.click()
    assert (bar.button.text(), bar.button.isEnabled()) == ("Cancelling…", False)
    qtbot.waitUntil(lambda: bar.button.text() == "Resume", timeout=3000)
    assert "Resume continues" in bar.status.text()
    bar.button.click()
    assert bar.button.text() == "Cancel"
    bar.worker.close()


def test_bar_shows_the_error_in_one_line_and_folds_the_traceback(qtbot):
    def broken():
        yield Progress(0, 1)
        raise ZeroDivisionError("division by zero")

    bar = JobBar("test", "Run", "Runs")
    qtbot.addWidget(bar)
    bar.show()
    with qtbot.waitSignal(bar.worker.failed, timeout=3000):
        bar.start(broken)
    assert bar.error.label.text() == "ZeroDivisionError: division by zero"
    assert not bar.error.details.isVisible()
    bar.error.fold.click()
    assert bar.error.details.isVisible()
    assert "Traceback" in bar.error.details.toPlainText()
    bar.start(three)
    assert bar.error.label.text() == ""
    bar.worker.close()


def test_one_bar_over_all_phases_with_their_names_in_the_dock_and_in_naparis_own(qtbot):
    from napari.utils import progress as activities

    step, bar = threading.Event(), JobBar("test", "Run", "Runs")
    qtbot.addWidget(bar)
    phases = Phases({"training": 3, "measuring": 1})

    def held(total):
        for n in range(total):
            while not step.wait(0.01):
                yield Progress(n, total)
            step.clear()

    def job():
        while not step.wait(0.01):
            yield loading("torch")
        step.clear()
        yield from phases.run("training", held(3))
        yield from phases.run("measuring", held(2))

    def shown(text, percent):
        return lambda: (
            bar.status.text().startswith(text) and (bar.bar.value() // 10 if bar.bar.maximum() else None) == percent
        )

    bar.start(job)
    qtbot.waitUntil(shown("loading torch", None), timeout=5000)
    for text, percent in [
        ("training: 0 of 3", 0),
        ("training: 1 of 3", 25),
        ("training: 2 of 3", 50),
        ("measuring: 0 of 2", 75),
    ]:
        step.set()
        qtbot.waitUntil(shown(text, percent), timeout=5000)
    qtbot.waitUntil(lambda: bool(activities._all_instances), timeout=5000)
    (activity,) = activities._all_instances
    qtbot.waitUntil(lambda: (activity.n, activity.total) == (75, 100), timeout=5000)
    assert activity.desc == "test: measuring: "
    step.set()
    qtbot.waitUntil(shown("measuring: 1 of 2", 87), timeout=5000)
    step.set()
    qtbot.waitUntil(lambda: bar.worker.state is State.DONE, timeout=5000)
    assert not activities._all_instances

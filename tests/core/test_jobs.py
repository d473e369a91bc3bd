from __future__ import annotations

from threading import Event

import pytest

from napari_connecto.core.errors import Cancelled
from napari_connecto.core.jobs import Progress, aside_job, run


def job(log, steps=5):
    try:
        for i in range(steps):
            log.append(i)
            yield Progress(i + 1, steps, "level 1")
        return "result"
    finally:
        log.append("closed")


def test_run_reports_and_returns():
    log, reports = [], []
    assert run(job(log), reports.append) == "result"
    assert [r.done for r in reports] == [1, 2, 3, 4, 5]
    assert log == [0, 1, 2, 3, 4, "closed"]


def test_cancel_closes_the_job_between_steps():
    log, reports = [], []
    with pytest.raises(Cancelled, match="cancelled at level 1 2/5; run again to resume"):
        run(job(log), reports.append, cancelled=lambda: len(reports) == 2)
    assert log == [0, 1, "closed"]


def test_an_error_of_the_report_or_the_job_closes_it_too():
    log = []

    def report(progress):
        raise OSError("the window is gone")

    with pytest.raises(OSError, match="the window is gone"):
        run(job(log), report)
    assert log == [0, "closed"]

    def failing():
        yield Progress(1, 2)
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        run(failing())


def test_work_aside_can_be_cancelled_before_its_end_and_its_error_is_raised():
    begun, go_on = Event(), Event()

    def work():
        begun.set()
        go_on.wait(10)
        return 7

    job = aside_job(work, "splitting")
    assert next(job).stage == "splitting"
    assert begun.wait(5)
    job.close()  # returns although the work does not end
    go_on.set()
    assert run(aside_job(work, "splitting")) == 7
    with pytest.raises(ZeroDivisionError):
        run(aside_job(lambda: 1 / 0, "splitting"))

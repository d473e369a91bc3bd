"""What may happen in a viewer while a job of a dock runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.widgets.shared import worker
from napari_connecto.widgets.shared.error_line import UNEXPECTED
from napari_connecto.widgets.shared.job_bar import JobBar
from tests.widgets.monkey import Scene, close, threads, turn, until

SLOWER_S = 0.03
"""What each report of a job takes longer, so that there is time to disturb it."""


@dataclass
class Place:
    """A viewer, a dock in it and one of its jobs that runs."""

    viewer: Any
    scene: Scene
    dock: Any
    job: str
    closed: bool = False


def _close_dock(place: Place) -> None:
    close(place.viewer, place.dock)
    place.closed = True


def _close_napari(place: Place) -> None:
    place.viewer.close()
    place.closed = True


def _delete(place: Place) -> None:
    place.viewer.layers.remove(place.viewer.layers[0])


def _rename(place: Place) -> None:
    place.viewer.layers[0].name = "another name"


def _start_another(place: Place) -> None:
    for name, start in place.scene.jobs.items():
        if name != place.job:
            button = start(place.dock)
            if button.isEnabled():
                button.click()
            return


def _fold(place: Place) -> None:
    place.dock.parent().close()


FAULTS: dict[str, Callable[[Place], None]] = {
    "the dock is closed": _close_dock,
    "the dock is hidden": _fold,
    "napari is closed": _close_napari,
    "the layer is deleted": _delete,
    "the layer is renamed": _rename,
    "another job is started": _start_another,
}


def disturbed(viewer: Any, scene: Scene, name: str, job: str, fault: Callable[[Place], None]) -> str:
    """Start a job, let something happen when it has reported twice, and wait for its end.

    Returns
    -------
    str
        "done", "cancelled", "said: " and the one of our lines that the dock shows, or what is wrong.
    """
    with patch.object(worker, "run", _slowly):
        dock = scene.shown(viewer, name)
        button, seen = scene.jobs[job](dock), list[Progress]()
        bar = _bar_of(scene, dock, button)
        bar.worker.reported.connect(lambda progress, _: seen.append(progress))
        button.click()
        until(lambda: len(seen) > 1 or not bar.worker.state.busy, f"{job} does not report")
        if not bar.worker.state.busy:
            return f"{job} ended before: {_told(bar)}"
        place = Place(viewer, scene, dock, job)
        fault(place)
        turn(0.1)
        if place.closed:
            until(lambda: threads() == [], "a job outlives its dock")
            return "cancelled"
        until(lambda: not any(b.worker.state.busy for b in scene.bars(dock)), f"{job} does not end", 120)
        told = _told(bar)
        dock.close_jobs()
        until(lambda: threads() == [], "a thread is left")
        return told


def _bar_of(scene: Scene, dock: Any, button: Any) -> JobBar:
    return next(bar for bar in scene.bars(dock) if button is bar.button or button in bar.buttons)


def _told(bar: JobBar) -> str:
    said = bar.error.label.text()
    if said and bar.error.label.toolTip() == UNEXPECTED:
        return f"an error that nobody expected: {said}"
    return f"said: {said}" if said else bar.worker.state.name.lower()


def _slowly(job: Job[Any], report: Callable[[Progress], None], stopped: Callable[[], bool]) -> Any:
    def slow_report(progress: Progress) -> None:
        report(progress)
        time.sleep(SLOWER_S)

    return run(job, slow_report, stopped)

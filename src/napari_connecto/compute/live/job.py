"""A live view as a job: it runs until it is closed, and reports what has become visible."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

from napari_connecto.compute.live.scheduler import Scheduler
from napari_connecto.compute.live.work import LiveWork
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress

STAGE = "live"
PAUSE_S = 0.03
"""Between two reports; a new view is passed on at once."""
REST = 4.0
"""How many times as long as the last `LiveWork.derive` took to wait for the next, while tiles arrive."""


class Asked:
    """The view that is asked for: set in one thread, waited for in another."""

    def __init__(self) -> None:
        self.view: Box | None = None
        self._new = threading.Event()

    def look(self, view: Box) -> None:
        """Ask for a view; returns at once."""
        self.view = view
        self._new.set()

    def wait(self, seconds: float) -> bool:
        """Whether another view was asked for, waiting at most so long."""
        new = self._new.wait(seconds)
        self._new.clear()
        return new


@dataclass(frozen=True)
class Seen:
    """Payload of a report.

    Parameters
    ----------
    work, view
        What is shown, and the view that this belongs to.
    derived
        From `LiveWork.derive`, None if nothing is new.
    complete
        Whether everything that the view needs is there.
    """

    work: LiveWork
    view: Box | None = None
    derived: Any = None
    complete: bool = False


def live_job(work: LiveWork, asked: Asked) -> Job[None]:
    """Compute what is asked for until the job is closed, then close ``work``.

    Yields
    ------
    Progress
        ``done`` of ``total`` tiles of the view; the payload is `Seen` where there is something new.

    Raises
    ------
    Exception
        The first error of a tile, at once.
    """
    scheduler = Scheduler(work)
    shown, again = -1, 0.0
    derived: tuple[int, bool, Box] | None = None
    try:
        while scheduler.error is None:
            if asked.wait(PAUSE_S) and asked.view is not None:
                scheduler.look(asked.view)
            arrived, idle, view = scheduler.arrived, scheduler.idle, scheduler.view
            fresh = None
            if view is not None and (idle or time.monotonic() > again) and derived != (arrived, idle, view):
                begun = time.monotonic()
                fresh = Seen(work, view, work.derive(view), idle)
                derived, shown = (arrived, idle, view), arrived
                again = time.monotonic() + REST * (time.monotonic() - begun)
            elif arrived != shown:
                fresh, shown = Seen(work, view, None, idle), arrived
            yield Progress(*scheduler.counts, STAGE, fresh)
        raise scheduler.error
    finally:
        scheduler.close()
        work.close()

"""Run a job off the GUI thread: start, follow and stop it.

The job's thread does not touch Qt: it puts reports into a queue that a GUI timer empties 20 times a second. Frequent
reports cannot flood the GUI, and a job cannot call a widget that has been closed.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QCoreApplication, QObject, QTimer, Signal

from napari_connecto.core.errors import Cancelled
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.widgets.shared.settings import apply_preferences
from napari_connecto.widgets.viewer.activity import open_line, show_line

if TYPE_CHECKING:
    from napari.utils import cancelable_progress

POLL_MS = 50
NICE = 5
ACTIVITY_AFTER_S = 1.0
"""Longer jobs appear in napari's activity dock; adding one takes napari a tenth of a second."""


class State(Enum):
    """State of a job, and the text of its button.

    READY -> RUNNING -> DONE, FAILED, or CANCELLING -> CANCELLED -> RUNNING (resumed)
    """

    READY = "Run"
    RUNNING = "Cancel"
    CANCELLING = "Cancelling…"
    CANCELLED = "Resume"
    DONE = "Run again"
    FAILED = "Try again"

    @property
    def busy(self) -> bool:
        """Whether a thread is running."""
        return self in (State.RUNNING, State.CANCELLING)


class Worker(QObject):
    """Runs one job at a time in a thread.

    Signals, all in the GUI thread: ``state_changed(State)``; ``reported(Progress, payloads)`` with the latest progress
    and all payloads since the previous signal; ``returned(result)``; ``failed(error, traceback text)``.
    """

    state_changed = Signal(object)
    reported = Signal(object, list)
    returned = Signal(object)
    failed = Signal(object, str)

    def __init__(self, name: str, parent: QObject | None = None, *, quiet: bool = False) -> None:
        """``quiet`` jobs do not appear in napari's activity dock."""
        super().__init__(parent)
        self.name, self._quiet = name, quiet
        self.state = State.READY
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._queue: deque[tuple[str, Any]] = deque()
        self._activity: cancelable_progress | None = None
        self._started, self._abandon = 0.0, False
        self._timer = QTimer(self)
        self._timer.setInterval(POLL_MS)
        self._timer.timeout.connect(self._on_timeout)
        app = QCoreApplication.instance()
        if app is not None:
            app.aboutToQuit.connect(self.close)

    def start(self, make_job: Callable[[], Job[Any]], *, abandon: bool = False) -> None:
        """Run ``make_job()`` in a thread; the call itself also happens there, so it may import modules and open files.

        A running job is cancelled; the new one starts at once and the old one reports nothing more. ``abandon`` is for
        jobs
        that report rarely and keep nothing: cancelling them does not wait for the next report.
        """
        apply_preferences()
        self._abandon = abandon
        self._stop.set()
        self._stop, self._queue = threading.Event(), deque()
        self.destroyed.connect(self._stop.set)
        self._thread = threading.Thread(
            target=_drive, args=(make_job, self._queue, self._stop), name=f"connecto {self.name}", daemon=True
        )
        self._close_activity()
        self._started = time.perf_counter()
        self._set_state(State.RUNNING)
        self._thread.start()
        self._timer.start()

    def cancel(self) -> None:
        """Ask the job to stop; its generator is closed at its next report, and the state becomes CANCELLED."""
        if self.state is State.RUNNING:
            self._stop.set()
            self._set_state(State.CANCELLING)
            if self._abandon:
                self._queue = deque()  # later reports of the thread are not read
                self._finish("cancelled", None)

    def settle(self, wait_s: float = 1.0) -> None:
        """Wait briefly for a job that is nearly done, and report its outcome at once."""
        if self.state is State.RUNNING and self._thread is not None:
            self._thread.join(wait_s)
            if not self._thread.is_alive():
                self._on_timeout()

    def close(self, wait_s: float = 2.0) -> None:
        """Stop for good: close the job's generator, wait briefly for it, report nothing more."""
        self._stop.set()
        self._timer.stop()
        self._close_activity()
        if self._thread is not None:
            self._thread.join(wait_s)

    def _on_timeout(self) -> None:
        if self._activity is not None and self._activity.is_canceled:
            self.cancel()
        if self._activity is None and not self._quiet and time.perf_counter() - self._started > ACTIVITY_AFTER_S:
            self._activity = open_line(self.name)
        progress: Progress | None = None
        payloads: list[Any] = []
        while self._queue:
            kind, value = self._queue.popleft()
            if kind != "progress":
                self._report(progress, payloads)
                self._finish(kind, value)
                return
            progress = value
            if value.payload is not None:
                payloads.append(value.payload)
        self._report(progress, payloads)

    def _report(self, progress: Progress | None, payloads: list[Any]) -> None:
        if progress is None:
            return
        if self._activity is not None:
            show_line(self._activity, self.name, progress)
        self.reported.emit(progress, payloads)

    def _finish(self, kind: str, value: Any) -> None:
        self._timer.stop()
        self._close_activity()
        if kind == "returned":
            self._set_state(State.DONE)
            self.returned.emit(value)
        elif kind == "cancelled":
            self._set_state(State.CANCELLED)
        else:
            error, text = value
            self._set_state(State.FAILED)
            self.failed.emit(error, text)

    def _set_state(self, state: State) -> None:
        self.state = state
        self.state_changed.emit(state)

    def _close_activity(self) -> None:
        if self._activity is not None:
            self._activity.close()
            self._activity = None


def _drive(make_job: Callable[[], Job[Any]], queue: deque[tuple[str, Any]], stop: threading.Event) -> None:
    """The thread: drive the job, always close its generator, leave the outcome in the queue."""
    _step_back()
    try:
        result = run(make_job(), lambda progress: queue.append(("progress", progress)), stop.is_set)
    except Cancelled as error:
        queue.append(("cancelled", error))
    except BaseException as error:  # noqa: BLE001 - any end of the job, SystemExit included, must reach the user
        queue.append(("failed", (error, "".join(traceback.format_exception(error)))))
    else:
        queue.append(("returned", result))


def _step_back() -> None:
    """Give the viewer's thread priority: raise the niceness of this thread and those it starts (Linux)."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)

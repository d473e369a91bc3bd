"""Threads that compute what a view needs, most wanted first."""

from __future__ import annotations

import threading
from collections import deque

from napari_connecto.compute.live.work import Key, LiveWork
from napari_connecto.core.geometry import Box


class Scheduler:
    """Computes the tiles of the latest view that are not there yet.

    A tile is *wanted* while the view needs it, *computed* by one thread, and then *there*. Wanted tiles that a new
    view does not need are dropped; a tile that a thread has begun is finished and kept. No tile is computed while it
    is there, or by two threads at once. The first error ends all of it; see `error`.

    Parameters
    ----------
    work
        What is computed.
    """

    def __init__(self, work: LiveWork) -> None:
        self._work = work
        self._view: Box | None = None
        self._stale = self._planning = self._closed = False
        self._queue: deque[Key] = deque()
        self._asked: tuple[Key, ...] = ()
        self._running: set[Key] = set()
        self._turn = threading.Lock()  # of choosing; `look` does not wait for it
        self._wake = threading.Event()
        self.error: Exception | None = None
        self.arrived = 0
        """How many calls have ended: larger means that something new can be shown."""
        self._threads = [
            threading.Thread(target=self._drive, name=f"live {n}", daemon=True) for n in range(max(1, work.threads))
        ]
        for thread in self._threads:
            thread.start()

    def look(self, view: Box) -> None:
        """Compute what this view needs instead of what the one before did; returns at once."""
        self._view = view
        self._again()

    @property
    def view(self) -> Box | None:
        """The latest view."""
        return self._view

    @property
    def counts(self) -> tuple[int, int]:
        """How many tiles of the view are there, and how many it needs as far as is known."""
        asked = self._asked
        return sum(self._work.has(key) for key in asked), len(asked)

    @property
    def idle(self) -> bool:
        """Whether everything that the view needs is there."""
        return not (self._stale or self._planning or self._running or self._queue)

    def close(self) -> None:
        """Drop what has not begun, wait for what has, and end all threads."""
        self._closed = True
        self._wake.set()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _again(self) -> None:
        self._stale = True
        self._wake.set()

    def _drive(self) -> None:
        while keys := self._take():
            try:
                if self._work.compute(keys):
                    self._stale = True
            except Exception as error:  # noqa: BLE001 - whatever it is, the one who looks must learn of it
                self.error = self.error or error
                self._closed = True
            finally:
                self.arrived += 1
                self._running.difference_update(keys)
                self._wake.set()

    def _take(self) -> list[Key]:
        """The next tiles to compute, all of one map, nearest first; waits until there are any. Empty once closed."""
        with self._turn:
            while not self._closed:
                self._wake.clear()
                if self._stale and self._view is not None:
                    self._plan(self._view)
                keys = self._next()
                if keys:
                    return keys
                if not self._stale:
                    self._wake.wait()
            return []

    def _plan(self, view: Box) -> None:
        """Ask what the view needs; the work may be closed by an error in this, too."""
        self._planning, self._stale = True, False
        try:
            self._asked = tuple(self._work.order(view))
        except Exception as error:  # noqa: BLE001 - as in `_drive`
            self.error, self._closed, self._asked = self.error or error, True, ()
        self._queue = deque(self._asked)
        self._planning = False

    def _next(self) -> list[Key]:
        found: list[Key] = []
        while self._queue and not self._closed:
            key = self._queue[0]
            if found and (key[0] != found[0][0] or len(found) == self._work.group(key[0])):
                break
            if key not in self._running and not self._work.has(key):
                found.append(key)
                self._running.add(key)  # before it leaves the queue: see `idle`
            self._queue.popleft()
        return found

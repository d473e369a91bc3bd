"""Result folders that a live view of this process writes into; a job that needs one waits. No Qt, no napari."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from napari_connecto.core.jobs import Job, Progress

WAIT_S = 0.05
_HELD: list[Path] = []
_LOCK = Lock()


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """While entered, `until_free_job` of the folder waits."""
    with _LOCK:
        _HELD.append(folder)
    try:
        yield
    finally:
        with _LOCK:
            _HELD.remove(folder)


def until_free_job(folder: Path) -> Job[None]:
    """Wait for a live view that has been switched off to finish its last tiles and let go of the folder."""
    while folder in _HELD:
        yield Progress(0, 0, "finishing live tiles")
        time.sleep(WAIT_S)

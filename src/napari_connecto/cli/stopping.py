"""Ctrl-C while a model is trained: the first stops and keeps the best so far, the second cancels."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

import click

from napari_connecto.core.jobs import Job
from napari_connecto.workflows.recipes.entries.run import Run, Summary
from napari_connecto.workflows.shared.stop_file import ask_to_stop


class StopOnInterrupt:
    """Within it, Ctrl-C asks a run's training to stop once it has begun; before that, and again, it cancels."""

    def __init__(self, run: Run) -> None:
        self._out = run.out if run.trains else None
        self._training = False
        self._before: Any = None

    def watched(self, job: Job[Summary]) -> Job[Summary]:
        """The run's job; this notices when training begins."""
        try:
            while True:
                progress = next(job)
                self._training |= progress.stage.startswith("training") and progress.done > 0
                yield progress
        except StopIteration as end:
            summary: Summary = end.value
            return summary
        finally:
            job.close()

    def __enter__(self) -> StopOnInterrupt:
        if self._out is not None and threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._on_interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._give_back()
        if not self._training or self._out is None:
            signal.default_int_handler(number, frame)
        else:
            ask_to_stop(self._out)
            click.echo("\nStopping after this step; the best so far is kept. Press Ctrl-C again to cancel.", err=True)

    def _give_back(self) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

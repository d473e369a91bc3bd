"""Ctrl-C while a model is trained: the first stops and keeps the best so far, the second cancels."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Any

import click

from napari_connecto.core.jobs import Job
from napari_connecto.workflows.shared.stop_file import ask_to_stop

WORKFLOWS = ("train-cascade", "fine-tune", "train-translator")
"""Whose trainings end well when they are asked to."""


class StopOnInterrupt:
    """Within it, Ctrl-C asks the recipe's training to stop once it has begun; before that, and again, it cancels."""

    def __init__(self, recipe: Mapping[str, Any]) -> None:
        self._out = recipe.get("out") if recipe.get("workflow") in WORKFLOWS else None
        self._training = False
        self._before: Any = None

    def watched(self, job: Job[dict[str, Any]]) -> Job[dict[str, Any]]:
        """The recipe's job, of which is noticed when training begins."""
        try:
            while True:
                progress = next(job)
                self._training |= progress.stage.startswith("training") and progress.done > 0
                yield progress
        except StopIteration as end:
            summary: dict[str, Any] = end.value
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

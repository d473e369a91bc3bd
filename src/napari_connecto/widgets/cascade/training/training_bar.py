"""The bar of a training: progress, Cancel, and Stop & keep best."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtWidgets import QPushButton

from napari_connecto.core.amounts import share_text
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.workflows.shared.stop_file import ask_to_stop

STOPPING = "Stopping; the best networks are kept and measured…"


class TrainingBar(JobBar):
    """Training runs in a separate process: it does not slow down the view, and Cancel ends it at once."""

    def __init__(self, run_text: str, tooltip: str) -> None:
        super().__init__("training", run_text, tooltip)
        self.stop = QPushButton("Stop && keep best")
        self.stop.setToolTip("Stop now and keep the best networks so far; levels not yet started are left out")
        self.stop.setEnabled(False)
        self.add_stop_button(self.stop)
        self._out: Path | None = None
        self._stopping = False
        self.worker.reported.connect(self._on_training)
        self.worker.state_changed.connect(lambda _: self.stop.setEnabled(False))
        self.stop.clicked.connect(self._on_stop)

    def train(self, make_job: Callable[[], Job[Any]], out: Path) -> None:
        """Start a training that will be saved in ``out``."""
        self._out, self._stopping = out, False
        self.start(make_job, resumable=False)

    def _on_training(self, progress: Progress, _payloads: list[Any]) -> None:
        if self._stopping:
            self.status.setText(STOPPING)
        elif progress.stage.startswith(("training", "running")) and progress.done > 0:
            self.stop.setEnabled(True)
            if progress.total and progress.stage.startswith("training"):
                # a share of the schedule, which goes by the clock; no number of steps
                self.status.setText(f"{progress.stage}: {share_text(progress.done / progress.total)}")

    def _on_stop(self) -> None:
        if self._out is not None:
            ask_to_stop(self._out)
            self._stopping = True
            self.stop.setEnabled(False)
            self.status.setText(STOPPING)

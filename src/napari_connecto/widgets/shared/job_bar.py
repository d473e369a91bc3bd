"""How a dock shows a job: one button for all its states, a progress bar with the time left, errors that unfold."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.phases import Watch, left_text
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.painted.ink import PRIMARY
from napari_connecto.widgets.shared.painted.segments import SegmentBar
from napari_connecto.widgets.shared.report_button import ReportButton, folder_job, show_place
from napari_connecto.widgets.shared.subject import Choice, Subject, stopped_line, subject_line
from napari_connecto.widgets.shared.worker import State, Worker

BAR_STEPS = 1000


class JobBar(QWidget):
    """Button, progress bar, status line, and an error line with its traceback folded below.

    ``clicked`` is emitted when the button asks to start or resume; cancelling is handled here. Further buttons go into
    `buttons` and are disabled while the job runs. ``ended`` is emitted when a job ends whose image is not the chosen
    one. A ``primary`` bar's button stands out while it starts a job: one of a dock.
    """

    clicked = Signal()
    ended = Signal()

    def __init__(self, name: str, run_text: str, tooltip: str, *, primary: bool = False) -> None:
        super().__init__()
        self._primary = primary
        self.worker = Worker(name, self)
        self.button = QPushButton(run_text)
        self.button.setToolTip(tooltip)
        self.buttons: list[QPushButton] = []
        self._tooltips = {self.button: tooltip}
        self._blocked = ""
        self.bar = SegmentBar()
        self.bar.setToolTip("Progress of the whole job, and the time left at the current rate")
        self.bar.hide()
        self.status = text_line("What the job is doing")
        self.status.hide()
        self.subject: Subject | None = None
        self.image = text_line("The image that the job runs on")
        self.image.hide()
        self._choice: Choice | None = None
        self.error = ErrorLine()
        self.report, self.page = ReportButton(), text_line("Where the report is; click to open it")
        self.page.hide()
        self._run_text, self._resumable = run_text, True
        self._watch = Watch()
        self._row = QHBoxLayout()
        self._row.addWidget(self.button)
        self._row.addWidget(self.report)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._row)
        for widget in (self.bar, self.image, self.status, self.page, self.error):
            layout.addWidget(widget)
        self._show_enabled()
        self.button.clicked.connect(self._on_clicked)
        self.worker.state_changed.connect(self._on_state_changed)
        self.worker.reported.connect(self._on_reported)
        self.worker.failed.connect(self._on_failed)
        self.report.failed.connect(self._on_failed)
        self.report.written.connect(lambda path: show_place(self.page, path))

    def add_button(self, button: QPushButton) -> None:
        """Add a button beside the main one; it is disabled while a job runs."""
        self.buttons.append(button)
        self._tooltips[button] = button.toolTip()
        self._row.insertWidget(self._row.count() - 2, button)

    def add_toggle(self, button: QPushButton) -> None:
        """Add a button that looks after itself, beside the main one."""
        self._row.insertWidget(self._row.count() - 1, button)

    def add_stop_button(self, button: QPushButton) -> None:
        """Add a button beside Cancel, shown while a job runs; the caller enables it."""
        self._row.insertWidget(1, button)
        button.setVisible(False)
        self.worker.state_changed.connect(lambda state: button.setVisible(state.busy))

    def follow(self, choice: Choice) -> None:
        """Name the image of the job when another one is chosen or its layer is deleted."""
        self._choice = choice
        choice.changed.connect(self._show_subject)

    def start(
        self,
        make_job: Callable[[], Job[Any]],
        *,
        resumable: bool = True,
        abandon: bool = False,
        out: Path | None = None,
    ) -> None:
        """Run a job on the chosen image.

        Parameters
        ----------
        make_job, abandon
            See `Worker.start`.
        resumable
            After a cancel, the button offers to resume.
        out
            Result folder, named when the job is stopped.
        """
        self._resumable, self._watch = resumable, Watch()
        layer = self._choice.layer if self._choice is not None else None
        self.subject = Subject(layer, out) if layer is not None else None
        self.error.clear()
        self.offer_report(None)
        self.worker.start(make_job, abandon=abandon)

    @property
    def foreign(self) -> bool:
        """Whether the bar shows a job on another image than the chosen one."""
        return self.subject is not None and self._choice is not None and self._choice.layer is not self.subject.layer

    @property
    def elsewhere(self) -> bool:
        """Whether a job is running on another image than the chosen one."""
        return self.worker.state.busy and self.foreign

    @property
    def waiting(self) -> str:
        """What to say about the chosen image while `elsewhere`."""
        assert self.subject is not None
        return f"The job on '{self.subject.name}' is still running. The chosen image follows when it ends."

    def left_behind(self) -> str:
        """What to say about the running job when the dock is closed; "" if none runs."""
        if self.subject is None or not self.worker.state.busy:
            return ""
        return stopped_line(self.worker.name, self.subject, self._resumable, self._run_text)

    def block(self, reason: str) -> None:
        """Disable starting jobs, with the reason in the tooltips; "" enables it again. A running job continues."""
        self._blocked = reason
        self._show_enabled()

    def close_jobs(self) -> None:
        """Stop the job, and any report being written."""
        for worker in (self.worker, self.report.worker):
            worker.close()

    def offer_report(self, result: Path | Callable[[], Job[Path]] | None) -> None:
        """Offer a report of a result: its folder, or the job that writes it; None withdraws the offer."""
        self.page.hide()
        self.report.offer(partial(folder_job, result) if isinstance(result, Path) else result)

    def offer_resume(self) -> None:
        """There is unfinished work: the button offers to resume it."""
        if not self.worker.state.busy:
            self.button.setText(State.CANCELLED.value)

    def copy_command(self, make: Callable[[], str]) -> None:
        """Copy a command line to the clipboard, or say why there is none."""
        clipboard = QApplication.clipboard()
        try:
            text = make()
        except ConnectoError as error:
            self.error.show_error(error)
            return
        if clipboard is not None:
            clipboard.setText(text)
        self.error.clear()
        self.say("Command line copied to the clipboard.")

    def say(self, text: str) -> None:
        """Show a line in place of the job's state."""
        self.status.setText(text)
        self.status.show()

    def forget(self) -> None:
        """The inputs changed: the next click starts a new job, and the last error is cleared."""
        if not self.worker.state.busy:
            self.button.setText(self._run_text)
            self.error.clear()

    def reset(self) -> None:
        """Another image was chosen: clear what was shown about the previous one, unless its job still runs."""
        if self.worker.state.busy:
            return
        self.forget()
        self.status.hide()
        self.subject = None
        self._show_subject()
        self.offer_report(None)

    def _show_subject(self) -> None:
        text = subject_line(self.subject, self._choice, self.worker.state.busy)
        self.image.setText(text)
        self.image.setVisible(bool(text))

    def _on_clicked(self) -> None:
        if self.worker.state.busy:
            self.worker.cancel()
        else:
            self.clicked.emit()

    def _on_state_changed(self, state: State) -> None:
        text = {State.READY: self._run_text, State.DONE: self._run_text, State.FAILED: self._run_text}.get(
            state, state.value
        )
        mine = not self.foreign
        if state is State.CANCELLED and not (self._resumable and mine):
            text = self._run_text
        self.button.setText(text)
        self._show_enabled()
        self.bar.setVisible(state.busy)
        self.status.show()
        if state is State.RUNNING:
            self.bar.setRange(0, 0)
            self.bar.show_segments(())
            self.status.setText("Starting…")
        elif state is State.CANCELLED:
            again = "Resume continues from there" if mine else "choose its image again to continue from there"
            kept = f"finished parts are saved; {again}" if self._resumable else "nothing was saved"
            self.status.setText(f"Cancelled at {time.strftime('%H:%M:%S')}; {kept}.")
        elif state is State.DONE:
            self.status.setText(f"Done at {time.strftime('%H:%M:%S')}.")
        else:
            self.status.setText({State.CANCELLING: "Cancelling…", State.FAILED: "Failed."}.get(state, ""))
        self._show_subject()
        if not (state.busy or mine):
            self.ended.emit()

    def _show_enabled(self) -> None:
        state = self.worker.state
        self.button.setStyleSheet(PRIMARY if self._primary and not state.busy else "")
        for button, tooltip in self._tooltips.items():
            free = not state.busy and not self._blocked
            cancels = button is self.button and state is State.RUNNING
            button.setEnabled(free or cancels)
            button.setToolTip(tooltip if free or state.busy else f"{tooltip}\nNot available: {self._blocked}")

    def _on_reported(self, progress: Progress, _payloads: list[Any]) -> None:
        if self.worker.state is State.CANCELLING:
            return
        self._watch.see(progress)
        share = self._watch.share
        self.bar.show_segments(self._watch.phases)
        waiting = share is None or (share == 0 and not progress.total)  # loading: the bar shows activity only
        self.bar.setRange(0, 0 if waiting else BAR_STEPS)
        self.bar.setValue(round(BAR_STEPS * (share or 0)))
        self.bar.setFormat(f"%p %{left_text(self._watch.left_s)}")
        count = f": {progress.done:,} of {progress.total:,}".replace(",", " ") if progress.total else ""
        self.status.setText(f"{progress.stage}{count}")

    def _on_failed(self, error: Exception, text: str) -> None:
        self.error.show_error(error, text)

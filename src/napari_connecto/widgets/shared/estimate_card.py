"""The pre-flight card: the cost of a job before it is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QLabel, QMessageBox, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.amounts import bytes_text, seconds_text, share_text
from napari_connecto.core.errors import ConnectoError, VoxelSizeError
from napari_connecto.core.jobs import Job
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line, unbroken
from napari_connecto.widgets.shared.worker import Worker

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.estimate import Estimate, LevelEstimate
    from napari_connecto.workflows.ood.check import OodCheck

PAUSE_MS = 600
TOOLTIP = (
    "Expected chunks and time of each level: two tiles of each are timed on this machine.\n"
    "Share refers to that level's own chunks. Memory is the expected peak of this process, "
    "including libraries and models; disk space is an upper bound."
)
Fix = tuple[str, Callable[[], None]]


class Picture(Protocol):
    """A drawing of an estimate, which is a widget: with it, the numbers in words are folded under "Details"."""

    def headline(self, estimate: Any) -> str:
        """The estimate in one short line, rich text."""

    def show_estimate(self, estimate: Any) -> None:
        """Draw it; None while there is none."""

    def show_outlook(self, outlook: Any) -> str:
        """Draw what is known before anything is timed, and say so in one short line, rich text."""


class PreflightCard(QWidget):
    """Levels, calls, seconds, memory, disk and device; an error line and a button if the job cannot be run.

    `ask` waits briefly for further changes, then runs the estimate and the out-of-distribution check in a worker;
    outdated answers are dropped. ``blocked(str)`` says why the job cannot be run, "" if it can; ``check`` is the result
    of the check, None until there is one.
    """

    blocked = Signal(str)

    def __init__(
        self,
        html: Callable[[Any], str] | None = None,
        tooltip: str = TOOLTIP,
        idle: str = "Choose an image and a cascade.",
        picture: Any = None,
    ) -> None:
        """``html`` shows an estimate: anything with ``notes`` and ``fits``; a search's without it.

        ``picture`` is a widget that is a `Picture` too.
        """
        super().__init__()
        self._html, self._picture = html or estimate_html, picture
        self.brief = text_line(tooltip)
        self.text = QLabel()
        self.text.setTextFormat(Qt.TextFormat.RichText)
        self.text.setWordWrap(True)
        self.text.setToolTip(tooltip)
        self.notes = text_line("Notes about this run")
        self.unlike = text_line("Whether the image looks like what the model was trained on")
        self.unlike.setTextFormat(Qt.TextFormat.PlainText)
        self.error = ErrorLine()
        self.fix = QPushButton()
        self.fix.setToolTip("Change the setting that prevents the run")
        folded = (self.notes,) if picture is None else (self.text, self.notes)
        self.details = Details(*folded, tooltip="Memory, disk, and what the estimate rests on")
        above = (self.brief, self.text) if picture is None else (self.brief, picture)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(4, 2, 4, 2)
        self._column.setSpacing(4)
        for widget in (*above, self.unlike, self.error, self.fix, self.details):
            self._column.addWidget(widget)
        self.brief.setVisible(picture is not None)
        self.estimate: Any = None
        self.check: OodCheck | None = None
        self._check: Callable[[], Job[OodCheck]] | None = None
        self._make: Callable[[], Job[Any]] | None = None
        self._repair: Callable[[BaseException | None], Fix | None] = lambda error: None
        self._run_fix: Callable[[], None] = lambda: None
        self._worker = Worker("estimate", self, quiet=True)
        self._worker.reported.connect(self._on_outlook)
        self._worker.returned.connect(self._on_estimated)
        self._worker.failed.connect(self._on_failed)
        self._ood = Worker("out-of-distribution check", self, quiet=True)
        self._ood.returned.connect(self._on_checked)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._pause.timeout.connect(self._on_pause_over)
        self.fix.clicked.connect(lambda: self._run_fix())
        self.show_idle(idle)

    def ask(
        self,
        make: Callable[[], Job[Any]],
        repair: Callable[[BaseException | None], Fix | None],
        check: Callable[[], Job[OodCheck]],
    ) -> None:
        """Start estimating and checking after a short pause; ``repair`` offers a one-click fix (None: does not fit)."""
        self._make, self._repair, self._check = make, repair, check
        self._again()

    def show_idle(self, text: str) -> None:
        """Estimate nothing and block the job; say why."""
        self._show_text(text)
        self.blocked.emit(text)

    def _again(self) -> None:
        self._show_text("Estimating: timing two tiles…")
        self.blocked.emit("")
        self._pause.start()

    def _show_text(self, text: str) -> None:
        self._pause.stop()
        self._ood.cancel()
        self.estimate = self.check = None
        self.text.setText(text)
        self.brief.setText(text)
        self.brief.setVisible(self._picture is not None)
        self._draw(None)
        for widget in (self.notes, self.unlike, self.error, self.fix, self.details):
            widget.hide()

    def _draw(self, estimate: Any) -> None:
        if self._picture is not None:
            self._picture.show_estimate(estimate)

    def sure(self) -> bool:
        """Ask once if the image is out of distribution; the answer is kept in ``check``.

        A check that is still running is left to the search itself.
        """
        self._ood.cancel()
        if self.check is None or not self.check.warns or self.check.answer:
            return True
        if not run_anyway(self, self.check.sentence):
            return False
        self.check = replace(self.check, answer="run anyway")
        return True

    def fold(self) -> None:
        """The job has ended: what was expected of it stays in the details."""
        self.brief.hide()

    def close_jobs(self) -> None:
        """Stop estimating."""
        self._pause.stop()
        for worker in (self._worker, self._ood):
            worker.close(wait_s=0)

    def _on_pause_over(self) -> None:
        if self._make is not None:
            self._worker.start(self._make)

    def _on_outlook(self, _progress: Any, payloads: list[Any]) -> None:
        if payloads and self._picture is not None and not self._pause.isActive():
            self.brief.setText(unbroken(self._picture.show_outlook(payloads[-1])))

    def _on_estimated(self, estimate: Any) -> None:
        if self._pause.isActive():
            return
        self.estimate = estimate
        self.text.setText(self._html(estimate))
        if self._picture is not None:
            self.brief.setText(unbroken(self._picture.headline(estimate)))
        self._draw(estimate)
        self.details.setVisible(self._picture is not None or bool(estimate.notes and estimate.fits))
        if estimate.fits:
            self.notes.setText("\n".join(estimate.notes))
            self.notes.setVisible(bool(estimate.notes))
        else:
            self._refuse(ConnectoError(" ".join(estimate.notes)), self._repair(None))
        if self._check is not None:
            self._ood.start(self._check)

    def _on_checked(self, check: OodCheck) -> None:
        if self._pause.isActive() or self.estimate is None:
            return
        self.check = check
        self.unlike.setText(check.sentence)
        self.unlike.setStyleSheet("font-weight: bold;" if check.warns else "")
        if check.warns:
            self._column.insertWidget(self._column.indexOf(self.error), self.unlike)
        else:
            self.details.column.addWidget(self.unlike)
            self.details.show()
        self.unlike.show()

    def _on_failed(self, error: Exception, text: str) -> None:
        if self._pause.isActive():
            return
        self.text.setText("")
        self.brief.setText("")
        self._refuse(error, self._repair(error), "" if isinstance(error, VoxelSizeError) else text)

    def _refuse(self, error: Exception, fix: Fix | None, text: str = "") -> None:
        """Say why the job cannot be run, and offer a fix."""
        self.error.show_error(error, text)
        name, self._run_fix = fix or ("Estimate again", self._again)
        self.fix.setText(name)
        self.fix.show()
        self.blocked.emit(self.error.label.text())


def run_anyway(parent: QWidget, sentence: str) -> bool:
    """Ask whether to run in spite of ``sentence``."""
    box = QMessageBox(QMessageBox.Icon.Question, "Out of distribution", sentence, parent=parent)
    anyway = box.addButton("Run anyway", QMessageBox.ButtonRole.AcceptRole)
    box.setDefaultButton(box.addButton(QMessageBox.StandardButton.Cancel))
    box.exec()
    return box.clickedButton() is anyway


def estimate_html(estimate: Estimate) -> str:
    """An estimate as a small table."""
    titles = ("level", "voxel", "chunks", "share", "time")
    head = "".join(f"<td align={'left' if i < 2 else 'right'}><i>{t}</i>&nbsp;</td>" for i, t in enumerate(titles))
    rows = "".join(_row_html(level) for level in estimate.levels)
    gain = estimate.seconds_exhaustive / max(estimate.seconds, 1e-9)
    everywhere = f"exhaustive search: {seconds_text(estimate.seconds_exhaustive)}"
    return (
        f"<table cellspacing=2><tr>{head}</tr>{rows}</table>"
        f"<b>about {seconds_text(estimate.seconds)}</b> in all ({everywhere}, {gain:.1f}×)<br>"
        f"{estimate.device}; memory {bytes_text(estimate.memory_bytes)}, disk at most {bytes_text(estimate.disk_bytes)}"
    )


def _row_html(level: LevelEstimate) -> str:
    voxel = "×".join(f"{v:g}" for v in level.voxel_nm)
    numbers = (f"{level.calls:.0f}", share_text(level.share), seconds_text(level.seconds))
    cells = "".join(f"<td align=right>{text}&nbsp;</td>" for text in numbers)
    return f"<tr><td>{level.name.removeprefix('level ')}&nbsp;</td><td>{voxel}&nbsp;</td>{cells}</tr>"

"""The open annotation session or one to continue, and its progress."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QWidget

from napari_connecto.widgets.adapt.steps.sessions import Found, sessions_job
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.workflows.adapt.annotate.patch_states import editing_text

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.session_jobs import Work

NONE = "No session of this image yet: suggest patches, or resume a session."


class SessionRow(QWidget):
    """One line: the open session, or an earlier one of the same image, found by itself.

    `fresh` closes the open session to start a new one; ``asked`` is emitted with the folder of one to continue.
    """

    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Found] = []
        self._shown: tuple[Work | None, Work | None] = (None, None)
        self._looker = Worker("sessions", self, quiet=True)
        self._looker.returned.connect(self._on_found)
        self.where = text_line("The session; its folder is in the tooltip")
        self.fresh, self.again = QPushButton("New session"), QPushButton("Continue")
        self.fresh.setToolTip("Start a new session on this image; the open one stays in its folder")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.where, 1)
        for button in (self.again, self.fresh):
            button.setStyleSheet("padding: 2px 6px;")
            layout.addWidget(button)
        self.again.clicked.connect(lambda _=False: self.asked.emit(self.found[0].folder))
        self._show()

    def look(self, results: Path, name: str, path: str) -> None:
        """Look for earlier sessions of an image in the results folder, see `sessions_job`."""
        self.found = []
        self._show()
        self._looker.start(lambda: sessions_job(results, name, path))

    def show_session(self, work: Work | None, left: Work | None) -> None:
        """Show the open session, else the one ``left`` for another image or a new session."""
        self._shown = work, left
        self._show()

    def close_jobs(self) -> None:
        """Stop looking."""
        self._looker.close()

    def _on_found(self, found: list[Found]) -> None:
        self.found = found
        self._show()

    def _show(self) -> None:
        work, left = self._shown
        there = [one for one in self.found if left is None or one.folder != left.session.path]
        self.fresh.setVisible(work is not None)
        self.again.setVisible(work is None and bool(there))
        text = ""
        if work is not None:
            committed, total = work.session.counts()
            text = f"Session: {committed} of {total} committed"
            self.where.setToolTip(str(work.session.path))
        elif there:
            self.found = there
            text = f"Earlier session: {there[0].committed} of {there[0].total} committed"
            self.again.setToolTip(f"Open {there[0].folder} with its patches, labels and models")
        elif left is not None:
            text = f"The previous session, on '{left.volume.name}', is saved in {left.session.path}"
        self.where.setText(text)
        self.setVisible(bool(text))


def count_text(work: Work | None) -> str:
    """How many patches are committed, held out and skipped, and how they were labelled."""
    if work is None:
        return NONE
    states, (committed, total) = work.session.patches, work.session.counts()
    skipped = sum(s.status == "skipped" for s in states)
    held = sum(s.held_out and s.status == "committed" for s in states)
    extra = [f"{held} held out"] * bool(held) + [f"{skipped} skipped"] * bool(skipped)
    said = f"{committed} of {total} committed{' (' + ', '.join(extra) + ')' if extra else ''}"
    return said + f"\nLabels: {editing_text(states)}." * bool(committed)

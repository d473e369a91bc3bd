"""Which annotation session is open, how far it is, and a button that starts another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.job_bar import text_line
from napari_connecto.workflows.adapt.annotate.patch_states import editing_text

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.session_jobs import Work

NONE = "No session of this image yet: suggest patches, or resume one."


class SessionRow(QWidget):
    """Where the session is kept, and `fresh`, which closes it to start another one on the same image."""

    def __init__(self) -> None:
        super().__init__()
        self.where = text_line("Where the session is kept")
        self.fresh = QPushButton("New session")
        self.fresh.setToolTip("Start another session on this image; the open one is kept in its folder")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.where)
        layout.addWidget(self.fresh)

    def show_session(self, work: Work | None, left: Work | None) -> None:
        """Show the open session, else the one that was ``left`` for another image or a new start."""
        self.fresh.setVisible(work is not None)
        kept = f"The last session, on '{left.volume.name}', is kept: {left.session.path}" if left else ""
        self.where.setText(f"Session: {work.session.path}" if work else kept)


def count_text(work: Work | None) -> str:
    """How many patches are committed, held out and skipped, and how their labels came about."""
    if work is None:
        return NONE
    states, (committed, total) = work.session.patches, work.session.counts()
    skipped = sum(s.status == "skipped" for s in states)
    held = sum(s.held_out and s.status == "committed" for s in states)
    extra = [f"{held} held out"] * bool(held) + [f"{skipped} skipped"] * bool(skipped)
    said = f"{committed} of {total} committed{' (' + ', '.join(extra) + ')' if extra else ''}"
    return said + f"\nLabels: {editing_text(states)}." * bool(committed)

"""The open annotation session, its progress, and a button that starts a new one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.workflows.adapt.annotate.patch_states import editing_text

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.session_jobs import Work

NONE = "No session of this image yet: suggest patches, or resume a session."


class SessionRow(QWidget):
    """Folder of the session, and `fresh`, which closes it to start a new one on the same image."""

    def __init__(self) -> None:
        super().__init__()
        self.where = text_line("Folder of the session")
        self.fresh = QPushButton("New session")
        self.fresh.setToolTip("Start a new session on this image; the open one stays in its folder")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.where)
        layout.addWidget(self.fresh)

    def show_session(self, work: Work | None, left: Work | None) -> None:
        """Show the open session, else the one ``left`` for another image or a new session."""
        self.fresh.setVisible(work is not None)
        kept = f"The previous session, on '{left.volume.name}', is saved in {left.session.path}" if left else ""
        self.where.setText(f"Session: {work.session.path}" if work else kept)


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

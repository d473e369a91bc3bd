"""Buttons of proofreading, and the line that says what to click next."""

from __future__ import annotations

from qtpy.QtWidgets import QButtonGroup, QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.adapt.proofread import words
from napari_connecto.widgets.adapt.proofread.jobs import SUFFIXES
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.dock import row

MERGE, SPLIT = "merge", "split"


class ProofreadPanel(QWidget):
    """What can be done while a segmentation is proofread; keys are written on the buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.merge, self.split = QPushButton("Merge (M)"), QPushButton("Split (S)")
        self.merge.setToolTip("Click two segments that are one")
        self.split.setToolTip("Click a segment on either side of the place where it should be cut")
        self.undo, self.redo = QPushButton("Undo (U)"), QPushButton("Redo (R)")
        self.undo.setToolTip("Undo the last merge or split")
        self.redo.setToolTip("Bring back what was undone last")
        self.train, self.export = QPushButton(), QPushButton("Export…")
        self.train.setToolTip("Add a patch around each correction to the session; check and commit them in step 2")
        self.export.setToolTip(f"Write the corrected labels as {', '.join(SUFFIXES.values())}, by the suffix")
        self.line = text_line("What to click next, and what was done")
        self._group = QButtonGroup(self)
        for button in (self.merge, self.split):
            button.setCheckable(True)
            self._group.addButton(button)
        self.merge.setChecked(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(row(self.merge, self.split, self.undo, self.redo))
        layout.addWidget(self.line)
        layout.addWidget(row(self.train, self.export))
        for button in (self.merge, self.split, self.undo, self.redo, self.train, self.export):
            button.setStyleSheet("padding: 3px 2px;")

    @property
    def kind(self) -> str:
        """What two clicks do: "merge" or "split"."""
        return MERGE if self.merge.isChecked() else SPLIT

    def choose(self, kind: str) -> None:
        """Decide what two clicks do."""
        (self.merge if kind == MERGE else self.split).setChecked(True)

    def allow(self, decisions: int, undone: int, busy: bool) -> None:
        """Enable what can be done after this many decisions, of which some can be brought back."""
        self.undo.setEnabled(bool(decisions) and not busy)
        self.redo.setEnabled(bool(undone) and not busy)
        self.train.setEnabled(bool(decisions) and not busy)
        self.train.setText(words.train_button(decisions))
        self.export.setEnabled(not busy)

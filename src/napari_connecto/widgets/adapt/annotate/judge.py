"""Buttons for a suggested patch, and the question whether an unedited pre-fill is accepted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.theme import colour_text

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.patch_states import PatchState

COMMIT, ACCEPT = "Commit (C)", "Accept unedited (C)"
UNEDITED = (
    "The model's pre-fill is unchanged: training on it would teach the model its own errors. "
    "Correct it, or commit again to accept it unedited."
)
BUTTONS = (
    ("open", "Open", "Show the selected patch with a Labels layer to paint on (also: double-click)"),
    ("commit", COMMIT, "Save the labels of the open patch"),
    ("skip", "Skip (K)", "Skip the open patch; the skip is recorded"),
    ("next", "Next (N)", "Open the next waiting patch; the draft of this one is saved"),
    ("undo", "Undo (U)", "Undo the last commit or skip, and open that patch"),
    ("copy", "Copy command", "Copy the equivalent shell command, which suggests patches for this session"),
)
"""Key, text and tooltip."""


class JudgeBox(QWidget):
    """The buttons; ``asked`` is the patch whose unedited pre-fill awaits confirmation, None if none does."""

    def __init__(self, slots: Mapping[str, Callable[[], Any]]) -> None:
        super().__init__()
        self.asked: int | None = None
        self.question = text_line("Press Commit again to confirm, or correct the patch")
        colour_text(self.question, "warning")
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for i, (key, text, tooltip) in enumerate(BUTTONS):
            button = self.buttons[key] = QPushButton(text)
            button.setToolTip(tooltip)
            button.setStyleSheet("padding: 3px 2px;")  # three in a row of 300 pixels
            button.clicked.connect(lambda _=False, key=key: slots[key]())
            grid.addWidget(button, i // 3, i % 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.question)
        layout.addLayout(grid)
        self.ask(None)

    def allow(self, states: Sequence[PatchState], opened: int) -> None:
        """Enable the buttons that do something with these patches, of which ``opened`` is open (0: none)."""
        waiting = [state.id for state in states if state.status == "waiting"]
        onward = any(id != opened for id in waiting) or (opened > 0 and opened not in waiting)  # to close it
        done = len(waiting) < len(states)
        free = {"open": bool(states), "commit": bool(opened), "skip": bool(opened), "next": onward, "undo": done}
        for key, button in self.buttons.items():
            button.setEnabled(free.get(key, True))

    def ask(self, id: int | None) -> None:
        """Ask whether this patch's unedited pre-fill is accepted; None: do not ask."""
        self.asked = id
        self.question.setText(UNEDITED if id is not None else "")
        self.question.setVisible(id is not None)
        self.buttons["commit"].setText(ACCEPT if id is not None else COMMIT)

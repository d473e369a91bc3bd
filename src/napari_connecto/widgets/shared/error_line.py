"""How a dock shows an error: one line, with the traceback folded below."""

from __future__ import annotations

import re

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QPlainTextEdit, QToolButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets.shared.frame.theme import colour_text

UNEXPECTED = (
    "Unexpected error. Try again; if it happens again, report the details below together with the output of "
    "`napari-connecto doctor`"
)
UNIT = re.compile(r"(?<=\d) (?=(?:s|min|h|[kMGT]?B|nm)\b)")
"""The space between a number and its unit."""
IN_DOCKS = ("give it in nm (voxel_nm=, --voxel-nm Z Y X)", "enter it in nm below the image's name at the top")
"""What a message says to do in a script or a shell, and in a dock."""


def unbroken(text: str) -> str:
    """Keep numbers and their units on one line."""
    return UNIT.sub("\N{NO-BREAK SPACE}", text)


class ErrorLine(QWidget):
    """An error in one line, with the traceback folded below."""

    def __init__(self) -> None:
        super().__init__()
        self._expected = "What went wrong, and what to do about it"
        self.label = text_line(self._expected)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        colour_text(self.label, "error")
        self.fold = QToolButton()
        self.fold.setText("details")
        self.fold.setCheckable(True)
        self.fold.setArrowType(Qt.ArrowType.RightArrow)
        self.fold.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.fold.setToolTip("Show the traceback (for a bug report)")
        self.details = QPlainTextEdit()
        self.details.setReadOnly(True)
        self.details.setFixedHeight(140)
        self.details.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (self.label, self.fold, self.details):
            layout.addWidget(widget)
        self.fold.toggled.connect(self._on_toggled)
        self.clear()

    def show_error(self, error: Exception, text: str = "") -> None:
        """Show ``error``, with its type unless it is a `ConnectoError`, whose message says what to do."""
        own = isinstance(error, ConnectoError)
        self.label.setText(_for_docks(str(error)) if own else f"{type(error).__name__}: {error}")
        self.label.setToolTip(self._expected if own else UNEXPECTED)
        self.details.setPlainText(text)
        self.fold.setChecked(False)
        self.fold.setVisible(bool(text))
        self.show()

    def clear(self) -> None:
        """Clear the error."""
        self.label.setText("")
        self.details.hide()
        self.hide()

    def _on_toggled(self, on: bool) -> None:
        self.fold.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self.details.setVisible(on)


def _for_docks(message: str) -> str:
    """A message with what to do in a dock instead of in a script or a shell."""
    return message.replace(*IN_DOCKS)


def text_line(tooltip: str) -> QLabel:
    """A label of one wrapped paragraph, with a tooltip."""
    label = QLabel()
    label.setWordWrap(True)
    label.setToolTip(tooltip)
    return label

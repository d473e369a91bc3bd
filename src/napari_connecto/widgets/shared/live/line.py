"""A line for the button *Live* in the footer of a dock with several jobs, whatever step is open."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.error_line import ErrorLine, text_line


class LiveLine(QWidget):
    """The button, beside it what Live is doing, below it why it failed."""

    def __init__(self) -> None:
        super().__init__()
        self.status, self.error = text_line("What Live is doing"), ErrorLine()
        self._row = QHBoxLayout()
        self._row.addWidget(self.status, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(self._row)
        layout.addWidget(self.error)

    def add_toggle(self, button: QPushButton) -> None:
        """Put the button at the left."""
        self._row.insertWidget(0, button)

    def say(self, text: str) -> None:
        """Show what Live is doing."""
        self.status.setText(text)

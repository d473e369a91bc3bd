"""What all docks share: one scrolled column, and jobs that end when the dock is closed."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QEvent, QSize, Qt
from qtpy.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget


class Dock(QWidget):
    """A column of parts that scrolls; `close_jobs` is called when napari takes the widget out of its dock."""

    def __init__(self) -> None:
        super().__init__()
        self._docked = False
        self.scroller = QScrollArea()
        self.setMinimumSize(300, 400)

    def sizeHint(self) -> QSize:
        """Wide enough to read without scrolling sideways."""
        return QSize(380, 640)

    def lay_out(self, parts: Sequence[QWidget]) -> None:
        """Put the parts one below the other."""
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(4, 4, 4, 4)
        column.setSpacing(6)
        for part in parts:
            column.addWidget(part)
        column.addStretch()
        self.scroller.setWidgetResizable(True)
        self.scroller.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroller.setWidget(content)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.scroller)

    def event(self, event: QEvent | None) -> bool:
        """Close the jobs when the dock is closed: napari then takes this widget out of it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self._docked and self.parent() is None:
                self.close_jobs()
            self._docked = self.parent() is not None
        return super().event(event)

    def close_jobs(self) -> None:
        """Stop everything that runs, and give the keys back."""
        raise NotImplementedError


def row(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return holder

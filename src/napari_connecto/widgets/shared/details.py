"""A fold for what is not needed to go on: a button with an arrow, and what it unfolds."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSizePolicy, QToolButton, QVBoxLayout, QWidget


class Details(QWidget):
    """Folded at first; ``parts`` are shown below the button when it is pressed."""

    def __init__(self, *parts: QWidget, title: str = "Details", tooltip: str = "Show the numbers behind this") -> None:
        super().__init__()
        self.button = QToolButton()
        self.button.setText(title)
        self.button.setCheckable(True)
        self.button.setAutoRaise(True)
        self.button.setArrowType(Qt.ArrowType.RightArrow)
        self.button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.button.setToolTip(tooltip)
        self.inside = QWidget()
        self.column = QVBoxLayout(self.inside)
        self.column.setContentsMargins(4, 0, 0, 0)
        self.column.setSpacing(4)
        for part in parts:
            self.column.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.button)
        layout.addWidget(self.inside)
        self.inside.hide()
        self.button.toggled.connect(self._on_toggled)

    def unfold(self, on: bool = True) -> None:
        """Show the parts, or hide them."""
        self.button.setChecked(on)

    def _on_toggled(self, on: bool) -> None:
        self.button.setArrowType(Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow)
        self.inside.setVisible(on)

"""Choosing the label to paint: a button and a key per class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QSlider, QWidget

from napari_connecto.widgets.adapt.annotate.patch import INSIDE, MEMBRANE
from napari_connecto.widgets.shared.error_line import text_line

MEANING = (
    "Unlabelled voxels (0) are ignored in training and in measuring. "
    "Give each neurite its own number from 3 (M), or paint all insides as 2."
)
NEXT_FREE = "M"
OPACITY = 40
"""Per cent at first."""
BRUSHES = (
    ("1", "Membrane", MEMBRANE, "Paint 1, membrane"),
    ("2", "Inside", INSIDE, "Paint 2, the inside of any neurite"),
    ("0", "Erase", "", "Paint 0, not labelled, which is ignored in training and in measuring"),
    (NEXT_FREE, "New neurite", "", "Paint the next free number from 3 on: one number per neurite"),
)
"""Key, name, colour and tooltip."""


class Brushes(QWidget):
    """One swatch per class, also by its key in `keys`. ``take(value)`` gets -1 for the next free number.

    ``meaning`` explains the numbers; the caller places it.
    """

    def __init__(self, take: Callable[[int], Any]) -> None:
        super().__init__()
        self.buttons: dict[str, QPushButton] = {}
        self.keys: dict[str, Callable[[], Any]] = {}
        self.meaning = text_line("Meaning of the layer's label values")
        self.meaning.setText(MEANING)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(4)
        for i, (key, name, colour, tooltip) in enumerate(BRUSHES):
            value = -1 if key == NEXT_FREE else int(key)
            self.keys[key] = partial(take, value)
            button = self.buttons[key] = QPushButton(f"{name} ({key})")
            button.setToolTip(f"{tooltip} (key {key} while a patch is open)")
            button.setStyleSheet("padding: 3px 2px;")
            button.setCheckable(True)
            if key != NEXT_FREE:
                button.setIcon(_swatch(colour))
            button.clicked.connect(lambda _=False, act=self.keys[key]: act())
            grid.addWidget(button, i // 2, i % 2)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(OPACITY)
        self.opacity.setToolTip("Opacity of the labels, per cent: 0 shows the image alone")
        for column in (0, 1):
            grid.setColumnStretch(column, 1)
        grid.addWidget(QLabel("Opacity"), 2, 0)
        grid.addWidget(self.opacity, 2, 1)

    def show_taken(self, value: int) -> None:
        """Show which label is painted with; any neurite beyond 2 is the last button's."""
        for key, button in self.buttons.items():
            button.setChecked(value > 2 if key == NEXT_FREE else key == str(value))

    def allow(self, on: bool) -> None:
        """Enable or disable the buttons."""
        for button in self.buttons.values():
            button.setEnabled(on)


def _swatch(colour: str) -> QIcon:
    """A square of the colour; an empty one with a cross for none."""
    picture = QPixmap(14, 14)
    picture.fill(QColor(colour or "white"))
    if not colour:
        painter = QPainter(picture)
        painter.setPen(QPen(QColor("black"), 2))
        painter.drawLine(3, 3, 10, 10)
        painter.drawLine(10, 3, 3, 10)
        painter.end()
    return QIcon(picture)

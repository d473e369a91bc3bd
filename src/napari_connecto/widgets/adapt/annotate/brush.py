"""Choosing the label to paint: a button and a key per class."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget

from napari_connecto.widgets.adapt.annotate.patch import INSIDE, MEMBRANE
from napari_connecto.widgets.shared.error_line import text_line

MEANING = (
    "Unlabelled voxels (0) are ignored in training and in measuring. "
    "Give each neurite its own number from 3 (M), or paint all insides as 2."
)
NEXT_FREE = "M"
BRUSHES = (
    ("0", "Unlabelled", "", "Erase: paint 0, which is ignored in training and in measuring"),
    ("1", "Membrane", MEMBRANE, "Paint 1, membrane"),
    ("2", "Inside", INSIDE, "Paint 2, the inside of any neurite"),
    (NEXT_FREE, "New neurite", "", "Paint the next free number from 3 on: one number per neurite"),
)
"""Key, name, colour and tooltip."""


class Brushes(QWidget):
    """One button per class, also by its key in `keys`. ``take(value)`` gets -1 for the next free number."""

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
            if colour:
                button.setIcon(_swatch(colour))
            button.clicked.connect(lambda _=False, act=self.keys[key]: act())
            grid.addWidget(button, i // 2, i % 2)
        grid.addWidget(self.meaning, 2, 0, 1, 2)

    def allow(self, on: bool) -> None:
        """Enable or disable the buttons."""
        for button in self.buttons.values():
            button.setEnabled(on)


def _swatch(colour: str) -> QIcon:
    picture = QPixmap(12, 12)
    picture.fill(QColor(colour))
    return QIcon(picture)

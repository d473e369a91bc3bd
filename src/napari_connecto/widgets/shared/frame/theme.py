"""Text colours with a meaning, legible on napari's dark and light themes."""

from __future__ import annotations

from typing import Any, Literal

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QPalette
from qtpy.QtWidgets import QLabel, QWidget

Meaning = Literal["warning", "error", "good"]

ON_DARK: dict[Meaning, str] = {"warning": "#E69F00", "error": "#FF8A5C", "good": "#2FC79B"}
ON_LIGHT: dict[Meaning, str] = {"warning": "#7A5200", "error": "#A33C00", "good": "#00624A"}
"""The hues of Okabe and Ito's palette (warnings orange, errors vermillion, good news green); contrast at least 4.5 : 1
on the backgrounds of napari's themes, as WCAG 2 asks for text."""


def text_colour(widget: QWidget, meaning: Meaning) -> str:
    """The text colour inside ``widget`` for the current theme."""
    widget.ensurePolished()
    plain = widget.palette().color(QPalette.ColorRole.WindowText)
    return (ON_DARK if plain.lightness() > 127 else ON_LIGHT)[meaning]


def colour_text(label: QLabel, meaning: Meaning) -> None:
    """Show a label in bold in the colour of ``meaning``, also after a change of theme."""
    follower = label.findChild(_Follower)
    if follower is None:
        follower = _Follower(label)
    follower.meaning = meaning
    follower.show_colour()


class _Follower(QObject):
    """Sets the style of its parent label again whenever the theme changes."""

    def __init__(self, label: QLabel) -> None:
        super().__init__(label)
        self._label = label
        self.meaning: Meaning = "warning"
        label.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow changes of style and of parent."""
        kinds = (QEvent.Type.StyleChange, QEvent.Type.ParentChange, QEvent.Type.Polish, QEvent.Type.Show)
        if event is not None and event.type() in kinds:
            self.show_colour()
        return super().eventFilter(watched, event)

    def show_colour(self) -> None:
        """Take the colour from the text around the label, for its own is the one set here."""
        around: Any = self._label.parentWidget()
        if around is None:
            return
        style = f"color: {text_colour(around, self.meaning)}; font-weight: bold;"
        if style != self._label.styleSheet():
            self._label.setStyleSheet(style)

"""Colours and shapes that the drawings share; legible on dark and light themes."""

from __future__ import annotations

from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor, QPainter, QPalette
from qtpy.QtWidgets import QWidget

from napari_connecto.widgets.viewer.view import OKABE_ITO

FILL = OKABE_ITO["accepted"]
GOOD, FAIR, BAD = OKABE_ITO["good"], OKABE_ITO["new"], OKABE_ITO["rejected"]
RADIUS = 3.0
PRIMARY = (
    f"QPushButton {{ background: {FILL}; color: black; font-weight: bold; padding: 5px; }}"
    "QPushButton:disabled { background: palette(mid); color: palette(text); }"
)
"""Look of a dock's main button."""


def text_of(widget: QWidget) -> QColor:
    """Colour of the text around a drawing."""
    return widget.palette().color(QPalette.ColorRole.WindowText)


def track_of(widget: QWidget, alpha: int = 55) -> QColor:
    """What a fill is drawn on: the text's colour, faint."""
    colour = QColor(text_of(widget))
    colour.setAlpha(alpha)
    return colour


def fill(painter: QPainter, area: QRectF, colour: QColor | str) -> None:
    """A rectangle with rounded corners, without an edge."""
    if area.width() <= 0:
        return
    painter.save()
    painter.setPen(QColor(0, 0, 0, 0))
    painter.setBrush(QColor(colour))
    radius = min(RADIUS, area.width() / 2, area.height() / 2)
    painter.drawRoundedRect(area, radius, radius)
    painter.restore()

"""A gauge: how far a number is, against what is needed or allowed."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen

from napari_connecto.widgets.shared.painted.ink import FILL, fill, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot

HEIGHT = 34
THICK = 8.0


@dataclass(frozen=True)
class Reading:
    """What a gauge shows.

    Parameters
    ----------
    text
        Above the bar: the number in words, with its unit.
    share
        Filled part of the bar, in 0..1.
    colour
        Of the fill.
    marks
        Ticks across the bar: place in 0..1, and what is written below it ("").
    expected
        An outline up to here, in 0..1, of what was expected; None for none.
    tip
        Shown when the mouse is over the gauge.
    """

    text: str
    share: float
    colour: str = FILL
    marks: tuple[tuple[float, str], ...] = ()
    expected: float | None = None
    tip: str = ""


class Gauge(Plot):
    """A `Reading` as a filled bar; hidden while there is none."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(HEIGHT, tooltip)
        self.reading: Reading | None = None
        self.hide()

    def show_reading(self, reading: Reading | None) -> None:
        """Show this; hide for None."""
        self.reading = reading
        self.setVisible(reading is not None)
        if reading is not None:
            named = any(text for _, text in reading.marks)
            self.setFixedHeight(HEIGHT + (13 if named else 0))
        self.update()

    def tip_at(self, _x: float, _y: float) -> str:
        """What the reading says of itself."""
        return self.reading.tip if self.reading is not None else ""

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Text, track, fill, outline of what was expected, ticks."""
        reading = self.reading
        if reading is None:
            return
        ink = text_of(self)
        painter.setPen(ink)
        top = QRectF(area.left(), area.top(), area.width(), 15)
        painter.drawText(top, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, reading.text)
        bar = QRectF(area.left(), top.bottom() + 2, area.width() - 1, THICK)
        fill(painter, bar, track_of(self))
        part = QRectF(bar)
        part.setWidth(bar.width() * min(max(reading.share, 0.0), 1.0))
        fill(painter, part, reading.colour)
        if reading.expected is not None:
            outline = QRectF(bar)
            outline.setWidth(bar.width() * min(max(reading.expected, 0.0), 1.0))
            painter.setPen(QPen(QColor(ink), 1, Qt.PenStyle.DotLine))
            painter.drawRect(outline)
        painter.setPen(QPen(ink, 1.5))
        for place, text in reading.marks:
            x = bar.left() + bar.width() * min(max(place, 0.0), 1.0)
            painter.drawLine(QPointF(x, bar.top() - 2), QPointF(x, bar.bottom() + 2))
            if text:
                width = painter.fontMetrics().horizontalAdvance(text)
                left = min(max(area.left(), x - width / 2), area.right() - width)
                painter.drawText(QPointF(left, bar.bottom() + 13), text)

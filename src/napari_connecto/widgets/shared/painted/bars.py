"""Horizontal bars for comparisons, and whiskers for intervals; hover a row for its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import NamedTuple

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen

from napari_connecto.widgets.shared.painted.ink import FILL, fill, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot

ROW = 17
"""Pixels of a row."""
_LEFT = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft


class Bar(NamedTuple):
    """One row of a `BarsPlot`: a share of the full width, what is written after it, and a control to be beaten.

    ``tip`` is shown when the mouse is over the row: the same in numbers with units.
    """

    name: str
    share: float
    colour: str
    text: str
    mark: float | None = None
    tip: str = ""


class Whisker(NamedTuple):
    """One row of a `WhiskersPlot`: an estimate with its interval, all in the units of the plot's ``full`` scale."""

    name: str
    value: float
    low: float
    high: float
    text: str
    colour: str = FILL
    tip: str = ""


class RowsPlot(Plot):
    """Rows of one height, names at the left; the tooltip is that of the row under the mouse."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(ROW, tooltip)
        self.rows: Sequence[Bar | Whisker] = ()

    def _show(self, rows: Sequence[Bar | Whisker]) -> None:
        self.rows = rows
        self.setFixedHeight(ROW * max(1, len(rows)) + 6)
        self.update()

    def tip_at(self, _x: float, y: float) -> str:
        """The tip of the row there."""
        row = int((y - 2) // ROW)
        return self.rows[row].tip if 0 <= row < len(self.rows) else ""

    def columns(self, painter: QPainter, area: QRectF) -> tuple[float, float]:
        """Where the bars begin, and how wide they may be, between the names and the texts."""
        metrics = painter.fontMetrics()
        left = area.left() + max(metrics.horizontalAdvance(row.name) for row in self.rows) + 8
        return left, area.right() - left - max(metrics.horizontalAdvance(row.text) for row in self.rows) - 8

    def row_at(self, area: QRectF, n: int) -> QRectF:
        """The place of a row."""
        return QRectF(area.left(), area.top() + n * ROW, area.width(), ROW)


class BarsPlot(RowsPlot):
    """One bar per row, names at the left; a tick marks the row's control."""

    @property
    def bars(self) -> Sequence[Bar]:
        """What is drawn."""
        return [row for row in self.rows if isinstance(row, Bar)]

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Draw these."""
        self._show(bars)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Row by row."""
        if not self.bars:
            return
        left, wide = self.columns(painter, area)
        text = text_of(self)
        for n, bar in enumerate(self.bars):
            row = self.row_at(area, n)
            painter.setPen(text)
            painter.drawText(row, _LEFT, bar.name)
            length = wide * min(max(bar.share, 0.0), 1.0)
            fill(painter, QRectF(left, row.top() + 3, max(1.0, length), ROW - 6), bar.colour)
            end = length
            if bar.mark is not None:
                end = max(length, wide * min(max(bar.mark, 0.0), 1.0))
                x = left + wide * min(max(bar.mark, 0.0), 1.0)
                painter.drawLine(QPointF(x, row.top() + 1), QPointF(x, row.bottom() - 1))
            painter.drawText(QRectF(left + end + 4, row.top(), area.right() - left - end, ROW), _LEFT, bar.text)


class WhiskersPlot(RowsPlot):
    """One interval per row on a common scale: a dot for the estimate, a line from its lower to its upper bound.

    Parameters
    ----------
    tooltip
        What the scale is, with its unit, and the confidence of the intervals.
    full
        The right end of the scale; the left one is 0.
    limit
        A dashed line to compare with; None for none.
    """

    def __init__(self, tooltip: str, full: float = 1.0, limit: float | None = None) -> None:
        super().__init__(tooltip)
        self.full, self.limit = full, limit

    def show_whiskers(self, rows: Sequence[Whisker]) -> None:
        """Draw these."""
        self._show(rows)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Row by row, names at the left, texts at the right."""
        if not self.rows:
            return
        left, wide = self.columns(painter, area)

        def at(value: float) -> float:
            return left + wide * min(max(value / self.full, 0.0), 1.0)

        for n, whisker in enumerate(self.rows):
            row = self.row_at(area, n)
            painter.setPen(text_of(self))
            painter.drawText(row, _LEFT, whisker.name)
            end = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(row, end, whisker.text)
            middle = row.center().y()
            fill(painter, QRectF(left, middle - 1, wide, 2), track_of(self))
            if isinstance(whisker, Whisker) and all(map(isfinite, (whisker.value, whisker.low, whisker.high))):
                painter.setPen(QPen(QColor(whisker.colour), 3))
                painter.drawLine(QPointF(at(whisker.low), middle), QPointF(at(whisker.high), middle))
                painter.setBrush(QColor(whisker.colour))
                painter.drawEllipse(QPointF(at(whisker.value), middle), 4, 4)
                painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.limit is not None:
            painter.setPen(QPen(text_of(self), 1, Qt.PenStyle.DashLine))
            bottom = area.top() + ROW * len(self.rows)
            painter.drawLine(QPointF(at(self.limit), area.top()), QPointF(at(self.limit), bottom))

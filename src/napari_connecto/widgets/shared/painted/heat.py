"""A heat map of named rows and columns; hover a cell for its number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPainter

from napari_connecto.widgets.shared.painted.ink import text_of
from napari_connecto.widgets.shared.plots import Plot

ROW, HEAD = 17, 15
"""Pixels of a row, and of the line of column names."""
LOW, HIGH = QColor("#20242c"), QColor("#F0E442")
"""Colours of 0 and 1; Okabe and Ito's yellow is the bright end."""
WIDE = 28
"""Pixels from which a cell has its number written in it."""


class HeatPlot(Plot):
    """Shares from 0 to 1 as cells, row names at the left and column names above."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(HEAD + ROW, tooltip)
        self.rows: Sequence[str] = ()
        self.columns: Sequence[str] = ()
        self.values = np.zeros((0, 0))

    def show_table(self, rows: Sequence[str], columns: Sequence[str], values: np.ndarray) -> None:
        """Draw values (rows, columns)."""
        self.rows, self.columns, self.values = rows, columns, np.asarray(values, float)
        self.setFixedHeight(HEAD + ROW * max(1, len(rows)) + 6)
        self.update()

    def tip_at(self, x: float, y: float) -> str:
        """Row, column and value of the cell there."""
        area = QRectF(self.rect()).adjusted(2, 2, -2, -2)
        left, wide = self._grid(area)
        row, column = int((y - area.top() - HEAD) // ROW), int((x - left) // wide) if wide > 0 else -1
        if not (0 <= row < len(self.rows) and 0 <= column < len(self.columns) and y >= area.top() + HEAD):
            return ""
        return f"{self.rows[row]}, {self.columns[column]}: {self.values[row, column]:.3g}"

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Cell by cell."""
        if not len(self.rows):
            return
        left, wide = self._grid(area)
        ink, centre = text_of(self), Qt.AlignmentFlag.AlignCenter
        widest = max(painter.fontMetrics().horizontalAdvance(name) for name in self.columns) + 6
        every = max(1, -(-widest // max(1, int(wide))))
        for j, name in enumerate(self.columns):
            painter.setPen(ink)
            if j % every == 0 or j + 1 == len(self.columns):
                spot = QRectF(left + j * wide - 20, area.top(), wide + 40, HEAD)
                painter.drawText(spot, centre, name)
        for i, name in enumerate(self.rows):
            top = area.top() + HEAD + i * ROW
            painter.setPen(ink)
            painter.drawText(QRectF(area.left(), top, left, ROW), Qt.AlignmentFlag.AlignVCenter, name)
            for j, value in enumerate(self.values[i]):
                cell = QRectF(left + j * wide, top + 1, wide - 1, ROW - 2)
                painter.fillRect(cell, _colour(float(value)))
                if wide >= WIDE:
                    painter.setPen(QColor("black" if value > 0.45 else "white"))
                    painter.drawText(cell, centre, f"{value:.2f}")

    def _grid(self, area: QRectF) -> tuple[float, float]:
        """Where the cells begin, and how wide each is."""
        metrics = self.fontMetrics()
        left = area.left() + max((metrics.horizontalAdvance(name) for name in self.rows), default=0) + 8
        return left, (area.right() - left) / max(1, len(self.columns))


def _colour(value: float) -> QColor:
    share = min(max(value, 0.0), 1.0)
    parts = zip(LOW.getRgb()[:3], HIGH.getRgb()[:3], strict=True)
    return QColor(*(round(a + share * (b - a)) for a, b in parts))

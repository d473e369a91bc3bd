"""Bars of the comparison: VI of each held-out patch before and after, and the gain with its interval."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_connecto.widgets.shared.painted.bars import Bar, BarsPlot
from napari_connecto.widgets.shared.painted.ink import BAD, FILL, GOOD, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.compare import Comparison


class GainPlot(Plot):
    """The mean gain in bits as a dot, its 95 % interval as a whisker, and no change as a line in the middle."""

    def __init__(self) -> None:
        super().__init__(
            36, "Mean decrease of VI in bits, with its 95 % interval over the patches.\nRight of the line: better"
        )
        self.gain = self.low = self.high = float("nan")

    def show_gain(self, gain: float, low: float, high: float) -> None:
        """Show a gain and its interval (NaN: none)."""
        self.gain, self.low, self.high = gain, low, high
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Zero is in the middle; the scale is that of the farther end."""
        if not isfinite(self.gain):
            return
        known = isfinite(self.low) and isfinite(self.high)
        full = 1.1 * max(abs(v) for v in (self.gain, *((self.low, self.high) if known else ()), 1e-6))
        middle, wide = area.top() + 9, area.width() / 2
        colour = QColor(GOOD if known and self.low > 0 else BAD if known and self.high < 0 else FILL)

        def at(value: float) -> float:
            return area.center().x() + wide * value / full

        painter.setPen(QPen(track_of(self, 90), 2))
        painter.drawLine(QPointF(area.left(), middle), QPointF(area.right(), middle))
        painter.setPen(QPen(text_of(self), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(at(0), area.top()), QPointF(at(0), middle + 9))
        painter.setPen(QPen(colour, 3))
        if known:
            painter.drawLine(QPointF(at(self.low), middle), QPointF(at(self.high), middle))
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(at(self.gain), middle), 4, 4)
        painter.setPen(text_of(self))
        below = QRectF(area.left(), middle + 6, area.width(), 16)
        for side, text in ((Qt.AlignmentFlag.AlignLeft, "worse"), (Qt.AlignmentFlag.AlignRight, "better")):
            painter.drawText(below, side, text)
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, f"{self.gain:+.3f} bits")


class ComparisonPlot(QWidget):
    """VI of each patch, and the gain."""

    def __init__(self) -> None:
        super().__init__()
        self.bars = BarsPlot(
            "VI of the new model on each held-out patch, in bits (0 is perfect); the tick is the old model's"
        )
        self.gain = GainPlot()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.bars)
        layout.addWidget(self.gain)

    def show_comparison(self, found: Comparison) -> None:
        """Draw it."""
        pairs = [(b.total, a.total) for b, a in zip(found.before.vi, found.after.vi, strict=True)]
        full = max([1e-9, *(v for pair in pairs for v in pair)])
        rows = []
        for name, (before, after) in zip(found.names, pairs, strict=True):
            colour = GOOD if after < before else BAD if after > before else FILL
            text = f"{before:.3f} → {after:.3f} bits"
            rows.append(Bar(f"patch {name}", after / full, colour, text, before / full, f"VI of patch {name}: {text}"))
        self.bars.show_bars(rows)
        self.gain.show_gain(found.gain, *found.interval)

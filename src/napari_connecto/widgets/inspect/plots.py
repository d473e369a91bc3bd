"""Plots of the dock "Inspect a model": what each stage restores, and what a few channels restore together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import TYPE_CHECKING, NamedTuple

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

from napari_connecto.widgets.shared.plots import Plot
from napari_connecto.widgets.viewer.view import OKABE_ITO

if TYPE_CHECKING:
    from napari_connecto.workflows.inspect.missed.result import Stage

COLOURS = {"encoder": OKABE_ITO["accepted"], "skip": OKABE_ITO["added"], "decoder": OKABE_ITO["good"]}
ORDERS = {
    "gradient": ("ranked", OKABE_ITO["new"], Qt.PenStyle.SolidLine),
    "random": ("random", "#808080", Qt.PenStyle.DashLine),
    "difference": ("most different", OKABE_ITO["accepted"], Qt.PenStyle.DotLine),
}
ROW = 17


class Bar(NamedTuple):
    """One row of a `BarsPlot`: a share of the full width, what is written after it, and a control to be beaten."""

    name: str
    share: float
    colour: str
    text: str
    mark: float | None = None


class BarsPlot(Plot):
    """One bar per row, names at the left; a tick marks the row's control."""

    def __init__(self, tooltip: str) -> None:
        super().__init__(ROW, tooltip)
        self.bars: Sequence[Bar] = ()

    def show_bars(self, bars: Sequence[Bar]) -> None:
        """Draw these."""
        self.bars = bars
        self.setFixedHeight(ROW * max(1, len(bars)) + 6)
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Row by row."""
        if not self.bars:
            return
        metrics = painter.fontMetrics()
        left = area.left() + max(metrics.horizontalAdvance(bar.name) for bar in self.bars) + 8
        wide = area.right() - left - max(metrics.horizontalAdvance(bar.text) for bar in self.bars) - 8
        text = self.palette().text().color()
        flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft
        for n, bar in enumerate(self.bars):
            row = QRectF(area.left(), area.top() + n * ROW, area.width(), ROW)
            painter.setPen(text)
            painter.drawText(row, flags, bar.name)
            length = wide * min(max(bar.share, 0.0), 1.0)
            painter.fillRect(QRectF(left, row.top() + 3, max(1.0, length), ROW - 6), QColor(bar.colour))
            end = length
            if bar.mark is not None:
                end = max(length, wide * min(max(bar.mark, 0.0), 1.0))
                x = left + wide * min(max(bar.mark, 0.0), 1.0)
                painter.drawLine(QPointF(x, row.top() + 1), QPointF(x, row.bottom() - 1))
            painter.drawText(QRectF(left + end + 4, row.top(), area.right() - left - end, ROW), flags, bar.text)


def stage_bars(stages: Sequence[Stage]) -> list[Bar]:
    """What each stage restores."""
    return [
        Bar(f"{s.place}, {s.scale_nm[-1]:g} nm", s.restored, COLOURS[s.kind], f"{100 * s.restored:.0f} %")
        for s in stages
    ]


class CurvesPlot(Plot):
    """Share of the gap restored by the first channels of three orders."""

    def __init__(self) -> None:
        super().__init__(
            130,
            "Share of the gap restored by 1, 5, 10 and 30 channels together: ranked by effect (orange), random (grey, "
            "dashed)\nand ranked by the difference of activations (blue, dotted). Only the first should rise at once",
        )
        self.together: Mapping[str, Sequence[tuple[int, float]]] = {}

    def show_curves(self, together: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Draw these, by order: (channels, share) pairs."""
        self.together = together
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Channels on a log axis, shares from 0 to 1."""
        inner = area.adjusted(34, 14, -6, -16)
        painter.save()
        painter.setPen(QPen(QColor(128, 128, 128, 140), 1))
        painter.drawRect(inner)
        painter.restore()
        if not self.together:
            painter.drawText(inner, Qt.AlignmentFlag.AlignCenter, "What a few channels restore appears here.")
            return
        text = self.palette().text().color()
        for mark, y in (("100 %", inner.top()), ("0", inner.bottom())):
            where = QRectF(area.left(), y - 7, 32, 14)
            painter.drawText(where, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, mark)
        most = max(n for points in self.together.values() for n, _ in points)
        left = area.left() + 34
        for order, points in self.together.items():
            name, colour, style = ORDERS[order]
            painter.setPen(QPen(QColor(colour), 1.8, style))
            spots = [_spot(inner, n, most, share) for n, share in points]
            painter.drawPolyline(QPolygonF(spots))
            for spot in spots:
                painter.drawEllipse(spot, 1.8, 1.8)
            painter.drawText(QPointF(left, area.top() + 10), name)
            left += painter.fontMetrics().horizontalAdvance(name) + 12
        painter.setPen(text)
        for n, _ in self.together["gradient"]:
            x = _spot(inner, n, most, 0.0).x()
            where = QRectF(x - 20, inner.bottom() + 1, 40, 14)
            painter.drawText(where, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, str(n))


def _spot(inner: QRectF, n: int, most: int, share: float) -> QPointF:
    across = log(n) / log(most) if most > 1 else 0.0
    return QPointF(inner.left() + inner.width() * across, inner.bottom() - inner.height() * min(max(share, 0.0), 1.0))

"""Plots of the dock "Inspect a model": what each stage restores, and what a few channels restore together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log
from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

from napari_connecto.widgets.shared.painted.bars import Bar
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

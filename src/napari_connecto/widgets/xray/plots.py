"""Small plot of a translator's calibration: coverage of its intervals, and sparsification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

from napari_connecto.widgets.shared.plots import Plot
from napari_connecto.widgets.viewer.view import OKABE_ITO

OURS, BEST = OKABE_ITO["accepted"], OKABE_ITO["new"]
HEIGHT = 148


class CalibrationPlot(Plot):
    """Left: measured against stated coverage of the intervals; on the diagonal they agree.

    Right: error of the remaining voxels after removing the most uncertain ones, beside the best possible order.
    """

    def __init__(self) -> None:
        super().__init__(
            HEIGHT,
            "Measured on a held-out block.\n"
            "Left: share of voxels whose EM value is inside the stated interval; on the dashed line it is as stated.\n"
            "Right: mean error, relative to all voxels, after removing the most uncertain voxels (line), and after\n"
            "removing those with the largest error (dashed). The closer, the better the uncertainty finds errors.",
        )
        self.coverage: list[tuple[float, float]] = []
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.ause = float("nan")
        self.hide()

    def show_calibration(self, found: Mapping[str, Any] | None) -> None:
        """Draw ``coverage``, ``removed``, ``by_sd``, ``by_error`` and ``ause``; hidden if there are none."""
        self.setVisible(found is not None)
        if found is None:
            return
        self.coverage = sorted((float(k), float(v)) for k, v in found["coverage"].items())
        self.curves = {n: list(zip(found["removed"], found[n], strict=True)) for n in ("by_sd", "by_error")}
        self.ause = float(found["ause"])
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Both panels."""
        half = area.width() / 2
        text = self.palette().text().color()
        for k, (title, below) in enumerate((("coverage", "stated →"), (f"AUSE {self.ause:.3f}", "removed →"))):
            panel = QRectF(area.left() + k * half, area.top(), half, area.height())
            inner = panel.adjusted(40, 16, -6, -16)
            painter.setPen(text)
            painter.drawText(panel, Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter, title)
            painter.drawText(panel, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignHCenter, below)
            self._axis(painter, inner, ("100 %", "50 %") if k == 0 else ("1", "½"))
            (self._coverage if k == 0 else self._sparsification)(painter, inner)

    def _axis(self, painter: QPainter, inner: QRectF, marks: tuple[str, str]) -> None:
        painter.save()
        painter.setPen(QPen(QColor(128, 128, 128, 140), 1))
        painter.drawRect(inner)
        painter.drawLine(QPointF(inner.left(), inner.center().y()), QPointF(inner.right(), inner.center().y()))
        painter.restore()
        for mark, y in zip(marks, (inner.top(), inner.center().y()), strict=True):
            where = QRectF(inner.left() - 40, y - 7, 36, 14)
            painter.drawText(where, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, mark)

    def _coverage(self, painter: QPainter, inner: QRectF) -> None:
        painter.setPen(QPen(QColor(BEST), 1.4, Qt.PenStyle.DashLine))
        painter.drawLine(inner.bottomLeft(), inner.topRight())
        _line(painter, inner, self.coverage, OURS)
        painter.setBrush(QColor(OURS))
        for spot in _spots(inner, self.coverage):
            painter.drawEllipse(spot, 3, 3)
        painter.setBrush(Qt.BrushStyle.NoBrush)

    def _sparsification(self, painter: QPainter, inner: QRectF) -> None:
        _line(painter, inner, self.curves.get("by_error", []), BEST, Qt.PenStyle.DashLine)
        _line(painter, inner, self.curves.get("by_sd", []), OURS)


def _spots(inner: QRectF, points: Sequence[tuple[float, float]]) -> list[QPointF]:
    """Points of the unit square; values above it are drawn on its upper edge."""
    return [
        QPointF(inner.left() + inner.width() * x, inner.bottom() - inner.height() * min(max(y, 0.0), 1.0))
        for x, y in points
    ]


def _line(
    painter: QPainter,
    inner: QRectF,
    points: Sequence[tuple[float, float]],
    colour: str,
    style: Qt.PenStyle = Qt.PenStyle.SolidLine,
) -> None:
    painter.setPen(QPen(QColor(colour), 1.8, style))
    painter.drawPolyline(QPolygonF(_spots(inner, points)))

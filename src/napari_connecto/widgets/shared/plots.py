"""Small plots of the dock "Adapt to my data", drawn with Qt: an interval bar, a dendrogram, a live curve."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QHelpEvent, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QStyledItemDelegate, QToolTip, QWidget

from napari_connecto.widgets.shared.frame.theme import text_colour
from napari_connecto.widgets.viewer.view import OKABE_ITO

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.domain_map import DomainMap

BAR = Qt.ItemDataRole.UserRole + 1
"""Role of a table cell: (value, low, high, limit, full scale)."""
EMPTY = 60
"""Height in pixels of an empty dendrogram."""
LOSS, SCORE = OKABE_ITO["new"], OKABE_ITO["accepted"]


class IntervalDelegate(QStyledItemDelegate):
    """Draws a value as a dot with its interval and the limit as a dashed line, on a common scale."""

    def paint(self, painter: QPainter | None, option: Any, index: Any) -> None:
        """The default painting, with the bar below the text."""
        super().paint(painter, option, index)
        bar = index.data(BAR)
        if painter is None or bar is None or not all(isfinite(v) for v in bar[:3]):
            return
        value, low, high, limit, scale = bar
        area = QRectF(option.rect).adjusted(5, option.rect.height() - 9, -5, -3)

        def at(v: float) -> float:
            return area.left() + area.width() * min(max(v / scale, 0.0), 1.0)

        middle = area.center().y()
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = QColor(OKABE_ITO["accepted"] if value <= limit else OKABE_ITO["rejected"])
        painter.setPen(QPen(colour, 2))
        painter.drawLine(QPointF(at(low), middle), QPointF(at(high), middle))
        painter.setBrush(colour)
        painter.drawEllipse(QPointF(at(value), middle), 2.5, 2.5)
        if isfinite(limit):
            painter.setPen(QPen(option.palette.text().color(), 1, Qt.PenStyle.DashLine))
            painter.drawLine(QPointF(at(limit), area.top()), QPointF(at(limit), area.bottom()))
        painter.restore()


class Plot(QWidget):
    """A small drawing of fixed height."""

    def __init__(self, height: int, tooltip: str) -> None:
        super().__init__()
        self.setFixedHeight(height)
        self.setMinimumWidth(120)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(tooltip)

    def paintEvent(self, _event: Any) -> None:
        """Draw it."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = painter.font()
        font.setPixelSize(11)
        painter.setFont(font)
        painter.setPen(QPen(self.palette().text().color(), 1))
        self.draw(painter, QRectF(self.rect()).adjusted(2, 2, -2, -2))

    def tip_at(self, _x: float, _y: float) -> str:
        """The tooltip of what is drawn at a position, in pixels; "" for that of the whole plot."""
        return ""

    def event(self, event: QEvent | None) -> bool:
        """Show the tooltip of what is under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            tip = self.tip_at(event.pos().x(), event.pos().y())
            if tip:
                QToolTip.showText(event.globalPos(), tip, self)
                return True
        return super().event(event)

    @abstractmethod
    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Paint into ``area``; each plot defines this. Qt's metaclass leaves no room for `ABC`."""


class Tree(Plot):
    """A dendrogram of domains, root at the left, names at the right; "this volume" is highlighted."""

    def __init__(self) -> None:
        super().__init__(
            EMPTY, "Domains of the library and this volume. Branches joining at the right are similar (root of MMD²)"
        )
        self.names: list[str]
        self._lines: list[tuple[list[float], list[float]]]
        self.clear()

    def clear(self) -> None:
        """Show a hint instead of a dendrogram."""
        self.names, self._lines = [], []
        self.setFixedHeight(EMPTY)
        self.update()

    def show_map(self, found: DomainMap) -> None:
        """Show the dendrogram of this map."""
        from scipy.cluster.hierarchy import dendrogram  # loaded by the ranking already

        tree = dendrogram(found.linkage, labels=list(found.names), no_plot=True)
        self.names = list(tree["ivl"])
        self._lines = list(zip(tree["icoord"], tree["dcoord"], strict=True))
        self.setFixedHeight(8 + 16 * len(self.names))
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """U-shaped links as scipy returns them, rotated by 90 degrees."""
        if not self._lines:
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "The dendrogram appears with the ranking.")
            return
        wide = 8 + max(painter.fontMetrics().horizontalAdvance(name) for name in self.names)
        far = max(max(heights) for _, heights in self._lines) or 1.0
        row, reach = area.height() / len(self.names), area.width() - wide
        for leaves, heights in self._lines:
            spots = [
                QPointF(area.left() + reach * (1 - h / far), area.top() + row * leaf / 10)
                for leaf, h in zip(leaves, heights, strict=True)
            ]
            painter.drawPolyline(QPolygonF(spots))
        for i, name in enumerate(self.names):
            own = name == "this volume"
            painter.setPen(QColor(text_colour(self, "warning")) if own else self.palette().text().color())
            spot = QRectF(area.right() - wide + 4, area.top() + row * i, wide, row)
            painter.drawText(spot, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, name)


class Curve(Plot):
    """Loss (left axis) and, if there is one, score (right axis) over steps, live."""

    def __init__(self) -> None:
        super().__init__(
            110,
            "Training loss (orange) and validation score, which selects the best step (blue)",
        )
        self.clear()

    def clear(self) -> None:
        """Clear the curves."""
        self.loss: list[tuple[int, float]] = []
        self.score: list[tuple[int, float]] = []
        self.total = 1
        self.update()

    def add(self, payloads: Sequence[Any], total: int, done: int = 0) -> None:
        """Points of a fine-tuning: {"step", "loss", "score"}.

        Where a time limit is ahead of the steps, more of ``total`` is ``done`` than steps were made; then fewer are
        expected.
        """
        for point in payloads:
            if isinstance(point, dict) and point.get("loss") is not None:
                step = int(point["step"])
                if self.loss and step <= self.loss[-1][0]:
                    continue  # repeated while the process is busy
                self.loss.append((step, float(point["loss"])))
                score = point.get("score")
                if score is not None and (not self.score or self.score[-1][1] != score):
                    self.score.append((step, float(score)))
        last = self.loss[-1][0] if self.loss else 0
        self.total = max(1, total if done <= last else round(total * last / done))
        self.update()

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Both curves, each on its own scale, with first and last values."""
        inner = area.adjusted(0, 14, 0, -14)
        painter.setPen(QPen(QColor(128, 128, 128, 120), 1))
        painter.drawRect(inner)
        if not self.loss:
            painter.drawText(inner, Qt.AlignmentFlag.AlignCenter, "Loss and score appear here")
            return
        for points, colour, name, side in (
            (_thinned(self.loss), LOSS, "loss", Qt.AlignmentFlag.AlignLeft),
            (self.score, SCORE, "score", Qt.AlignmentFlag.AlignRight),
        ):
            if not points:
                continue
            painter.setPen(QPen(QColor(colour), 1.6))
            values = np.array([v for _, v in points])
            low, high = float(values.min()), float(values.max())
            span = high - low or 1.0
            spots = [
                QPointF(
                    inner.left() + inner.width() * step / self.total, inner.bottom() - inner.height() * (v - low) / span
                )
                for step, v in points
            ]
            painter.drawPolyline(QPolygonF(spots))
            for spot in spots if len(spots) < 30 else spots[-1:]:
                painter.drawEllipse(spot, 1.5, 1.5)
            painter.drawText(area, Qt.AlignmentFlag.AlignTop | side, f"{name} {values[-1]:.3f}")
        painter.setPen(self.palette().text().color())
        text = f"step {self.loss[-1][0]} of {self.total}"
        painter.drawText(area, Qt.AlignmentFlag.AlignBottom | Qt.AlignmentFlag.AlignHCenter, text)


def _thinned(points: list[tuple[int, float]], most: int = 300) -> list[tuple[int, float]]:
    """At most ``most`` points, each the mean of its neighbours."""
    step = -(-len(points) // most)
    return [
        (points[min(i + step, len(points)) - 1][0], float(np.mean([v for _, v in points[i : i + step]])))
        for i in range(0, len(points), step)
    ]

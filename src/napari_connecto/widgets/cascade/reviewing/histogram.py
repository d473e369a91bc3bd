"""The scores of the detections as a histogram, with the threshold to drag."""

from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QPainter, QPen, QPolygonF

from napari_connecto.widgets.shared.painted.ink import FILL, fill, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot
from napari_connecto.widgets.shared.slider import decimals

HEIGHT, BINS = 62, 40
EDGE = 7.0
"""Pixels beside the histogram, so that the handle is whole at both ends."""


class ScoreHistogram(Plot):
    """From the lowest to the highest score; what is below the threshold is grey. Drag it, or use the arrow keys."""

    valueChanged = Signal(float)

    def __init__(self, tooltip: str) -> None:
        super().__init__(HEIGHT, tooltip)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.SplitHCursor)
        self._low, self._high, self._value, self._step = 0.0, 1.0, 0.0, 0.01
        self._scores = np.empty(0)
        self._name()

    def minimum(self) -> float:
        """The lowest score."""
        return self._low

    def maximum(self) -> float:
        """The highest score."""
        return self._high

    def value(self) -> float:
        """The threshold."""
        return self._value

    def singleStep(self) -> float:
        """What an arrow key changes; a hundredth of the range at most."""
        return self._step

    def setValue(self, value: float) -> None:
        """Set the threshold; `valueChanged` is emitted if it changes."""
        value = min(max(float(value), self._low), self._high)
        if value != self._value:
            self._value = value
            self._name()
            self.update()
            self.valueChanged.emit(value)

    def span(self, low: float, high: float) -> None:
        """Set the range; keep the value if it lies within. `valueChanged` is not emitted."""
        self._low, self._high, self._step = low, high, 10.0 ** -decimals(high - low)
        self._value = min(max(self._value, low), high)
        self._name()
        self.update()

    def allow(self, on: bool) -> None:
        """Enable it if there is a choice."""
        self.setEnabled(on and self._high > self._low)

    def show_scores(self, scores: np.ndarray) -> None:
        """Draw the histogram of scores (n,)."""
        self._scores = np.asarray(scores, float)
        self.update()

    def counts(self) -> np.ndarray:
        """Detections per bin, (`BINS`,), from the lowest to the highest score."""
        high = self._high if self._high > self._low else self._low + 1e-9
        return np.histogram(self._scores, BINS, (self._low, high))[0]

    def tip_at(self, x: float, _y: float) -> str:
        """The score under the mouse, and how many are as high."""
        score = self._score_at(x)
        return f"score {score:.3g}: {int((self._scores >= score).sum())} of {len(self._scores)} are as high or higher"

    def mousePressEvent(self, event: Any) -> None:
        """Take the threshold to the mouse."""
        if event.button() == Qt.MouseButton.LeftButton:
            self.setValue(self._score_at(event.pos().x()))

    def mouseMoveEvent(self, event: Any) -> None:
        """Drag it."""
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.setValue(self._score_at(event.pos().x()))

    def keyPressEvent(self, event: Any) -> None:
        """Arrow keys move it by a step, Page Up and Down by ten, Home and End to the ends."""
        key, keys = event.key(), Qt.Key
        steps = {keys.Key_Left: -1, keys.Key_Down: -1, keys.Key_Right: 1, keys.Key_Up: 1}
        steps |= {keys.Key_PageDown: -10, keys.Key_PageUp: 10, keys.Key_Home: -(10**9), keys.Key_End: 10**9}
        if key not in steps:
            super().keyPressEvent(event)
            return
        self.setValue(self._value + steps[key] * self._step)

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Bars, the threshold with its handle, and its value."""
        bars = area.adjusted(EDGE, 14, -EDGE, -8)
        counts = self.counts()
        wide, most = bars.width() / BINS, max(1, int(counts.max(initial=0)))
        at = bars.left() + bars.width() * self._share(self._value)
        painter.setPen(QPen(track_of(self, 140), 1))
        painter.drawLine(bars.bottomLeft(), bars.bottomRight())
        for n, count in enumerate(counts):
            if count:
                tall = max(3.0, bars.height() * (count / most) ** 0.5)  # one is seen beside many
                bar = QRectF(bars.left() + n * wide, bars.bottom() - tall, max(1.0, wide - 1), tall)
                fill(painter, bar, FILL if bar.right() >= at and self.isEnabled() else track_of(self, 110))
        ink = text_of(self)
        painter.setPen(QPen(ink, 2 if self.hasFocus() else 1.2))
        painter.drawLine(QPointF(at, bars.top() - 1), QPointF(at, bars.bottom()))
        painter.setBrush(ink)
        y = bars.bottom()
        painter.drawPolygon(QPolygonF([QPointF(at, y), QPointF(at - 5, y + 7), QPointF(at + 5, y + 7)]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        text = f"score ≥ {self._value:.3g}"
        left = min(max(area.left(), at - 30), area.right() - painter.fontMetrics().horizontalAdvance(text))
        painter.drawText(QPointF(left, area.top() + 10), text)

    def _share(self, score: float) -> float:
        return (score - self._low) / (self._high - self._low) if self._high > self._low else 0.0

    def _score_at(self, x: float) -> float:
        share = (x - 2 - EDGE) / max(1.0, self.width() - 4 - 2 * EDGE)
        return self._low + (self._high - self._low) * min(max(share, 0.0), 1.0)

    def _name(self) -> None:
        self.setAccessibleName(f"Minimum score: {self._value:.3g}")

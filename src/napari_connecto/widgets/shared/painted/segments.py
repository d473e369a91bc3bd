"""The progress of a whole job in one bar: a segment for each phase, as wide as the work expected of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from qtpy.QtCore import QEvent, QRectF, QSize, Qt, QTimer
from qtpy.QtGui import QHelpEvent, QPainter
from qtpy.QtWidgets import QProgressBar, QSizePolicy, QToolTip

from napari_connecto.core.amounts import share_text
from napari_connecto.widgets.shared.painted.ink import FILL, fill, text_of, track_of

HEIGHT, THICK = 18, 10.0
"""Pixels of the widget, and of the bar in it."""
GAP = 2.0
"""Pixels between segments, which are at least as wide."""
TURN_S, TICK_MS = 3.0, 250
"""Period of a bar without a known end, s, and time between its pictures, ms; Qt draws the whole window for each."""


class SegmentBar(QProgressBar):
    """A progress bar of weighted segments; per cent and time left stand beside it. Hover for the name of a phase."""

    def __init__(self) -> None:
        super().__init__()
        self.segments: tuple[tuple[str, float], ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._tick = QTimer(self)
        self._tick.setInterval(TICK_MS)
        self._tick.timeout.connect(self._on_tick)

    def show_segments(self, segments: Sequence[tuple[str, float]]) -> None:
        """Names and shares (together 1) of the phases; one segment if empty."""
        self.segments = tuple(segments)
        self.update()

    def sizeHint(self) -> QSize:
        """One thin line."""
        return QSize(120, HEIGHT)

    def minimumSizeHint(self) -> QSize:
        """As `sizeHint`."""
        return self.sizeHint()

    def showEvent(self, event: Any) -> None:
        """Move while no end is known."""
        super().showEvent(event)
        self._tick.start()

    def hideEvent(self, event: Any) -> None:
        """Stop the animation."""
        self._tick.stop()
        super().hideEvent(event)

    @property
    def share(self) -> float | None:
        """What is done, in 0..1; None if unknown."""
        return self.value() / self.maximum() if self.maximum() > 0 else None

    def spans(self, width: float) -> list[tuple[str, float, float]]:
        """Name, left and right end in pixels of each segment of a bar of this width."""
        total = sum(share for _, share in self.segments) or 1.0
        spans, at = [], 0.0
        for name, share in self.segments or (("", 1.0),):
            spans.append((name, width * at, width * (at + share / total)))
            at += share / total
        return spans

    def paintEvent(self, _event: Any) -> None:
        """Track, fill, and the text at the right."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        text = self.text() if self.share is not None else ""
        metrics = painter.fontMetrics()
        beside = metrics.horizontalAdvance(text) + 8 if text else 0
        width, top = max(40.0, self.width() - beside - 1.0), (self.height() - THICK) / 2
        if text:
            painter.setPen(text_of(self))
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(QRectF(width, 0, self.width() - width, self.height()), flags, text)
        if self.share is None:
            turn = abs(1 - 2 * (time.monotonic() / TURN_S % 1))
            fill(painter, QRectF(0, top, width, THICK), track_of(self))
            fill(painter, QRectF(turn * 0.75 * width, top, 0.25 * width, THICK), FILL)
            return
        for _, low, high in self.spans(width):
            high = max(low + 1.0, high - GAP)
            fill(painter, QRectF(low, top, high - low, THICK), track_of(self))
            fill(painter, QRectF(low, top, min(high, self.share * width) - low, THICK), FILL)

    def event(self, event: QEvent | None) -> bool:
        """The tooltip names the phase under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip and self.segments:
            beside = self.fontMetrics().horizontalAdvance(self.text()) + 8 if self.share is not None else 0
            QToolTip.showText(event.globalPos(), self.tip_at(event.pos().x() / max(1, self.width() - beside)), self)
            return True
        return super().event(event)

    def tip_at(self, share: float) -> str:
        """What is said of the phase at this share of the bar's width."""
        for name, low, high in self.spans(1.0):
            if name and low <= share <= high:
                return f"{name}: {share_text(high - low)} of the expected work"
        return str(self.toolTip())

    def _on_tick(self) -> None:
        if self.share is None:
            self.update()

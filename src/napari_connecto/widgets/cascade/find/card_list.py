"""The detectors as cards: a thumbnail, a name, and a coloured sign of whether it fits the chosen image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPainter, QPen, QPixmap, QRadialGradient
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem, QSizePolicy

from napari_connecto.core.volume import Volume
from napari_connecto.widgets.cascade.find.cards import Card, Fit, fit
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, GOOD

WIDE, HIGH = 84, 52
"""Pixels of a thumbnail."""
CELL = QSize(104, 76)
ROWS = 2
"""Rows of cards that are shown at once; the others are scrolled to."""
SIGNS = {"fits": ("✓", GOOD), "computed": ("≈", FAIR), "no": ("✕", BAD)}
"""Sign and colour of each match; the words are in the tooltip."""


class CardList(QListWidget):
    """One card per detector. ``picked(str)`` is emitted with the name that the user chooses."""

    picked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setIconSize(QSize(WIDE, HIGH))
        self.setGridSize(CELL)
        self.setUniformItemSizes(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setToolTip("Detectors to choose from; ✓ fits this image, ≈ reads a computed level, ✕ needs finer voxels")
        self.setAccessibleName("Detectors")
        self._cards: Mapping[str, Card] = {}
        self._names: list[str] = []
        self._about: dict[str, str] = {}
        self.itemClicked.connect(self._on_picked)
        self.itemActivated.connect(self._on_picked)

    def show_cards(self, about: dict[str, str], cards: Mapping[str, Card], volume: Volume | None, chosen: str) -> None:
        """List detectors by name, with what is said of each; ``cards`` of those that are known."""
        self.blockSignals(True)
        self.clear()
        self._names = list(about)
        for name, line in about.items():
            card = cards.get(name)
            match = None if card is None else fit(card.about, volume)
            item = QListWidgetItem(QIcon(_thumbnail(name, card, match)), card.about.name if card else _short(name))
            said = [name, *([card.about.line] if card else [line]), *([f"This image: {match.line}."] if match else [])]
            item.setToolTip("<br>".join(filter(None, said)))
            self.addItem(item)
        self.blockSignals(False)
        self.choose(chosen)
        self._fit_height()

    def choose(self, name: str) -> None:
        """Mark the chosen one."""
        self.blockSignals(True)
        if name in self._names:
            self.setCurrentRow(self._names.index(name))
        else:
            self.setCurrentRow(-1)
        self.blockSignals(False)

    def resizeEvent(self, event: Any) -> None:
        """As many rows as there are, up to the most that are shown."""
        super().resizeEvent(event)
        self._fit_height()

    def _fit_height(self) -> None:
        across = max(1, (self.width() - 20) // CELL.width())
        rows = min(ROWS, max(1, -(-self.count() // across)))
        self.setFixedHeight(rows * CELL.height() + 6)

    def _on_picked(self, item: QListWidgetItem) -> None:
        self.picked.emit(self._names[self.row(item)])


def _short(name: str) -> str:
    """A detector's name without the remark in brackets, and the first of alternatives, which fit below a thumbnail."""
    return name.split(" (")[0].split(" or ")[0].rstrip("…") + ("…" if name.endswith("…") else "")


def _thumbnail(name: str, card: Card | None, match: Fit | None) -> QPixmap:
    """The picture, else a drawing of what is found, with the sign of the match in a corner."""
    picture = QPixmap(WIDE, HIGH)
    picture.fill(QColor("#3a3d46"))
    painter = QPainter(picture)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if card is not None and card.picture is not None:
        _draw_image(painter, card.picture)
    else:
        _draw_sign(painter, name, card)
    if match is not None and match.match in SIGNS:
        sign, colour = SIGNS[match.match]
        spot = QRectF(WIDE - 18, 2, 16, 16)
        painter.setPen(QPen(QColor("white"), 1))
        painter.setBrush(QColor(colour))
        painter.drawEllipse(spot)
        painter.setPen(QColor("black"))
        painter.drawText(spot, Qt.AlignmentFlag.AlignCenter, sign)
    painter.end()
    return picture


def _draw_image(painter: QPainter, crop: np.ndarray) -> None:
    """A grey crop (y, x), over the whole thumbnail."""
    high, wide = crop.shape
    image = QImage(np.ascontiguousarray(crop).tobytes(), wide, high, wide, QImage.Format.Format_Grayscale8)
    kept = high * WIDE // max(1, WIDE) * HIGH // WIDE
    painter.drawImage(QRectF(0, 0, WIDE, HIGH), image, QRectF(0, (high - kept) / 2, wide, kept))


def _draw_sign(painter: QPainter, name: str, card: Card | None) -> None:
    """Outlines for masks, dots for centres; without a card soft spots for blobs, a box for a package, else cells."""
    painter.setPen(QPen(QColor("#d0d3da"), 2))
    middle = QPointF(WIDE / 2, HIGH / 2)
    if card is None and name.startswith("Blobs"):
        _draw_blobs(painter, middle)
        return
    if card is None and name.endswith("…"):
        painter.drawRoundedRect(QRectF(middle.x() - 14, middle.y() - 12, 28, 24), 4, 4)
        painter.drawLine(QPointF(middle.x() - 14, middle.y() - 4), QPointF(middle.x() + 14, middle.y() - 4))
        return
    if card is None:
        _draw_cells(painter, middle)
        return
    for x, y, radius in ((-18, 4, 7), (2, -8, 6), (18, 8, 8)):
        spot = QPointF(middle.x() + x, middle.y() + y)
        if card.about.head == "masks":
            painter.drawEllipse(spot, radius * 1.3, radius * 0.8)
        else:
            painter.setBrush(QColor("#d0d3da"))
            painter.drawEllipse(spot, radius * 0.6, radius * 0.6)
            painter.setBrush(Qt.BrushStyle.NoBrush)


def _draw_blobs(painter: QPainter, middle: QPointF) -> None:
    """Bright spots that fade out, each of another size."""
    painter.setPen(Qt.PenStyle.NoPen)
    for x, y, radius in ((-24, 6, 10), (-2, -8, 14), (24, 8, 12)):
        spot = QPointF(middle.x() + x, middle.y() + y)
        light = QRadialGradient(spot, radius)
        light.setColorAt(0.0, QColor("white"))
        light.setColorAt(1.0, QColor("#3a3d46"))
        painter.setBrush(light)
        painter.drawEllipse(spot, radius, radius)


def _draw_cells(painter: QPainter, middle: QPointF) -> None:
    """Touching cells, each filled in another grey, with a nucleus."""
    for x, y, wide, grey in ((-22, -3, 15, "#6c7280"), (4, 5, 15, "#565b68"), (27, -5, 12, "#7d8493")):
        cell = QPointF(middle.x() + x, middle.y() + y)
        painter.setBrush(QColor(grey))
        painter.drawEllipse(cell, wide, wide * 0.85)
        painter.setBrush(QColor("#d0d3da"))
        painter.drawEllipse(cell, 2.5, 2.5)

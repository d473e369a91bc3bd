"""How the gallery draws a patch: thumbnail, number, state, and a lock if it is held out."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPen
from qtpy.QtWidgets import QStyle, QStyledItemDelegate

from napari_connecto.widgets.viewer.view import OKABE_ITO

SIDE, ROOM = 62, 6
STATE, LOCKED, OPEN = (Qt.ItemDataRole.UserRole + n for n in (2, 3, 4))
"""Roles of an item: status, whether it is held out, and whether it is open."""
COLOURS = {"waiting": OKABE_ITO["new"], "committed": OKABE_ITO["accepted"], "skipped": "#999999"}
MARKS = {"waiting": "", "committed": "✓", "skipped": "✗"}


class TileDelegate(QStyledItemDelegate):
    """Draws one patch as a square; its text is left to tooltips and screen readers."""

    def sizeHint(self, _option: Any, _index: Any) -> QSize:
        """A square with room around it."""
        return QSize(SIDE + ROOM, SIDE + ROOM)

    def paint(self, painter: QPainter | None, option: Any, index: Any) -> None:
        """The thumbnail in a frame of the colour of its state; thick if it is open, white if it is selected."""
        if painter is None:
            return
        area = QRectF(option.rect).adjusted(3, 3, -3, -3)
        status = index.data(STATE) or "waiting"
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        icon = index.data(Qt.ItemDataRole.DecorationRole)
        if icon is not None:
            painter.setOpacity(0.4 if status == "skipped" else 1.0)
            painter.drawPixmap(area.toRect(), icon.pixmap(SIDE, SIDE))
            painter.setOpacity(1.0)
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        painter.setPen(QPen(QColor("white" if selected else COLOURS[status]), 4 if index.data(OPEN) else 2))
        painter.drawRect(area)
        number = str(index.data(Qt.ItemDataRole.UserRole))
        _label(painter, QRectF(area.left() + 2, area.top() + 2, 10 + 7 * len(number), 15), number)
        if MARKS[status]:
            _label(painter, QRectF(area.right() - 19, area.bottom() - 17, 17, 15), MARKS[status])
        if index.data(LOCKED):
            _lock(painter, area.right() - 16, area.top() + 3)
        painter.restore()


def _label(painter: QPainter, area: QRectF, text: str) -> None:
    """A few letters on a dark ground."""
    painter.fillRect(area, QColor(0, 0, 0, 170))
    painter.setPen(QColor("white"))
    painter.drawText(area, Qt.AlignmentFlag.AlignCenter, text)


def _lock(painter: QPainter, x: float, y: float) -> None:
    """A padlock, 13 pixels wide; fonts need not have one."""
    painter.fillRect(QRectF(x - 2, y - 1, 17, 19), QColor(0, 0, 0, 170))
    painter.setPen(QPen(QColor("white"), 2))
    painter.drawArc(QRectF(x + 3, y + 1, 7, 10), 0, 180 * 16)
    painter.fillRect(QRectF(x, y + 6, 13, 10), QColor("white"))
    painter.setPen(QPen(QColor("black"), 2))
    painter.drawPoint(QPointF(x + 6.5, y + 11))

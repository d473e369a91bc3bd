"""The chosen image in one line: thumbnail, name, shape and voxel size. A click unfolds how it is chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QRectF, QSize, Qt
from qtpy.QtGui import QFont, QImage, QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QAbstractButton, QFormLayout, QSizePolicy, QVBoxLayout, QWidget

from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.painted.ink import fill, text_of, track_of

HEIGHT, SIDE = 40, 32
"""Pixels of the line, and of napari's thumbnails."""
NO_IMAGE = "No image: open one, or drag a file here"


def size_text(volume: Volume, index: int) -> str:
    """A level's shape and voxel size in one line: "level 0 · 64 × 512 × 512 · 2 × 1 × 1 µm"."""
    level = volume.levels[index]
    shape = " × ".join(f"{n}" for n in level.shape)
    return f"level {index} · {shape} · {voxel_text(level.voxel_nm, calibrated=volume.calibrated)}"


def voxel_text(voxel_nm: tuple[float, ...], *, calibrated: bool) -> str:
    """A voxel size with its unit; "pixels" without a known size."""
    if not calibrated:
        return "pixels"
    small = min(voxel_nm) < 1000
    return " × ".join(f"{v if small else v / 1000:.4g}" for v in voxel_nm) + (" nm" if small else " µm")


class ImageLine(QAbstractButton):
    """A button with the chosen image on it; checked while what it unfolds is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.setCheckable(True)
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setToolTip("The image to work on: click to choose the layer, the level, or the voxel size")
        self.about = ""
        self._layer: Layer | None = None
        self._picture: QImage | None = None
        self.show_image(None, "")

    def sizeHint(self) -> QSize:
        """As wide as there is room."""
        return QSize(160, HEIGHT)

    def show_image(self, layer: Layer | None, about: str) -> None:
        """Show a layer's name, its thumbnail, and a line about it."""
        if layer is not self._layer:
            self.release()
            self._layer = layer
            if layer is not None:
                layer.events.thumbnail.connect(self._on_thumbnail)
                layer.events.name.connect(self._on_thumbnail)
        self.about = about
        self._on_thumbnail()

    def release(self) -> None:
        """Stop following the layer."""
        if self._layer is not None:
            self._layer.events.thumbnail.disconnect(self._on_thumbnail)
            self._layer.events.name.disconnect(self._on_thumbnail)
        self._layer = None

    def _on_thumbnail(self, _event: Any = None) -> None:
        self.setText(NO_IMAGE if self._layer is None else self._layer.name)
        self.setAccessibleName(f"Image: {self.text()}, {self.about}")
        self._picture = None
        if self._layer is not None:
            rgba = np.ascontiguousarray(self._layer.thumbnail, dtype=np.uint8)
            height, width = rgba.shape[:2]
            self._picture = QImage(rgba.tobytes(), width, height, 4 * width, QImage.Format.Format_RGBA8888).copy()
        self.update()

    def paintEvent(self, _event: Any) -> None:
        """Thumbnail, two lines of text, and an arrow."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area, ink = QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), text_of(self)
        fill(painter, area, track_of(self, 45 if self.underMouse() else 25))
        if self.hasFocus():
            painter.setPen(QPen(ink, 1, Qt.PenStyle.DotLine))
            painter.drawRect(area)
        left = area.left() + 4
        if self._picture is not None:
            painter.drawImage(QRectF(left, area.center().y() - SIDE / 2, SIDE, SIDE), self._picture)
            left += SIDE + 8
        self._write(painter, QRectF(left, area.top(), area.right() - left - 20, area.height()))
        x, y, down = area.right() - 11, area.center().y(), self.isChecked()
        shape = ((-4, -2), (4, -2), (0, 3)) if down else ((-2, -4), (3, 0), (-2, 4))
        painter.setPen(QPen(ink, 0))
        painter.setBrush(ink)
        painter.drawPolygon(QPolygonF([QRectF(x + a, y + b, 0, 0).topLeft() for a, b in shape]))

    def _write(self, painter: QPainter, area: QRectF) -> None:
        """Name above, what is known of it below; each is elided if there is too little room."""
        painter.setPen(QPen(text_of(self), 1))
        half = area.height() / 2 if self.about else area.height()
        bold = QFont(painter.font())
        bold.setBold(True)
        for n, (text, font) in enumerate(((self.text(), bold), (self.about, self.font()))):
            painter.setFont(font)
            short = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, int(area.width()))
            where = QRectF(area.left(), area.top() + n * half, area.width(), half)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, short)
        painter.setFont(self.font())


class ImageFold(QWidget):
    """The line, and the form that it unfolds: by a click, or by itself where something is to be entered or mended."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.body = ImageLine(), QWidget()
        self._needed = False
        self.layout_ = QFormLayout(self.body)
        self.layout_.setContentsMargins(8, 4, 8, 6)
        self.layout_.setVerticalSpacing(4)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(self.line)
        self._column.addWidget(self.body)
        self.body.hide()
        self.line.toggled.connect(self.body.setVisible)

    def offer(self, button: QWidget) -> None:
        """Put a button below the line, whether or not the form is unfolded."""
        self._column.insertWidget(1, button)

    def need(self, on: bool) -> None:
        """Unfold because the form is needed; fold it again when that is over."""
        if on or self._needed:
            self.line.setChecked(on)
        self._needed = on

    def describe(self, layer: Layer | None, volume: Volume | None, level: int, failed: bool) -> None:
        """Show the chosen layer, the volume that it was opened as (None: not yet, or ``failed``), and its level."""
        about = size_text(volume, level) if volume is not None else "cannot be opened" if failed else "opening…"
        self.line.show_image(layer, about if layer is not None else "")

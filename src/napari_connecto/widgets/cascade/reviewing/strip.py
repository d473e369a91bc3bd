"""Pictures of the current detection and the next undecided ones, side by side."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QSize, Signal
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QHBoxLayout, QSizePolicy, QToolButton, QWidget

from napari_connecto.widgets.cascade.markers import COLOURS
from napari_connecto.widgets.cascade.reviewing.crops import crops_job
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.workflows.cascade.verdicts import NEW

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_connecto.core.volume import Volume
    from napari_connecto.widgets.cascade.review import Review

SHOWN, SIDE = 5, 62
KEPT = 200
"""Crops in memory."""


class CropStrip(QWidget):
    """The current detection first, then the next undecided ones; a click goes there.

    Crops are read off the GUI thread; those of another image, or of places that are no longer shown, are dropped.
    ``chosen`` is emitted with the index of a detection.
    """

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._worker = Worker("crops", self, quiet=True)
        self._worker.reported.connect(self._on_read)
        self._crops: OrderedDict[tuple[float, ...], np.ndarray] = OrderedDict()
        self._volume: Volume | None = None
        self._image: Layer | None = None
        self._diameter_nm = 0.0
        self._rows: list[tuple[int, tuple[float, ...]]] = []
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.buttons = [QToolButton() for _ in range(SHOWN)]
        for i, button in enumerate(self.buttons):
            button.setIconSize(QSize(SIDE, SIDE))
            button.setFixedHeight(SIDE + 8)
            button.setMinimumWidth(SIDE // 2)
            button.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
            button.clicked.connect(partial(self._on_clicked, i))
            layout.addWidget(button)

    def use(self, volume: Volume, image: Layer, diameter_nm: float) -> None:
        """Read crops of this volume from now on, and show them like the layer."""
        if volume is not self._volume:
            self._worker.cancel()  # its answers are of another volume
            self._crops.clear()
        if image is not self._image:
            self._release()
            self._image = image
            for event in self._events():
                event.connect(self._paint)
        self._volume, self._diameter_nm = volume, diameter_nm

    def show_review(self, review: Review) -> None:
        """Show the current detection and the next undecided ones."""
        order = review.undecided(SHOWN)
        if review.current >= 0:
            order = np.concatenate([[review.current], order[order != review.current]])[:SHOWN]
        centres = review.found.centre_nm[order]
        self._rows = [(int(i), tuple(c)) for i, c in zip(order, centres.tolist(), strict=True)]
        for button, i in zip(self.buttons, order, strict=False):
            status = str(review.status[i])
            width = 2 if i == review.current else 1
            colour = COLOURS[status] if i == review.current or status != NEW else "transparent"
            button.setStyleSheet(f"QToolButton {{ border: {width}px solid {colour}; padding: 0px; }}")
            tags = f", {review.said.tags[i]}" if review.said.tags[i] else ""
            button.setToolTip(f"Detection {review.found.id[i]}, score {review.found.score[i]:.2f}, {status}{tags}")
        self._paint()
        missing = [k for k, (_, place) in enumerate(self._rows) if place not in self._crops]
        if missing and self._volume is not None:
            volume, diameter_nm = self._volume, self._diameter_nm
            wanted = np.array([self._rows[k][1] for k in missing])
            keys = [self._rows[k][1] for k in missing]
            self._worker.start(lambda: crops_job(volume, wanted, keys, diameter_nm), abandon=True)

    def clear(self) -> None:
        """Nothing is reviewed."""
        self._rows = []
        self._paint()

    def close_jobs(self) -> None:
        """Stop reading."""
        self._worker.close()
        self._release()

    def _release(self) -> None:
        for event in self._events():
            event.disconnect(self._paint)
        self._image = None

    def _events(self) -> list[Any]:
        events = getattr(self._image, "events", None)
        return [getattr(events, name) for name in ("contrast_limits", "colormap", "gamma") if hasattr(events, name)]

    def _on_clicked(self, position: int) -> None:
        if position < len(self._rows):
            self.chosen.emit(self._rows[position][0])

    def _on_read(self, _progress: Any, crops: list[tuple[tuple[float, ...], np.ndarray]]) -> None:
        self._crops.update(crops)
        while len(self._crops) > KEPT:
            self._crops.popitem(last=False)
        self._paint()

    def _paint(self, _event: Any = None) -> None:
        for i, button in enumerate(self.buttons):
            here = self._rows[i] if i < len(self._rows) else None
            crop = None if here is None else self._crops.get(here[1])
            button.setEnabled(here is not None)
            button.setIcon(QIcon() if crop is None else _icon(coloured(crop, self._image)))
            if here is None:
                button.setStyleSheet("QToolButton { border: none; }")
                button.setToolTip("")


def coloured(crop: np.ndarray, image: Any) -> np.ndarray:
    """A crop, (y, x) or (y, x, channel), in the contrast and colours of an image layer: (y, x, 3) uint8."""
    if getattr(image, "rgb", False) and crop.ndim == 3:
        return np.ascontiguousarray(crop[..., :3]).astype(np.uint8)
    plane = (crop if crop.ndim == 2 else crop[..., 0]).astype(np.float32)
    low, high = image.contrast_limits
    share = np.clip((plane - low) / max(high - low, 1e-12), 0, 1) ** float(image.gamma)
    rgba = image.colormap.map(np.nan_to_num(share).ravel())
    return np.asarray(np.rint(rgba[:, :3] * 255).astype(np.uint8).reshape(*plane.shape, 3))


def _icon(rgb: np.ndarray) -> QIcon:
    height, width = rgb.shape[:2]
    picture = QImage(np.ascontiguousarray(rgb).tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
    icon, pixmap = QIcon(), QPixmap.fromImage(picture.copy()).scaled(SIDE, SIDE)
    icon.addPixmap(pixmap)
    return icon

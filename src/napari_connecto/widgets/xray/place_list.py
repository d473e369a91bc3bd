"""The list of uncertain places: each a strip of three small pictures with the reason beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_connecto.widgets.xray.crops import SIDE

SHOWN, GAP = 54, 3
"""Pixels of a picture's side on screen, and between pictures."""


class PlaceList(QListWidget):
    """One row per place: X-ray | EM-like | uncertainty, then what may be wrong. A click selects a row."""

    def __init__(self, height: int = 190) -> None:
        super().__init__()
        self.setToolTip(
            "Where membranes are most uncertain, worst first: X-ray, EM-like image and uncertainty of the same section."
            "\nClick a row, or press N and P, to go there."
        )
        self.setWordWrap(True)
        self.setFixedHeight(height)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setIconSize(QSize(3 * SHOWN + 2 * GAP, SHOWN))

    def show_places(self, places: Sequence[Any], crops: Sequence[np.ndarray]) -> None:
        """List places with ``reason`` and ``centre_nm``; ``crops`` (3, y, x) uint8 may be fewer or none."""
        self.blockSignals(True)
        self.clear()
        for i, place in enumerate(places):
            row = QListWidgetItem(f"{i + 1}. {place.reason}")
            if i < len(crops):
                row.setIcon(QIcon(pixmap(crops[i])))
                row.setSizeHint(QSize(0, SHOWN + 6))
            at = ", ".join(f"{nm / 1000:.2f}" for nm in place.centre_nm)
            row.setToolTip(f"{place.reason}\nz, y, x {at} µm")
            self.addItem(row)
        self.setCurrentRow(-1)
        self.blockSignals(False)


def pixmap(crop: np.ndarray, coloured: int = 2, height: int = SHOWN) -> QPixmap:
    """Pictures (n, y, x) uint8 side by side; the one at ``coloured`` from black over red to yellow."""
    parts = []
    for k, grey in enumerate(crop):
        rgb = np.repeat(grey[..., None], 3, axis=2)
        if k == coloured:
            rgb = (ensure_colormap("inferno").map(grey.ravel() / 255)[:, :3] * 255).astype(np.uint8).reshape(rgb.shape)
        parts += [rgb, np.full((SIDE, round(GAP * SIDE / SHOWN), 3), 128, np.uint8)]
    image = np.ascontiguousarray(np.concatenate(parts[:-1], axis=1))
    rows, width = image.shape[:2]
    shown = QImage(image.tobytes(), width, rows, 3 * width, QImage.Format.Format_RGB888)
    mode = Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(shown).scaledToHeight(height, mode)

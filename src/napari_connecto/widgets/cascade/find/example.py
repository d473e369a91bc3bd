"""One drawn object, from which a detector's diameter follows."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Layer, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.widgets.cascade.training.labels import LOOKED_AT
from napari_connecto.widgets.viewer.show import placed_on, to_nm
from napari_connecto.widgets.viewer.view import LayerCombo

NAME = "one object"


class ExampleRow(QWidget):
    """Draws an ellipse around one object, or takes a shape or a label that is there. ``drawn`` is emitted with a new
    diameter to read, see `diameter`."""

    drawn = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._watched: Layer | None = None
        self.layers = LayerCombo(
            viewer,
            (Shapes, Labels),
            "Where one object is drawn: the last shape of a Shapes layer, or the selected label of a Labels layer",
            none="none",
        )
        self.draw = QPushButton("Draw one object")
        self.draw.setToolTip("Draw an ellipse around a typical object; its size is the diameter")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("Example"))
        layout.addWidget(self.layers, 1)
        layout.addWidget(self.draw)
        self.layers.chosen.connect(self._on_chosen)

    def draw_on(self, image: Layer | None) -> None:
        """Add a Shapes layer on an image, in which a drag draws an ellipse."""
        if image is None:
            return
        layer = self._viewer.add_shapes(
            ndim=min(image.ndim, 3), name=NAME, edge_color="#56b4e9", face_color="transparent", **placed_on(image)
        )
        layer.mode = "add_ellipse"
        self.layers.choose(layer)

    def diameter(self, image: Layer, level: Level) -> float | None:
        """Diameter of the example in nm; None if there is none. ``level`` is the image layer's level 0.

        Raises
        ------
        InputError
            If the labels are too many to count at once.
        """
        layer = self.layers.layer
        return None if layer is None else diameter_of(layer, image, level)

    def release(self) -> None:
        """Stop following layers."""
        self._watch(None)
        self.layers.release()

    def _on_chosen(self) -> None:
        self._watch(self.layers.layer)
        self.drawn.emit()

    def _watch(self, layer: Layer | None) -> None:
        for watched, connect in ((self._watched, False), (layer, True)):
            for name in ("set_data", "selected_label"):
                emitter = getattr(watched.events, name, None) if watched is not None else None
                if emitter is not None:
                    (emitter.connect if connect else emitter.disconnect)(self._on_drawn)
        self._watched = layer

    def _on_drawn(self, _event: Any = None) -> None:
        self.drawn.emit()


def diameter_of(layer: Layer, image: Layer, level: Level) -> float | None:
    """Diameter in nm of the last shape (the geometric mean of its sides) or of the selected label; None without one."""
    if isinstance(layer, Shapes):
        if not len(layer.data):
            return None
        corners = to_nm(layer.data[-1], layer, image, level)
        sides = np.sort(corners.max(axis=0) - corners.min(axis=0))[-2:]
        return float(np.sqrt(np.prod(sides))) or None
    if not isinstance(layer.data, np.ndarray) or layer.data.size > LOOKED_AT:
        raise InputError(f"layer '{layer.name}' is too large to measure one label; draw one object instead")
    there = layer.data == layer.selected_label
    count = int(np.count_nonzero(there)) if layer.selected_label else 0
    zero = np.zeros(layer.ndim)
    step = np.abs(np.subtract(*to_nm(np.stack([zero, zero + 1]), layer, image, level)))
    if layer.ndim == 2 or np.count_nonzero(there.any(axis=tuple(range(1, layer.ndim)))) == 1:
        return float(2 * np.sqrt(count * step[1] * step[2] / np.pi)) or None
    return float(np.cbrt(6 * count * np.prod(step) / np.pi)) or None

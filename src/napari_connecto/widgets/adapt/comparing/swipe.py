"""Before and after in one image, with a border that a slider moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSlider, QWidget

from napari_connecto.widgets.adapt.layers import Canvas, View

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_connecto.widgets.adapt.jobs import Picture

MAPS, SEGMENTS = "Boundaries", "Segments"
STEPS = 100


def swiped(before: np.ndarray, after: np.ndarray, share: float) -> np.ndarray:
    """Left of the border ``after``, right of it ``before``, of one shape (z, y, x).

    ``share`` of the width belongs to ``after``, rounded to whole voxels: 0 shows ``before`` alone, 1 ``after`` alone.
    """
    column = round(share * before.shape[2])
    out = np.array(before)
    out[:, :, :column] = after[:, :, :column]
    return out


class Swipe(QWidget):
    """A slider between the new model's answer, at its left, and the old one's. ``moved`` is emitted by the user's hand.

    Its layers are the patch, the composed answer and the border; other layers are hidden meanwhile.
    """

    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.what, self.slider = QComboBox(), QSlider(Qt.Orientation.Horizontal)
        self.what.addItems([SEGMENTS, MAPS])
        self.what.setToolTip("What is compared: segments, or boundary maps")
        self.slider.setRange(0, STEPS)
        self.slider.setValue(STEPS // 2)
        self.slider.setToolTip("Move the border: the new model left of it, the old one right of it")
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for part in (QLabel("new"), self.slider, QLabel("old"), self.what):
            row.addWidget(part, int(part is self.slider))
        self._rows: Sequence[Sequence[Picture | None]] = ()
        self._canvas: Canvas | None = None
        self._layers: list[Any] = []
        self._hidden: list[Any] = []
        self._view: View | None = None
        self.slider.valueChanged.connect(lambda _: self._on_moved())
        self.what.currentTextChanged.connect(lambda _: self._on_moved())

    @property
    def layers(self) -> list[Any]:
        """Those it has added: the patch, the composed answer, the border."""
        return list(self._layers)

    def take(self, rows: Sequence[Sequence[Picture | None]]) -> None:
        """The pictures of a patch, as `compared_job` makes them: image, map before, map after; then segments."""
        self.clear()
        self._rows = rows
        self.setEnabled(bool(rows))

    def show_on(self, canvas: Canvas) -> None:
        """Compose at the position of the patch."""
        if not self._rows:
            return
        if self._layers and all(layer in canvas.viewer.layers for layer in self._layers):
            self._compose()
            return
        self.clear()
        viewer, image = canvas.viewer, self._rows[0][0]
        assert image is not None
        self._canvas, self._view = canvas, canvas.view()
        self._hidden = [layer for layer in viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        array = np.asarray(image.level.array)
        low, high = (float(v) for v in np.percentile(array, [0.5, 99.5]))
        limits = (low, high if high > low else low + 1)
        self._layers.append(canvas.add("add_image", array, image.level, name="patch", contrast_limits=limits))
        self._compose()
        canvas.look_at(self._layers[0], array.shape)

    def clear(self) -> None:
        """Remove its layers, and show the hidden ones again."""
        canvas = self._canvas
        if canvas is not None and self._layers:
            canvas.remove(self._layers)
            for layer in self._hidden:
                if layer in canvas.viewer.layers:
                    layer.visible = True
            if self._view is not None:
                canvas.go_back(self._view)
        self._layers, self._hidden, self._canvas = [], [], None

    def _on_moved(self) -> None:
        if self._rows:
            self.moved.emit()

    def _compose(self) -> None:
        """The answers as they are now wanted; the layer is kept while its kind stays."""
        canvas, share = self._canvas, self.slider.value() / STEPS
        if canvas is None:
            return
        maps = self.what.currentText() == MAPS
        _, before, after = self._rows[0 if maps else 1]
        assert before is not None
        assert after is not None
        old, new = (np.asarray(one.level.array) for one in (before, after))
        made = swiped(old, new, share) if maps else swiped(old.astype(np.uint32), new.astype(np.uint32), share)
        border = _border(made.shape, round(share * made.shape[2]))
        name = "new | old"
        if len(self._layers) == 3 and self._layers[1].metadata.get("maps") == maps:
            self._layers[1].data = made
            self._layers[2].data = [border]
            return
        canvas.remove(self._layers[1:])
        del self._layers[1:]
        if maps:
            look = {"colormap": "inferno", "contrast_limits": (0.0, 1.0), "opacity": 0.7}
            layer = canvas.add("add_image", made, before.level, name=name, **look)
        else:
            layer = canvas.add("add_labels", made, before.level, name=name, opacity=0.5)
        layer.metadata = {**layer.metadata, "maps": maps}
        line = {"shape_type": "line", "edge_color": "white", "edge_width": 0.6, "name": "border"}
        self._layers += [layer, canvas.add("add_shapes", [border], before.level, **line)]


def _border(shape: Sequence[int], column: int) -> np.ndarray:
    """The border in the middle section, as a line (2, 3)."""
    z, x = (shape[0] - 1) // 2, column - 0.5
    return np.array([[z, -0.5, x], [z, shape[1] - 0.5, x]])

"""Side-by-side images in the viewer: what several models predict for the same patch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer

from napari_connecto.widgets.adapt.layers import Canvas, View
from napari_connecto.widgets.viewer.layers import world_factor
from napari_connecto.widgets.viewer.show import GAP, placed_at
from napari_connecto.widgets.viewer.view import TITLE, selection_kept

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.jobs import Picture

LETTER = 0.95
"""Width of a letter in pixels, per point of font size."""
TEXT = (6.0, 11.0)
"""Smallest and largest font size of a title, points."""


class Panels:
    """Images side by side, in rows, at one position of the volume; other layers are hidden meanwhile."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._layers: list[Layer] = []
        self._hidden: list[Layer] = []
        self._view: View | None = None

    @property
    def layers(self) -> list[Layer]:
        """Their layers, row by row, and the titles."""
        return list(self._layers)

    def show(self, rows: Sequence[Sequence[Picture | None]]) -> None:
        """Show images in place of earlier ones."""
        self.close()
        viewer, self._view = self.canvas.viewer, self.canvas.view()
        self._hidden = [layer for layer in viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        with selection_kept(viewer, self.canvas.image):
            self._show(rows)

    def _show(self, rows: Sequence[Sequence[Picture | None]]) -> None:
        titles, corners, first = [], [], None
        for i, row in enumerate(rows):
            for j, picture in enumerate(row):
                if picture is None:
                    continue
                first = first or picture
                offset = self._offset(first, i, j)
                self._layers.append(self._add(picture, offset))
                titles.append(picture.title or picture.name)
                shape = first.level.shape
                corners.append([(shape[0] - 1) // 2, i * shape[1] * (1 + GAP), j * shape[2] * (1 + GAP)])
        if first is None:
            return
        shape = first.level.shape
        self.canvas.look_at(self._layers[0], shape, (len(rows), max(len(row) for row in rows)))
        size = self._text_size(max(map(len, titles)), shape[2])
        text = {"string": "{title}", "anchor": "upper_left", "color": TITLE, "size": size}
        look = {
            "name": "titles",
            "size": 1,
            "face_color": "transparent",
            "border_width": 0,
            "border_color": "transparent",
        }
        features = {"title": titles}
        points = self.canvas.add("add_points", np.array(corners), first.level, features=features, text=text, **look)
        self._layers.append(points)

    def close(self) -> None:
        """Remove them and show the hidden layers again."""
        self.canvas.remove(self._layers)
        for layer in self._hidden:
            if layer in self.canvas.viewer.layers:
                layer.visible = True
        if self._layers and self._view is not None:
            self.canvas.go_back(self._view)
        self._layers, self._hidden = [], []

    def _text_size(self, letters: int, width: int) -> float:
        """Font size for titles of this length over an image of this width in voxels, and the gap beside it."""
        viewer, layer = self.canvas.viewer, self._layers[0]
        nm = float(layer.scale[-1]) * float(world_factor(layer, viewer.layers.units)[-1])
        pixels = width * (1 + GAP) * nm * float(viewer.scene.camera.zoom)
        return float(np.clip(pixels / (LETTER * letters), *TEXT))

    def _offset(self, first: Picture, i: int, j: int) -> np.ndarray:
        scale = placed_at(first.level, self.canvas.image, self.canvas.finest)["scale"]
        return np.array([0, i, j]) * np.array(first.level.shape) * (1 + GAP) * scale

    def _add(self, picture: Picture, offset: np.ndarray) -> Layer:
        array = np.asarray(picture.level.array)
        if picture.kind == "labels":
            labels = array.astype(np.uint32)
            return self.canvas.add("add_labels", labels, picture.level, name=picture.name, offset=offset, opacity=1.0)
        if picture.kind == "map":
            look: dict[str, Any] = {"colormap": "inferno", "contrast_limits": (0.0, 1.0)}
        else:
            low, high = (float(v) for v in np.percentile(array, [0.5, 99.5]))
            look = {"contrast_limits": (low, high if high > low else low + 1)}
        return self.canvas.add("add_image", array, picture.level, name=picture.name, offset=offset, **look)

"""The reviewed region of the training box: rectangles of a Shapes layer, inside which every object is labelled."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import fvec3
from napari_connecto.core.volume import Level
from napari_connecto.widgets.cascade.training.rectangles import Rectangle
from napari_connecto.widgets.viewer.show import placed_on, to_nm
from napari_connecto.widgets.viewer.view import LayerCombo

NAME = "reviewed region"
NONE = "none"
EDGE = 1e-3
"""Voxels by which the corners of an upright rectangle may be off."""


class RegionRow(QWidget):
    """Chooses a Shapes layer, or none, and makes a new one to draw in."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.layers = LayerCombo(
            viewer,
            (Shapes,),
            "Shapes layer with rectangles inside which every object is labelled.\n"
            "A rectangle drawn on one section covers all labelled sections.\n"
            "Unlabelled voxels outside the region are unknown.",
            none=NONE,
        )
        self.draw = QPushButton("Draw region")
        self.draw.setToolTip("Add a Shapes layer for drawing rectangles around completely labelled areas")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(QLabel("All labelled in"))
        self.layers.setMinimumContentsLength(4)  # else the row is wider than the dock
        layout.addWidget(self.layers, 1)
        layout.addWidget(self.draw)
        self.layers.chosen.connect(self.changed)

    def draw_on(self, image: Layer | None) -> None:
        """Add a Shapes layer on an image, in which a drag draws a rectangle."""
        if image is None:
            return
        layer = self._viewer.add_shapes(
            ndim=min(image.ndim, 3), name=NAME, edge_color="#f0e442", face_color="transparent", **placed_on(image)
        )
        layer.mode = "add_rectangle"
        self.layers.choose(layer)

    def rectangles(self, image: Layer, level: Level) -> tuple[Rectangle, ...]:
        """The rectangles of the chosen layer, for an image layer whose level 0 is ``level``.

        Raises
        ------
        InputError
            If a layer is chosen and holds none, or other shapes.
        """
        layer = self.layers.layer
        return () if layer is None else rectangles(layer, image, level)


def rectangles(layer: Layer, image: Layer, level: Level) -> tuple[Rectangle, ...]:
    """The rectangles of a Shapes layer; raises `InputError` if it holds none, or other shapes."""
    if not len(layer.data):
        raise InputError(f"layer '{layer.name}' holds no rectangle; draw one, or choose '{NONE}'")
    found = []
    for corners, kind in zip(layer.data, layer.shape_type, strict=True):
        nm = to_nm(corners, layer, image, level)
        low, high = nm.min(axis=0), nm.max(axis=0)
        edge = EDGE * np.array(level.voxel_nm)
        upright = ((nm - low < edge) | (high - nm < edge)).all()
        if kind != "rectangle" or not upright:
            raise InputError(f"layer '{layer.name}' holds shapes other than axis-aligned rectangles; delete them")
        flat = tuple(np.flatnonzero(high - low < edge).tolist())
        found.append(Rectangle(fvec3(low.tolist()), fvec3(high.tolist()), flat))
    return tuple(found)

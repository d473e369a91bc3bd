"""Layers of the dock "Inspect a model" that are painted."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from napari_connecto.core.volume import Level
from napari_connecto.widgets.viewer.show import placed_on

BRUSH = 6


def new_labels(viewer: Any, image: Layer, finest: Level, name: str) -> Labels:
    """An empty labels layer on an image layer whose level 0 is ``finest``, ready to be painted."""
    shape = finest.shape[-min(image.ndim, 3) :]
    layer = Labels(np.zeros(shape, np.uint8), name=name, opacity=0.7, **placed_on(image))
    layer.brush_size = BRUSH
    viewer.add_layer(layer)
    layer.mode = "paint"
    return layer

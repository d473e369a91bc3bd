"""Result layers over the image that they were made from: maps and marks, which go when new ones come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.show import placed_at, store_layer, to_data
from napari_connecto.widgets.viewer.view import RESULT, selection_kept


def remove(viewer: Any, layers: Sequence[Layer | None]) -> None:
    """Remove those layers that are still in the viewer, all at once."""
    there = [layer for layer in layers if layer is not None and layer in viewer.layers]
    if there:
        with viewer.layers.batched_update():  # napari runs one full collection, not one a layer
            for layer in there:
                viewer.layers.remove(layer)


class Shown:
    """Result layers of one part of a dock; new ones replace those before."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.layers: dict[str, Layer] = {}

    def clear(self) -> None:
        """Remove what is still there."""
        gone = list(self.layers.values())
        self.layers.clear()
        remove(self._viewer, gone)

    def add(self, volume: Volume, image: Layer, finest: Level, name: str, **look: Any) -> Layer:
        """An image layer of a volume on the image layer whose level 0 is ``finest``; never offered as input."""
        arrays, place = store_layer(volume, image, finest)
        data = arrays if len(arrays) > 1 else arrays[0]
        with selection_kept(self._viewer, image):
            layer: Layer = self._viewer.add_image(
                data, multiscale=len(arrays) > 1, name=name, metadata={RESULT: True}, **place, **look
            )
        self.layers[name] = layer
        return layer

    def points(self, centres_nm: Any, image: Layer, finest: Level, name: str, **look: Any) -> Layer:
        """Marks at positions (n, 3) in nm on the image layer whose level 0 is ``finest``; older ones go."""
        self.remove(name)
        at = to_data(np.asarray(centres_nm, float), finest, min(image.ndim, 3))
        place = {key: value[-at.shape[1] :] for key, value in placed_at(finest, image, finest).items()}
        with selection_kept(self._viewer, image):
            layer: Layer = self._viewer.add_points(
                at, name=name, face_color="transparent", metadata={RESULT: True}, **place, **look
            )
        self.layers[name] = layer
        return layer

    def remove(self, name: str) -> None:
        """Remove one layer, if it is still there."""
        layer = self.layers.pop(name, None)
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def alive(self, names: Sequence[str]) -> bool:
        """Whether all of these are still in the viewer."""
        return all(name in self.layers and self.layers[name] in self._viewer.layers for name in names)

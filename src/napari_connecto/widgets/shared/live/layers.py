"""Layers of a live view: pyramids that are read from what is computed, transparent elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Layer

from napari_connecto.compute.live.mosaic import Grid, Mosaic, Picture
from napari_connecto.widgets.shared.live.request import Look, Request
from napari_connecto.widgets.viewer.lazy import Key, Lazy
from napari_connecto.widgets.viewer.show import placed_at
from napari_connecto.widgets.viewer.view import RESULT, selection_kept

REST = 5.0
"""How many times as long as a refresh took to wait for the next."""
PAUSE_S = 0.1
CHUNK = 128
"""Voxels along y and x: napari reads and uploads whole chunks, so it does so again only where a view leaves them."""


class LiveArray(Lazy):
    """One level of a picture, of ``ndim`` 2 or 3 axes; set `mosaic` and refresh."""

    def __init__(self, mosaic: Mosaic, grid: Grid, ndim: int) -> None:
        self.mosaic, self.grid = mosaic, grid
        shape = grid.shape[-ndim:]
        chunks = tuple(min(n, chunk) for n, chunk in zip(shape, (1, CHUNK, CHUNK)[-ndim:], strict=True))
        super().__init__(shape, mosaic.dtype, chunks)

    def read(self, key: Key) -> np.ndarray:
        keys = (0,) * (3 - self.ndim) + key
        index = [np.arange(n)[k] for k, n in zip(keys, self.grid.shape, strict=True)]
        block = self.mosaic.read(self.grid, [np.atleast_1d(along) for along in index])
        return block[tuple(0 if along.ndim == 0 else slice(None) for along in index)]


class LiveLayers:
    """The layers of one request, made when there is something to show.

    They are not offered as inputs. `refresh` re-reads them for at most a sixth of the time, without touching contrast
    limits or the camera.
    """

    def __init__(self, viewer: Any, request: Request) -> None:
        self._viewer, self.request = viewer, request
        self._layers: dict[str, Layer] = {}
        self._arrays: dict[str, list[LiveArray]] = {}
        self._next = 0.0

    @property
    def layers(self) -> list[Layer]:
        """Those that are still in the viewer, with the ones that the dock made."""
        mine = [*self._layers.values(), *self.request.shown()]
        return [layer for layer in mine if layer in self._viewer.layers]

    def owns(self, layer: Layer) -> bool:
        """Whether it is one of these layers, or their image."""
        return layer is self.request.image or layer in [*self._layers.values(), *self.request.shown()]

    def fits(self, request: Request) -> bool:
        """Whether these layers can show another request in place."""
        mine = self.request
        return mine.key == request.key and mine.image is request.image and mine.level.voxel_nm == request.level.voxel_nm

    def show(self, pictures: Sequence[Picture]) -> None:
        """Show pictures, in the layers that are there if they have the same grids."""
        for picture in pictures:
            arrays, layer = self._arrays.get(picture.name, []), self._layers.get(picture.name)
            same = [array.grid.shape for array in arrays] == [grid.shape for grid in picture.grids]
            if layer is not None and layer in self._viewer.layers and same:
                for array in arrays:
                    array.mosaic = picture.mosaic
                layer.visible = True
                continue
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
            self._add(picture, self.request.looks[picture.name])
        self.refresh(force=True)

    def refresh(self, *, force: bool = False) -> bool:
        """Show what has arrived; False if it is too early for that."""
        now = time.perf_counter()
        if now < self._next and not force:
            return False
        for layer in self._layers.values():
            if layer in self._viewer.layers and layer.visible:
                layer.refresh(extent=False, thumbnail=False)
        self._next = time.perf_counter() + max(PAUSE_S, REST * (time.perf_counter() - now))
        return True

    def hide(self) -> None:
        """A run shows the same."""
        for layer in self.layers:
            layer.visible = False

    def _add(self, picture: Picture, look: Look) -> None:
        image, n = self.request.image, min(self.request.image.ndim, 3)
        place = placed_at(picture.grids[0], image, self.request.level)
        arrays = [LiveArray(picture.mosaic, grid, n) for grid in picture.grids]
        data, many = (arrays, True) if len(arrays) > 1 else (arrays[0], False)
        keywords = {key: values[-n:] for key, values in place.items()} | dict(look.keywords)
        keywords |= {"name": look.name, "metadata": {RESULT: True}, "multiscale": many}
        add = self._viewer.add_image if picture.mosaic.kind == "image" else self._viewer.add_labels
        with selection_kept(self._viewer, image):
            layer = add(data, **keywords)
        if picture.mosaic.kind == "labels":
            layer.editable = False
        self._arrays[picture.name], self._layers[picture.name] = arrays, layer

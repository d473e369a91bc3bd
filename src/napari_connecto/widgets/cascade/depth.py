"""Which detections the displayed section cuts, each by its own depth; napari itself has one thickness for a layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Points

from napari_connecto.widgets.viewer.layers import world_factor


class InDepth:
    """Hides points whose object does not reach the displayed section, whenever another one is displayed.

    The layer must show at least the deepest object by itself, see `markers.unit`.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Points | None = None
        self._wanted, self._half = np.empty(0, bool), np.empty(0)
        dims = viewer.dims.events
        self._events = (dims.current_step, dims.ndisplay, dims.order)
        for event in self._events:
            event.connect(self._on_moved)

    def release(self) -> None:
        """Stop following the viewer, and show in every section what is wanted."""
        for event in self._events:
            event.disconnect(self._on_moved)
        if self._layer is not None and len(self._layer.data) == len(self._wanted):
            self._layer.shown = self._wanted
        self._layer = None

    def show(self, layer: Points, wanted: np.ndarray, depth: np.ndarray) -> None:
        """Show the ``wanted`` points (n,) of a layer; ``depth`` (n,) of their objects, in units of its first axis."""
        self._layer, self._wanted, self._half = layer, wanted, depth / 2
        layer.shown = wanted & self.reached()

    def reached(self) -> np.ndarray:
        """Boolean (n,): the object reaches the displayed section; all do where no section is displayed."""
        layer, dims = self._layer, self._viewer.dims
        assert layer is not None
        everything = np.ones(len(self._half), bool)
        axis = dims.ndim - 3
        if layer.ndim < 3 or dims.ndisplay == 3 or axis in dims.displayed:
            return everything
        point = np.array(dims.point[-layer.ndim :], float) / world_factor(layer, self._viewer.layers.units)
        section = layer.world_to_data(point)[-3]
        return np.abs(layer.data[:, -3] - section) <= self._half

    def _on_moved(self, _event: Any = None) -> None:
        layer = self._layer
        if layer is None or layer not in self._viewer.layers or len(layer.data) != len(self._half):
            return
        shown = self._wanted & self.reached()
        if not np.array_equal(shown, layer.shown):
            layer.shown = shown

"""Several layers side by side in napari's grid: one camera, so that all show the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari.layers import Layer

NARROW = 0.6
"""Change of zoom, as each view is narrower than the canvas."""
SPACING = 4.0
"""Pixels between views."""


class LinkedViews:
    """Shows chosen layers side by side, and everything as it was when that ends."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._before: dict[Layer, bool] = {}
        self._grid: dict[str, Any] = {}
        self._titles: list[Any] = []

    @property
    def on(self) -> bool:
        """Whether views are side by side."""
        return bool(self._grid)

    def show(self, layers: Sequence[Layer]) -> None:
        """Show these layers, in the order of the layer list; the others are hidden."""
        grid = self._viewer.canvas.grid
        if not self.on:
            self._before = {layer: layer.visible for layer in self._viewer.layers}
            self._grid = {name: getattr(grid, name) for name in ("enabled", "shape", "stride", "spacing")}
            self._viewer.scene.camera.zoom *= NARROW
        for layer in self._viewer.layers:
            layer.visible = layer in layers
        self._show_titles(layers)
        grid.stride, grid.shape, grid.spacing = 1, (1, len(layers)), SPACING
        grid.enabled = True

    def end(self) -> None:
        """One view again, with the layers that were visible before."""
        if not self.on:
            return
        grid = self._viewer.canvas.grid
        self._viewer.scene.camera.zoom /= NARROW
        for name, value in self._grid.items():
            setattr(grid, name, value)
        for layer, visible in self._before.items():
            if layer in self._viewer.layers:
                layer.visible = visible
        for title in self._titles:
            title.visible = False
        self._before, self._grid, self._titles = {}, {}, []

    def _show_titles(self, layers: Sequence[Layer]) -> None:
        """Each view says which layer it shows; titles that the user has switched on stay."""
        self._titles += [layer.name_overlay for layer in layers if not layer.name_overlay.visible]
        for title in self._titles:
            title.visible = True

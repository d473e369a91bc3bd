"""The layers of proofreading: corrected labels over the original ones, and the places that were clicked."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Layer

from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.adapt.proofread.jobs import result_of
from napari_connecto.widgets.viewer.layers import SOURCE, world_factor
from napari_connecto.widgets.viewer.lazy import Flat, cut_first
from napari_connecto.widgets.viewer.view import OKABE_ITO, RESULT

CORRECTED = "connecto_corrected"
"""Key of ``layer.metadata``: the result folder whose corrected labels a layer shows."""
VOXELS, PIXELS = 10, 11
"""Least diameter of a mark. napari draws a layer without points as one of size 0 at the origin, so a lower limit of the
canvas would show it."""


def segmentations(viewer: Any) -> dict[str, tuple[Labels, Path]]:
    """Labels layers of finished segmentations in a viewer, with their folders, by name; the topmost first."""
    found = {}
    for layer in reversed(viewer.layers):
        if isinstance(layer, Labels) and CORRECTED not in layer.metadata:
            folder = result_of(layer.metadata.get(SOURCE) or layer.source.path)
            if folder is not None:
                found[layer.name] = (layer, folder)
    return found


class CorrectedLayer:
    """Corrected labels of one result, on top of the layer that shows the original ones, which is hidden."""

    def __init__(self, viewer: Any, original: Labels, folder: Path, volume: Volume) -> None:
        self.viewer, self.shape, n = viewer, volume.levels[0].shape, original.ndim
        arrays = cut_first([Flat(level.array) if n == 2 else level.array for level in volume.levels])
        for old in [x for x in viewer.layers if x.metadata.get(CORRECTED) == str(folder)]:
            viewer.layers.remove(old)
        place = {key: getattr(original, key) for key in ("scale", "translate", "units", "affine", "axis_labels")}
        self.labels: Labels = viewer.add_labels(
            arrays if len(arrays) > 1 else arrays[0],
            name=f"{original.name} corrected",
            opacity=original.opacity,
            metadata={RESULT: True, CORRECTED: str(folder)},
            **place,
        )
        self.labels.editable = False
        original.visible = False
        look = {"face_color": [OKABE_ITO["new"]], "border_color": "black", "symbol": "disc", "size": VOXELS}
        limits = {"canvas_size_limits": (0, 13), "name": "clicked", "metadata": {RESULT: True}}
        self.marks: Layer = viewer.add_points(np.empty((0, n)), ndim=n, **look, **limits, **place)
        viewer.layers.selection.active = self.labels

    @property
    def alive(self) -> bool:
        """Whether the labels are still in the viewer."""
        return self.labels in self.viewer.layers

    def voxel(self, event: Any) -> Vec3 | None:
        """The voxel of the finest level under a mouse event, (z, y, x); None outside."""
        world = np.asarray(event.position, float)[-self.labels.ndim :]
        data = self.labels.world_to_data(world / world_factor(self.labels, self.viewer.layers.units))
        at = np.floor(np.concatenate([np.zeros(3), np.asarray(data, float)])[-3:] + 0.5)
        inside = all(0 <= v < n for v, n in zip(at, self.shape, strict=True))
        return vec3(at.tolist()) if inside else None

    def mark(self, voxels: Sequence[Vec3]) -> None:
        """Show these places."""
        n = self.labels.ndim
        if self.marks in self.viewer.layers:
            self.marks.data = np.array(voxels, float).reshape(-1, 3)[:, 3 - n :]
            factor = world_factor(self.labels, self.viewer.layers.units)[-1]
            pixels = self.viewer.scene.camera.zoom * self.labels.scale[-1] * factor
            self.marks.size = max(VOXELS, PIXELS / pixels)

    def refresh(self) -> None:
        """Read what is in view again."""
        if self.alive:
            self.labels.refresh(extent=False)

    def leave(self) -> None:
        """Remove the marks; the corrected labels stay."""
        with suppress(ValueError):
            self.viewer.layers.remove(self.marks)

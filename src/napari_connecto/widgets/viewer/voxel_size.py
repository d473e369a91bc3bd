"""Voxel size of a layer that states none or a wrong one: three number boxes, and writing it into the layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QWidget

from napari_connecto.widgets.viewer.layers import nm_per_unit, world_factor, world_grid
from napari_connecto.widgets.viewer.view import RESULT

PIXELS = "connecto_pixels"
"""Key of ``layer.metadata``: the voxel size is unknown, and the user chose to work in pixels."""


def give_size(viewer: Any, layer: Layer, voxel_nm: Sequence[float]) -> None:
    """Write a voxel size (z, y, x) in nm into a layer's scale and units, and into the layers that share its voxels.

    The view stays on the same voxels. For a 2-D layer only y and x are used.
    """
    n = min(layer.ndim, 3)
    factor = np.asarray(voxel_nm, float)[-n:] / world_grid(layer)[0][-n:]
    shared = [other for other in viewer.layers if other is not layer and _shares(other, layer)]
    before = _world_per_voxel(viewer, layer)
    camera, dims = viewer.scene.camera, viewer.dims
    centre, zoom, point, shown = np.array(camera.center), camera.zoom, np.array(dims.point), dims.displayed
    for each in (*shared, layer):
        _stretch(each, factor[-min(each.ndim, 3) :])
    ratio = np.ones(dims.ndim)
    ratio[-layer.ndim :] = (_world_per_voxel(viewer, layer) / before)[-dims.ndim :]
    along = ratio[list(shown)]
    dims.set_point(range(dims.ndim), [float(p) for p in point * ratio])
    camera.center = tuple(float(c) for c in (*centre[: -len(along)], *(centre[-len(along) :] * along)))
    camera.zoom = float(zoom / along[-1])


def _shares(other: Layer, layer: Layer) -> bool:
    """Whether a layer is on the voxel grid of another: the same unit and, if that is a length, the same scale.

    For another image the shape must be the same too.
    """
    n = min(layer.ndim, other.ndim, 3)
    alike = np.allclose(other.scale[-n:], layer.scale[-n:])
    if tuple(other.units[-n:]) != tuple(layer.units[-n:]) or not (alike or nm_per_unit(layer) is None):
        return False
    if not isinstance(other, Image) or RESULT in other.metadata:
        return True
    shapes = [np.shape(x.data[0] if x.multiscale else x.data)[-n:] for x in (other, layer)]
    return alike and shapes[0] == shapes[1]


def _stretch(layer: Layer, factor: np.ndarray) -> None:
    n = len(factor)
    scale, translate = np.array(layer.scale, float), np.array(layer.translate, float)
    affine = np.array(layer.affine.affine_matrix, float)
    scale[-n:] *= factor
    translate[-n:] *= factor
    affine[-n - 1 : -1, -1] *= factor  # where napari-ome-zarr places a layer
    layer.scale, layer.translate, layer.affine = scale, translate, affine
    layer.units = (*layer.units[:-n], *("nm",) * n)


def _world_per_voxel(viewer: Any, layer: Layer) -> np.ndarray:
    return world_grid(layer)[0] * world_factor(layer, viewer.layers.units)


class VoxelSize(QWidget):
    """Three numbers in nm, (z, y, x), empty if unknown; two for a 2-D image.

    ``changed`` is emitted when all are given and one has changed.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.boxes, self.names = [QDoubleSpinBox() for _ in range(3)], [QLabel(axis) for axis in "zyx"]
        for box, axis, name in zip(self.boxes, "zyx", self.names, strict=True):
            box.setRange(0.0, 1e7)
            box.setSpecialValueText(" ")
            box.setDecimals(3)
            box.setKeyboardTracking(False)
            box.setStyleSheet("min-width: 40px;")  # napari's own is too wide for three in a row
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            box.setToolTip(f"Size of a level 0 voxel along {axis}, in nm")
            box.valueChanged.connect(self._on_value)
            layout.addWidget(name)
            layout.addWidget(box, 1)

    @property
    def value(self) -> tuple[float, float, float] | None:
        """In nm, (z, y, x); None while one is missing. A single section is as thick as its voxels are high."""
        z, y, x = (box.value() for box in self.boxes)
        z = y if self.flat else z
        return (z, y, x) if min(z, y, x) > 0 else None

    @property
    def flat(self) -> bool:
        """Whether the image is 2-D."""
        return self.boxes[0].isHidden()

    def set_value(self, voxel_nm: Sequence[float] | None, *, flat: bool = False) -> None:
        """Show a size, or empty boxes, without emitting `changed`."""
        for part in (self.boxes[0], self.names[0]):
            part.setVisible(not flat)
        for box, nm in zip(self.boxes, voxel_nm or (0.0,) * 3, strict=True):
            box.blockSignals(True)
            box.setValue(nm)
            box.blockSignals(False)

    def _on_value(self, _value: float) -> None:
        if self.value is not None:
            self.changed.emit()

"""Helpers of the view: what the user sees, jumping to a position, choosing a level."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QStyle, QStyleOptionComboBox, QStylePainter, QVBoxLayout, QWidget

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import world_factor

OKABE_ITO = {"new": "#E69F00", "accepted": "#56B4E9", "rejected": "#D55E00", "good": "#009E73", "added": "#CC79A7"}
"""Okabe and Ito's colour-blind safe colours (2008); always used together with a symbol or a word."""


TITLE = "#D55E00"
"""Colour of text over images, readable on black and on white."""
RESULT = "connecto_result"
"""Key of ``layer.metadata`` of a search's result layers, which are not offered as input."""


@contextmanager
def selection_kept(viewer: Any, image: Layer) -> Iterator[None]:
    """Layers added inside are not selected; if nothing was selected, ``image`` is.

    napari's "New labels layer" takes its shape and position from the selected layer. Selection events are blocked
    meanwhile; otherwise napari shows the controls of each new layer and draws everything anew.
    """
    layers = viewer.layers
    before = list(layers.selection)
    with layers.selection.events.blocker_all():
        try:
            yield
        finally:
            kept = [layer for layer in before if layer in layers]
            layers.selection.intersection_update(kept)
            layers.selection.update(kept)
    if not kept and image in layers:
        layers.selection.active = image


def jump(viewer: Any, layer: Layer, point: Sequence[float]) -> None:
    """Centre the view on a data point of ``layer`` without changing the zoom."""
    world = np.asarray(layer.data_to_world(point), float) * world_factor(layer, viewer.layers.units)
    first = viewer.dims.ndim - len(world)
    viewer.dims.set_point(range(first, viewer.dims.ndim), [float(w) for w in world])
    shown = [w for axis, w in zip(range(first, viewer.dims.ndim), world, strict=True) if axis in viewer.dims.displayed]
    viewer.scene.camera.center = tuple(float(w) for w in shown)


def view_box(viewer: Any, layer: Layer, level: Level, depth: float = 32) -> Box:
    """The part of ``level`` (the layer's level 0) that is on screen, ``depth`` sections thick, or one for 0.

    Returns
    -------
    Box
        Voxels of ``level``, clipped to it; empty where the view does not touch the layer.
    """
    n = layer.ndim
    camera, shown = viewer.scene.camera, [axis - (viewer.dims.ndim - n) for axis in viewer.dims.displayed]
    half = np.zeros(n)
    centre = np.array(viewer.dims.point[-n:], float)
    visible = list(camera.center)[-len(shown) :]
    extent = np.array(viewer.canvas.size, float) / max(camera.zoom, 1e-12) / 2
    extents = [float(extent.max()), *extent][-len(shown) :]
    for axis, middle, reach in zip(shown, visible, extents, strict=True):
        if axis >= 0:
            centre[axis], half[axis] = middle, reach
    factor = world_factor(layer, viewer.layers.units)
    corners = np.array([layer.world_to_data((centre + sign * half) / factor) for sign in (-1, 1)])
    corners = np.sort(corners, axis=0)[:, -3:]
    hidden = [axis for axis in range(n) if axis not in shown][-3:]
    for axis in [axis - (n - corners.shape[1]) for axis in hidden]:
        if axis >= 0:
            corners[:, axis] += (-depth / 2, depth / 2)
    if n == 2:
        corners = np.concatenate([[[0.0], [0.0]], corners], axis=1)
    start, stop = np.floor(corners[0] + 0.5), np.floor(corners[1] + 0.5) + 1
    return Box(vec3(start), vec3(stop)).clip(level.shape)


def inner(view: Box) -> Box:
    """The middle quarter of a view in y and x: processed first."""
    return view.grow([0, *(-(n * 3 // 8) for n in view.shape[1:])])


def level_line(volume: Volume, index: int) -> str:
    """One level in words: number, shape, voxel size and size in memory."""
    level = volume.levels[index]
    shape = " × ".join(f"{n:,}" for n in level.shape).replace(",", " ")
    voxel = " × ".join(f"{v:.4g}" for v in level.voxel_nm)
    unit = "nm" if volume.calibrated else "(no unit)"
    return f"{index}: {shape}, {voxel} {unit}, {bytes_text(level.nbytes)}"


class _LevelCombo(QComboBox):
    """Lists whole lines, but elides the shown one if there is too little room."""

    def paintEvent(self, _event: Any) -> None:
        """Like Qt's own, with the text elided."""
        painter, option = QStylePainter(self), QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.currentText().partition(", ")[0]
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


class LevelPicker(QWidget):
    """Chooses the finest level to be read; shows shape (z, y, x), voxel size in nm and size of each.

    The default is the level locked in the layer (``locked_data_level``), else the one nearest the model's voxel size.
    """

    changed = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.combo = _LevelCombo()
        self.combo.setToolTip(
            "Finest level to read: shape (z, y, x) in voxels, voxel size in nm, uncompressed size.\n"
            "By default the level locked in the layer's controls, else the level nearest the cascade's voxel size."
        )
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(8)
        self.about = QLabel()
        self.about.setToolTip(self.combo.toolTip())
        self.combo.currentIndexChanged.connect(self._on_index_changed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.combo)
        layout.addWidget(self.about)

    @property
    def index(self) -> int:
        """Chosen level; 0 while there is none."""
        return max(0, self.combo.currentIndex())

    def show_levels(
        self, volume: Volume | None, *, locked: int | None = None, model_nm: Sequence[float] | None = None
    ) -> None:
        """List the levels and choose the default; emits `changed` once, and only if the choice changes."""
        before = self.combo.currentIndex()
        self.combo.blockSignals(True)
        self.combo.clear()
        if volume is not None:
            self.combo.addItems([level_line(volume, i) for i in range(len(volume.levels))])
            self.combo.setCurrentIndex(default_level(volume, locked, model_nm))
            view = self.combo.view()
            if view is not None:
                view.setMinimumWidth(view.sizeHintForColumn(0) + 30)
        self.combo.blockSignals(False)
        self._show_about()
        if self.combo.currentIndex() not in (before, -1):
            self.changed.emit(self.combo.currentIndex())

    def _on_index_changed(self, index: int) -> None:
        self._show_about()
        self.changed.emit(index)

    def _show_about(self) -> None:
        self.about.setText(self.combo.currentText().partition(", ")[2])


def default_level(volume: Volume, locked: int | None, model_nm: Sequence[float] | None) -> int:
    """The locked level unless it is too coarse for the model, else the one nearest its voxel size, else 0."""
    locked = locked if locked is not None and locked < len(volume.levels) else None
    if model_nm is None or not volume.calibrated:
        return locked or 0
    away = [float(np.abs(np.log(np.array(level.voxel_nm) / np.asarray(model_nm))).max()) for level in volume.levels]
    nearest = int(np.argmin(away))
    return nearest if locked is None or locked > nearest else locked


class LayerCombo(QComboBox):
    """Chooses one of the viewer's layers of some types; follows the layer list, including renamed layers.

    ``chosen`` is emitted when another layer is chosen, or none is left. ``none`` is a first entry for no layer. The
    first choice is the first of the list; with ``selected`` the layer selected in the viewer if it is visible, else the
    first visible one.
    """

    chosen = Signal()

    def __init__(
        self, viewer: Any, kinds: tuple[type[Layer], ...], tooltip: str, *, none: str = "", selected: bool = False
    ) -> None:
        super().__init__()
        self._viewer, self._kinds, self._selected = viewer, kinds, selected
        self._none: list[Layer | None] = [None] * bool(none)
        self._none_text = none
        self._listed: list[Layer | None] = []
        self.setToolTip(tooltip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.currentIndexChanged.connect(lambda _: self.chosen.emit())
        self.refresh()
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed, viewer.layers.events.renamed):
            event.connect(self._on_layers_changed)
        self._alive = True
        self.destroyed.connect(partial(setattr, self, "_alive", False))

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        index = self.currentIndex()
        chosen = self._listed[index] if 0 <= index < len(self._listed) else None
        return chosen if chosen is not None and chosen in self._viewer.layers else None

    def choose(self, layer: Layer) -> None:
        """Choose a layer of the viewer."""
        self.refresh()
        self.setCurrentIndex(self._listed.index(layer))

    def refresh(self) -> None:
        """List the layers again and keep the choice if it still exists."""
        layers = self._none + [
            layer for layer in self._viewer.layers if isinstance(layer, self._kinds) and RESULT not in layer.metadata
        ]
        names = [self._none_text if layer is None else layer.name for layer in layers]
        if layers == self._listed and names == [self.itemText(i) for i in range(self.count())]:
            return
        index = self.currentIndex()
        before = self._listed[index] if 0 <= index < len(self._listed) else None
        self.blockSignals(True)
        self.clear()
        self._listed = layers
        self.addItems(names)
        wanted = before if before in layers else self._first(layers)
        self.setCurrentIndex(layers.index(wanted) if layers else -1)
        self.blockSignals(False)
        if self.layer is not before:
            self.chosen.emit()

    def _first(self, layers: list[Layer | None]) -> Layer | None:
        if self._selected:
            active = self._viewer.layers.selection.active
            seen = [layer for layer in layers if layer is not None and layer.visible]
            if seen:
                return active if active in seen else seen[0]
        return layers[0] if layers else None

    def release(self) -> None:
        """Stop following the layer list."""
        for event in ("inserted", "removed", "renamed"):
            getattr(self._viewer.layers.events, event).disconnect(self._on_layers_changed)

    def _on_layers_changed(self, _event: Any) -> None:
        if self._alive:
            self.refresh()

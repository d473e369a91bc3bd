"""The image, its level and its voxel size: one line at the top of every dock, which unfolds to choose them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.frame.channel import ChannelCombo, channel_of
from napari_connecto.widgets.shared.frame.newest import NewestImage
from napari_connecto.widgets.shared.painted.image_line import ImageFold
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.layers import SPEC, describe
from napari_connecto.widgets.viewer.view import LayerCombo, LevelPicker, default_level
from napari_connecto.widgets.viewer.volumes import open_job, with_finest
from napari_connecto.widgets.viewer.voxel_size import PIXELS, VoxelSize, give_size
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

CORRECT = "Set voxel size (nm)"
NO_UNIT = f"{CORRECT}: this layer states no unit"
FINE_ENOUGH = 1.25
"""Largest ratio of a level's voxel size to the model's; from finer levels the model's level can be computed."""


class InputBox(ImageFold):
    """Layer, finest level, voxel size. ``changed`` is emitted when `volume` changes (possibly to None).

    Folded to one line, and unfolded by a click on it, or where there is something to enter or to mend.
    """

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._model_nm: tuple[float, float, float] | None = None
        self._watched: Layer | None = None
        self._problem: ConnectoError | None = None
        self._in_pixels = False
        self.full: Volume | None = None
        about = "Image layer to read; multiscale layers are read level by level"
        self.layers = LayerCombo(viewer, (Image,), about, selected=True)
        self.newest = NewestImage(viewer, self.layers)
        self.picker = LevelPicker()
        self.channel = ChannelCombo()
        self.correct = QCheckBox(CORRECT)
        self.correct.setToolTip("Enter the voxel size of level 0 in nm, if the layer's scale or unit is wrong")
        self.voxel = VoxelSize()
        self.use_pixels = QCheckBox("Use pixels (voxel size unknown)")
        self.use_pixels.setToolTip(
            "Work in pixels: a model trained on this image works only on images of the same magnification"
        )
        self.error = ErrorLine()
        self._opener = Worker("opening", self, quiet=True)
        self.offer(self.newest)
        layout = self.layout_
        layout.addRow("Layer", self.layers)
        layout.addRow("Channel", self.channel)
        layout.addRow("Level", self.picker)
        layout.addRow(self.correct)
        layout.addRow("Size (nm)", self.voxel)
        layout.addRow(self.use_pixels)
        layout.addRow(self.error)
        self._show_voxel(False)
        layout.setRowVisible(self.use_pixels, False)
        layout.setRowVisible(self.channel, False)
        self.channel.chosen.connect(self.reopen)
        self.use_pixels.toggled.connect(self._on_pixels)
        self.layers.chosen.connect(self._on_layer_chosen)
        self.correct.toggled.connect(self._on_correct)
        self.voxel.changed.connect(self._on_size_given)
        self.picker.changed.connect(self._on_level)
        self.newest.follow(self.voxel.changed, self.correct.clicked, self.use_pixels.clicked)
        self.newest.follow(self.channel.activated, self.picker.combo.activated)
        self._opener.returned.connect(self._on_opened)
        self._opener.failed.connect(self._on_not_opened)

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        return self.layers.layer

    def volume(self, *, truncated: bool = False) -> Volume | None:
        """The volume without the levels finer than the chosen one.

        A search reads each model's own level in any case. Unless ``truncated``, levels finer than the model's are kept,
        so that the same search from the command line is the same job.
        """
        if self.full is None:
            return None
        wanted = self.picker.index
        if not truncated and self._model_nm and wanted <= default_level(self.full, None, self._model_nm):
            wanted = 0
        return with_finest(self.full, wanted)

    def need_volume(self, *, truncated: bool = False) -> Volume:
        """As `volume`.

        Raises
        ------
        InputError
            If no image is open; the message names the chosen layer.
        """
        volume = self.volume(truncated=truncated)
        if volume is not None:
            return volume
        if self._problem is not None:
            raise InputError(str(self._problem))
        if self.layer is None:
            raise InputError("no image is open; choose an image layer")
        raise InputError(f"'{self.layer.name}' is being opened; try again in a moment")

    @property
    def opening(self) -> bool:
        """Whether the chosen layer is being opened; `changed` follows."""
        return self._opener.state.busy

    def settle(self) -> None:
        """Wait briefly for an image that is being opened, as a click may directly follow a keystroke."""
        self._opener.settle()

    def spec(self, volume: Volume) -> VolumeSpec | None:
        """How a recipe names the volume; None if no file corresponds to it."""
        same = self.full is not None and len(volume.levels) == len(self.full.levels)
        found: VolumeSpec | None = volume.metadata.get(SPEC)
        return found if same else None

    def way_out(self) -> tuple[str, Callable[[], None]] | None:
        """A one-click fix for a voxel size the model cannot read; None if no image is chosen."""
        if self.full is None or self._model_nm is None:
            return None
        best = default_level(self.full, None, self._model_nm)
        finest = self.full.levels[best].voxel_nm
        helps = all(have <= FINE_ENOUGH * wanted for have, wanted in zip(finest, self._model_nm, strict=True))
        if self.full.calibrated and self.picker.index != best and helps:
            return f"Use level {best}", lambda: self.picker.combo.setCurrentIndex(best)
        return "Set the voxel size…", self.ask_voxel_size

    def ask_voxel_size(self) -> None:
        """Show the number boxes, with the cursor in the first."""
        self.need(True)
        self.correct.setChecked(True)
        first = next(box for box in self.voxel.boxes if not box.isHidden())
        first.setFocus()
        first.selectAll()

    @property
    def pixels(self) -> bool:
        """Whether the user chose to work in pixels because the voxel size is unknown."""
        return self.layer is not None and PIXELS in self.layer.metadata

    def set_model(self, voxel_nm: tuple[float, float, float] | None) -> None:
        """Finest voxel size of the chosen cascade: the nearest level becomes the default."""
        self._model_nm = voxel_nm
        self._show_levels()

    def allow_pixels(self, on: bool) -> None:
        """Whether the chosen model reads an image of unknown voxel size as it is, so that there is nothing to ask."""
        if on != self._in_pixels:
            self._in_pixels = on
            self._ask()

    def reopen(self) -> None:
        """Open the chosen layer (again), in a worker; `changed` follows."""
        self.error.clear()
        self._opener.cancel()
        self.full = self._problem = None
        layer = self.layer
        if layer is None:
            self._on_opened(None)
            return
        try:
            described = describe(layer, step=self._viewer.dims.current_step, channel=channel_of(layer))
        except ConnectoError as error:
            self._on_not_opened(error, "")
            return
        self._opener.start(lambda: open_job(described), abandon=True)
        self._show_line()

    def close_jobs(self) -> None:
        """Stop following the viewer."""
        self._opener.close()
        self._watch(None)
        self.line.release()
        self.newest.release()
        self.layers.release()

    def _on_layer_chosen(self) -> None:
        self._show_voxel(False)
        layer = self.layer
        self.layout_.setRowVisible(self.channel, bool(getattr(layer, "rgb", False)))
        self.channel.show_channel(layer)
        self._watch(layer)
        self.reopen()

    def _on_opened(self, volume: Volume | None) -> None:
        self.full = volume
        unknown = self._unknown
        known = volume.levels[0].voxel_nm if volume is not None and not unknown else None
        self.voxel.set_value(known, flat=self.layer is not None and self.layer.ndim == 2)
        if unknown:
            self._ask_size(not self.pixels)
        elif self.correct.text() != CORRECT:
            self._show_voxel(False)
        self.layout_.setRowVisible(self.use_pixels, unknown)
        with QSignalBlocker(self.use_pixels):
            self.use_pixels.setChecked(unknown and self.pixels)
        self._show_levels()
        self._ask()
        self.changed.emit()

    def _ask(self) -> None:
        """Unfold where a voxel size is missing that is needed, or the image cannot be opened."""
        asked = self._unknown and not self._in_pixels and not self.use_pixels.isChecked()
        self.need(self._problem is not None or asked)

    @property
    def _unknown(self) -> bool:
        return self.full is not None and not self.full.calibrated

    def _on_not_opened(self, error: Exception, text: str) -> None:
        self.error.show_error(error, text)
        self._problem = error if isinstance(error, ConnectoError) else ConnectoError(self.error.label.text())
        self._on_opened(None)

    def _show_levels(self) -> None:
        locked = getattr(self.layer, "locked_data_level", None) if self.layer is not None else None
        with QSignalBlocker(self.picker):
            self.picker.show_levels(self.full, locked=locked, model_nm=self._model_nm)
        self._show_line()

    def _on_level(self, _index: int) -> None:
        self._show_line()
        self.changed.emit()

    def _show_line(self) -> None:
        """The chosen image in one line."""
        self.describe(self.layer, self.full, self.picker.index, self._problem is not None)

    def _on_size_given(self) -> None:
        """Write it into the layer, where all docks and napari itself read it."""
        layer, size = self.layer, self.voxel.value
        if layer is None or size is None:
            return
        self._watch(None)
        try:
            give_size(self._viewer, layer, size)
        finally:
            self._watch(layer)
        self.reopen()

    def _on_pixels(self, on: bool) -> None:
        if self.layer is None:
            return
        if on:
            self.layer.metadata[PIXELS] = True
        else:
            self.layer.metadata.pop(PIXELS, None)
        self._ask_size(not on)
        self.changed.emit()

    def _on_correct(self, on: bool) -> None:
        """A size in nm and pixels exclude each other."""
        self._show_voxel(on)
        if on and self._unknown:
            self.use_pixels.setChecked(False)

    def _ask_size(self, on: bool) -> None:
        """Ask for the size of a layer without a unit, or leave it to pixels."""
        self._show_voxel(on)
        self.correct.setText(NO_UNIT)

    def _show_voxel(self, on: bool) -> None:
        """Show the number boxes."""
        if not on:
            self.correct.setText(CORRECT)
        with QSignalBlocker(self.correct):
            self.correct.setChecked(on)
        self.layout_.setRowVisible(self.voxel, on)

    def _watch(self, layer: Layer | None) -> None:
        """Follow the locked level, scale and units set in the layer controls."""
        slots = {"locked_data_level": self._on_locked, "scale": self.reopen, "units": self.reopen}
        for watched, connect in ((self._watched, False), (layer, True)):
            for name, slot in slots.items():
                emitter = getattr(watched.events, name, None) if watched is not None else None
                if emitter is not None:
                    (emitter.connect if connect else emitter.disconnect)(slot)
        self._watched = layer

    def _on_locked(self, _event: Any = None) -> None:
        self._show_levels()
        self.changed.emit()

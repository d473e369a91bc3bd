"""What is searched, and with what: the first two boxes of the dock "Cascade detection"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QWidget,
)

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.volume import Volume
from napari_connecto.widgets._cascade_jobs import Peek, list_job, open_job, peek, with_finest
from napari_connecto.widgets._job_bar import ErrorLine, text_line
from napari_connecto.widgets._layers import SPEC, describe
from napari_connecto.widgets._view import LayerCombo, LevelPicker, default_level
from napari_connecto.widgets._worker import Worker

FOLDER, TRAIN = "From folder…", "Train from labels…"


class InputBox(QGroupBox):
    """Layer, finest level, voxel size. ``changed`` is emitted when `volume` became another (or None)."""

    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__("Image")
        self._viewer = viewer
        self._model_nm: tuple[float, float, float] | None = None
        self._watched: Layer | None = None
        self.full: Volume | None = None
        self.layers = LayerCombo(viewer, (Image,), "Image layer to search; multiscale layers are read level by level")
        self.picker = LevelPicker()
        self.correct = QCheckBox("Set voxel size (nm)")
        self.correct.setToolTip("Give or correct the size of a level 0 voxel, in nm, where the layer's unit is wrong")
        self.voxel = VoxelSize()
        self.error = ErrorLine()
        self._opener = Worker("opening", self, quiet=True)
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("Layer", self.layers)
        layout.addRow("Level", self.picker)
        layout.addRow(self.correct)
        layout.addRow("z, y, x (nm)", self.voxel)
        layout.addRow(self.error)
        self.layout_ = layout
        self._show_voxel(False)
        self.layers.chosen.connect(self._on_layer_chosen)
        self.correct.toggled.connect(self._on_correct_toggled)
        self.voxel.changed.connect(self.reopen)
        self.picker.changed.connect(lambda _: self.changed.emit())
        self._opener.returned.connect(self._on_opened)
        self._opener.failed.connect(self.error.show_error)

    @property
    def layer(self) -> Layer | None:
        """The chosen layer."""
        return self.layers.layer

    def volume(self, *, truncated: bool = False) -> Volume | None:
        """The volume, without the levels finer than the chosen one.

        A search reads each model's own level anyway: levels finer than the model's are kept, unless ``truncated``,
        so that the same search from the command line is the same job.
        """
        if self.full is None:
            return None
        wanted = self.picker.index
        if not truncated and self._model_nm and wanted <= default_level(self.full, None, self._model_nm):
            wanted = 0
        return with_finest(self.full, wanted)

    def spec(self, volume: Volume) -> dict[str, Any] | None:
        """How a recipe names the volume; None where no file is exactly that."""
        same = self.full is not None and len(volume.levels) == len(self.full.levels)
        return dict(volume.metadata[SPEC]) if same and SPEC in volume.metadata else None

    def set_model(self, voxel_nm: tuple[float, float, float] | None) -> None:
        """The chosen cascade's finest voxel size: the level nearest to it becomes the default."""
        self._model_nm = voxel_nm
        self._show_levels()

    def reopen(self) -> None:
        """Open the chosen layer (again), in a worker; `changed` follows."""
        self.error.clear()
        self.full = None
        layer = self.layer
        if layer is None:
            self._on_opened(None)
            return
        try:
            voxel_nm = self.voxel.value if self.correct.isChecked() else None
            described = describe(layer, step=self._viewer.dims.current_step, voxel_nm=voxel_nm)
        except ConnectoError as error:
            self.error.show_error(error)
            self._on_opened(None)
            return
        if not self.correct.isChecked():
            self.voxel.set_value(described.voxel_nm)
        self._opener.start(lambda: open_job(described))

    def close_jobs(self) -> None:
        """Stop following the viewer."""
        self._opener.close()
        self._watch(None)
        self.layers.release()

    def _on_layer_chosen(self) -> None:
        self.correct.blockSignals(True)
        self.correct.setChecked(False)
        self.correct.blockSignals(False)
        self._show_voxel(False)
        self._watch(self.layer)
        self.reopen()

    def _on_opened(self, volume: Volume | None) -> None:
        self.full = volume
        if volume is not None and not volume.calibrated and not self.correct.isChecked():
            self.correct.setText("Set voxel size (nm): this layer states no unit")
            self.correct.setChecked(True)  # opens again, with the size shown
            return
        self._show_levels()
        self.changed.emit()

    def _show_levels(self) -> None:
        locked = getattr(self.layer, "locked_data_level", None) if self.layer is not None else None
        self.picker.blockSignals(True)
        self.picker.show_levels(self.full, locked=locked, model_nm=self._model_nm)
        self.picker.blockSignals(False)

    def _on_correct_toggled(self, on: bool) -> None:
        if not on:
            self.correct.setText("Set voxel size (nm)")
        self._show_voxel(on)
        self.reopen()

    def _show_voxel(self, on: bool) -> None:
        self.layout_.setRowVisible(self.voxel, on)

    def _watch(self, layer: Layer | None) -> None:
        """Follow the level that is locked, and the scale and units that are set, in the layer's own controls."""
        for watched, connect in ((self._watched, False), (layer, True)):
            for name, slot in (
                ("locked_data_level", self._on_locked),
                ("scale", self._on_scale),
                ("units", self._on_scale),
            ):
                emitter = getattr(watched.events, name, None) if watched is not None else None
                if emitter is not None:
                    (emitter.connect if connect else emitter.disconnect)(slot)
        self._watched = layer

    def _on_locked(self, _event: Any = None) -> None:
        self._show_levels()
        self.changed.emit()

    def _on_scale(self, _event: Any = None) -> None:
        self.reopen()


class VoxelSize(QWidget):
    """Three numbers, nm, (z, y, x)."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.boxes = [QDoubleSpinBox() for _ in range(3)]
        for box, axis in zip(self.boxes, "zyx", strict=True):
            box.setRange(0.001, 1e7)
            box.setDecimals(3)
            box.setKeyboardTracking(False)
            box.setStyleSheet("min-width: 40px;")  # napari's own is too wide for three in a row
            box.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)
            box.setToolTip(f"Size of a level 0 voxel along {axis}, in nm")
            box.valueChanged.connect(lambda _: self.changed.emit())
            layout.addWidget(box)

    @property
    def value(self) -> tuple[float, float, float]:
        """In nm, (z, y, x)."""
        z, y, x = (box.value() for box in self.boxes)
        return (z, y, x)

    def set_value(self, voxel_nm: tuple[float, float, float]) -> None:
        """Show a size without announcing it."""
        for box, nm in zip(self.boxes, voxel_nm, strict=True):
            box.blockSignals(True)
            box.setValue(nm)
            box.blockSignals(False)


class CascadeBox(QGroupBox):
    """Which cascade: shipped, from a folder, or to be trained. ``changed`` is emitted with another choice."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Cascade")
        self.folders: dict[str, Path] = {}
        self.peeked: Peek | None = None
        self._chosen = ""
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(8)
        self.combo.setToolTip(
            "What to look for: a cascade that ships, one from a folder, or one trained from your labels"
        )
        self.about = text_line("What the chosen cascade finds, and on what it was trained")
        self.error = ErrorLine()
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("Find", self.combo)
        layout.addRow(self.about)
        layout.addRow(self.error)
        self.layout_ = layout
        self._lister = Worker("cascades", self, quiet=True)
        self._lister.returned.connect(self._on_listed)
        self._lister.failed.connect(self.error.show_error)
        self.combo.activated.connect(self._on_activated)
        self._fill("")
        self._lister.start(list_job)

    @property
    def folder(self) -> Path | None:
        """Of the chosen cascade; None while training is chosen."""
        return self.folders.get(self._chosen)

    @property
    def training(self) -> bool:
        """Whether "Train from labels" is chosen."""
        return self.combo.currentText() == TRAIN

    def use(self, folder: Path) -> None:
        """Choose the cascade in a folder; an error is shown and the choice stays."""
        try:
            peeked = peek(folder)
        except ConnectoError as error:
            self.error.show_error(error)
            self.combo.setCurrentText(self._chosen)
            return
        name = next((n for n, f in self.folders.items() if f == folder), f"{peeked.name} ({folder.name})")
        self.folders[name] = folder
        self._fill(name)
        self._choose(name)

    def choose_training(self) -> None:
        """Choose "Train from labels"."""
        self._choose(TRAIN)

    def close_jobs(self) -> None:
        """Stop listing."""
        self._lister.close()

    def _fill(self, current: str) -> None:
        self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([*self.folders, FOLDER, TRAIN])
        self.combo.setCurrentText(current)
        self.combo.blockSignals(False)

    def _on_listed(self, folders: dict[str, Path]) -> None:
        self.folders = {**folders, **self.folders}
        self._fill(self._chosen)
        if not self._chosen and self.folders:
            self._choose(next(iter(self.folders)))

    def _on_activated(self, _index: int) -> None:
        text = self.combo.currentText()
        if text == FOLDER:
            folder = QFileDialog.getExistingDirectory(self, "Folder of a cascade (with cascade.json)")
            if folder:
                self.use(Path(folder))
            else:
                self.combo.setCurrentText(self._chosen)
        else:
            self._choose(text)

    def _choose(self, name: str) -> None:
        self.error.clear()
        self._chosen, self.peeked = name, None
        self.combo.setCurrentText(name)
        if name == TRAIN:
            self.about.setText("Paint masks in a Labels layer, or set points; then train below.")
        else:
            try:
                self.peeked = peek(self.folders[name])
                self.about.setText(self.peeked.line)
            except ConnectoError as error:
                self.about.setText("")
                self.error.show_error(error)
        self.changed.emit()

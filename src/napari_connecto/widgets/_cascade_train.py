"""Training a cascade from labels: the box that appears when "Train from labels…" is chosen."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels, Points
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.widgets._cascade_jobs import Training, training_job
from napari_connecto.widgets._form import ParamsForm
from napari_connecto.widgets._image import InputBox
from napari_connecto.widgets._job_bar import JobBar, text_line
from napari_connecto.widgets._layers import SPEC, describe, nm_per_unit
from napari_connecto.widgets._show import to_nm
from napari_connecto.widgets._view import LayerCombo
from napari_connecto.workflows.params import TrainParams


class TrainBox(QGroupBox):
    """Labels, params, a button. ``trained`` is emitted with the folder of the new cascade.

    Training runs in a process of its own: it does not slow the view, and Cancel ends it at once.
    """

    trained = Signal(Path)

    def __init__(self, viewer: Any, source: InputBox, folder: Callable[[], Path]) -> None:
        super().__init__("Train from labels")
        self._viewer, self._source, self._folder = viewer, source, folder
        self.labels = LayerCombo(
            viewer,
            (Labels, Points),
            "Labels: masks or instances (0 is background), on all or part of the image.\n"
            "Points: centres of all objects in the image; everywhere else counts as background.",
        )
        self.form = ParamsForm(TrainParams)
        self.bar = JobBar("training", "Train", "Train a cascade from these labels; a few minutes on a small volume")
        self.about = text_line("What the training found")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        for widget in (self.labels, self.form, self.bar, self.about):
            layout.addWidget(widget)
        self.labels.chosen.connect(self._on_labels_chosen)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_trained)

    def _on_labels_chosen(self) -> None:
        if isinstance(self.labels.layer, Points):
            self.form.change(head="centres")

    def _on_clicked(self) -> None:
        try:
            training = self.training()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.about.setText("")
        self.bar.start(lambda: training_job(training), resumable=False)

    def training(self) -> Training:
        """What the button would train.

        Raises
        ------
        InputError
            If the image or the labels are missing or cannot be used.
        """
        self._source.settle()
        volume, layer, image = self._source.need_volume(truncated=True), self.labels.layer, self._source.layer
        assert image is not None
        if layer is None:
            raise InputError("got no labels; add a Labels layer with masks, or a Points layer with centres")
        if not volume.calibrated:
            raise InputError(f"'{volume.name}' states no voxel size; set it in nm, z y x, in the box Image")
        params = self.form.value
        labels: Volume | np.ndarray
        if isinstance(layer, Points):
            if params.diameter_nm <= 0:
                raise InputError("points need a diameter: set Diameter (nm) to the typical size of an object")
            if len(layer.data) == 0:
                raise InputError(f"layer '{layer.name}' holds no points; set one on every object")
            assert self._source.full is not None
            labels, spec = to_nm(layer.data, layer, image, self._source.full.levels[0]), None
        else:
            assert self._source.full is not None
            like = self._source.full.levels[0].voxel_nm if _same_grid(layer, image) else None
            labels = describe(layer, voxel_nm=like).volume()
            spec = labels.metadata.get(SPEC)
        name = re.sub(r"[^\w.-]+", "-", params.name) or "cascade"
        out = self._folder() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        return Training(volume, self._source.spec(volume), labels, spec, params, out)

    def _on_trained(self, summary: dict[str, Any]) -> None:
        self.about.setText("\n".join([*summary["lines"], f"Kept in {summary['out']}"]))
        self.trained.emit(Path(summary["out"]))


def _same_grid(layer: Any, image: Any) -> bool:
    """Labels of the image's scale that state no unit are on the image's voxels."""
    return nm_per_unit(layer) is None and np.allclose(layer.scale[-2:], image.scale[-2:])

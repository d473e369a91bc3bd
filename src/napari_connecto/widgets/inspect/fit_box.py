"""Fitting a guard to a model that has none: labels and one button, in the tab "Trust"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.jobs import fit_job
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.view import LayerCombo

NO_GUARD = "This model has no guard. Fit one from an image with labels; it takes some minutes and is saved beside it."


class FitBox(QWidget):
    """Shown while the chosen model has no guard. ``fitted`` is emitted with what the new one reached, in words."""

    fitted = Signal(list)

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        super().__init__()
        self._viewer, self._image, self._model = viewer, image, model
        self.labels = LayerCombo(viewer, (Labels,), "Labels of the chosen image, each object with its own number")
        self.bar = JobBar("guard", "Fit guard", "Fit a guard from the chosen image and its labels, and save it")
        missing = text_line("What a guard is fitted from")
        missing.setText(NO_GUARD)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in (missing, self.labels, self.bar):
            layout.addWidget(widget)
        self.bar.clicked.connect(self._on_fit)
        self.bar.worker.returned.connect(self.fitted.emit)

    def _on_fit(self) -> None:
        layer, folder = self.labels.layer, self._model.folder
        try:
            volume = self._model.reads(self._image)
            if layer is None or folder is None:
                raise InputError("no labels are chosen; open the labels of the image and choose them")
            described = describe(layer, step=self._viewer.dims.current_step)
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.bar.start(lambda: labelled_job(volume, described, folder), resumable=False, abandon=True)


def labelled_job(volume: Volume, described: Any, folder: Path) -> Job[list[str]]:
    """Open the labels that were described, then fit."""
    return (yield from fit_job(volume, described.volume(), folder))

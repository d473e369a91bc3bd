"""Training a cascade from labels: the tab "Train" of the dock."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from napari.layers import Labels, Points
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.cascade.caption import LabelsCaption
from napari_connecto.widgets.cascade.jobs import Training, training_job
from napari_connecto.widgets.cascade.region import RegionRow
from napari_connecto.widgets.cascade.training.budget import BudgetButtons
from napari_connecto.widgets.cascade.training.encoder_weights import EncoderWeights
from napari_connecto.widgets.cascade.training.labels import new_labels, taught
from napari_connecto.widgets.cascade.training.training_bar import TrainingBar
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.plots import Curve
from napari_connecto.widgets.viewer.layers import SPEC
from napari_connecto.widgets.viewer.view import LayerCombo
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.recipes.entries.run import Summary

FIRST = ("name", "head", "diameter_nm")
"""Params that are asked for; the others are folded."""
PREVIOUS = "connecto_previous"
"""Key of a training layer's ``metadata``: folder of the cascade whose detections were reviewed."""


class TrainBox(QGroupBox):
    """Labels, params; and a ``foot`` with the curve and the button, which stands elsewhere.

    ``trained`` is emitted with the folder of the new cascade; ``rejected`` instead if it finds nothing, or less than
    the previous one.
    """

    trained = Signal(Path)
    rejected = Signal(Path)

    def __init__(self, viewer: Any, source: InputBox, folder: Callable[[], Path]) -> None:
        super().__init__("Labels")
        self._viewer, self._source, self._folder = viewer, source, folder
        self.labels = LayerCombo(
            viewer,
            (Labels, Points),
            "Labels: masks or instances, on all or part of the image.\n"
            "Points: centres of objects in the image.\n"
            "Unlabelled voxels count as background, or as unknown if you choose so below.",
        )
        self.region = RegionRow(viewer)
        self.caption = LabelsCaption()
        self.new = QPushButton("New labels")
        self.new.setToolTip("Add an empty Labels layer on the image, and take the brush: one label for each object")
        self.form = ParamsForm(TrainParams, skip=("calls",), first=FIRST)  # calls are those of a detector
        self.budget, self.curve = BudgetButtons(self.form), Curve()
        self.curve.hide()
        self.weights = EncoderWeights(self.form)
        self.bar = TrainingBar("Train", "Train a cascade from these labels; a few minutes on a small volume")
        self.foot = QWidget()
        below = QVBoxLayout(self.foot)
        below.setContentsMargins(0, 0, 0, 0)
        for part in (self.curve, self.bar):
            below.addWidget(part)
        self._waiting, self._stage = False, ""
        self.about = text_line("Result of the training")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        self.details = Details(self.about, tooltip=self.about.toolTip())
        self.details.hide()
        parts = (
            row(self.labels, self.new),
            self.region,
            self.caption,
            self.budget,
            self.form,
            self.weights,
            self.details,
        )
        for widget in parts:
            layout.addWidget(widget)
        self._source.layers.chosen.connect(self._on_image_chosen)
        self.labels.chosen.connect(self._on_labels_chosen)
        self._source.changed.connect(self._on_image_opened)
        for signal in (self.form.changed, self.region.changed):
            signal.connect(self._show_caption)
        self.new.clicked.connect(self._on_new)
        self.bar.worker.reported.connect(self._on_reported)
        self.region.draw.clicked.connect(lambda: self.region.draw_on(self._source.layer))
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_trained)
        self._show_caption()

    def _on_new(self) -> None:
        image, full = self._source.layer, self._source.full
        if image is None or full is None:
            self.bar.error.show_error(InputError("no image is open; open one, then press New labels"))
            return
        self.bar.error.clear()
        self.labels.choose(new_labels(self._viewer, image, full))

    def _on_reported(self, progress: Progress, payloads: list[Any]) -> None:
        """Draw loss and score of the level that is being trained."""
        if isinstance(progress.payload, dict) and "loss" in progress.payload:
            if progress.stage != self._stage:  # the last level's curve stays when the training is over
                self._stage = progress.stage
                self.curve.clear()
            self.curve.show()
            self.curve.add(payloads, progress.total, progress.done)

    def _on_image_chosen(self) -> None:
        """Clear the messages of a training on another image, unless it still runs."""
        if not self.bar.worker.state.busy:
            self.bar.reset()
            self._tell("")

    def _on_labels_chosen(self) -> None:
        if isinstance(self.labels.layer, Points):
            self.form.change(head="centres")
        self._show_caption()

    def _show_caption(self) -> None:
        with suppress(ConnectoError):  # of an incomplete entry
            self.caption.tell(self.labels.layer, self.form.value, region=self.region.layers.layer is not None)

    def _on_clicked(self) -> None:
        self._source.settle()
        self._waiting = self._source.opening
        if self._waiting:
            self.bar.error.clear()
            self.bar.say("Training starts as soon as the image is open.")
            return
        try:
            training = self.training()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._tell("")
        self._stage = ""
        self.bar.train(lambda: training_job(training), training.out)

    def _tell(self, text: str) -> None:
        self.about.setText(text)
        self.details.setVisible(bool(text))

    def _on_image_opened(self) -> None:
        """Start the training if it was requested while the image was being opened; an earlier refusal is outdated."""
        self.bar.forget()
        full = self._source.full
        self.form.count_in("pixels" if full is not None and not full.calibrated else "nm")
        if self._waiting and not self._source.opening:
            self._on_clicked()

    def training(self) -> Training:
        """The training as set in the dock.

        Raises
        ------
        InputError
            If the image or the labels are missing or cannot be used.
        """
        self._source.settle()
        volume, layer, image = self._source.need_volume(truncated=True), self.labels.layer, self._source.layer
        assert image is not None
        if layer is None:
            raise InputError("no labels are chosen; add a Labels layer with masks, or a Points layer with centres")
        if not (volume.calibrated or self._source.pixels):
            raise InputError(
                f"'{volume.name}' states no voxel size; enter it at the top of the dock, or choose Use pixels there"
            )
        params = self.form.value
        assert self._source.full is not None
        what = taught(layer, image, self._source.full, params)
        reviewed = self.region.rectangles(image, self._source.full.levels[0])
        spec = what.labels.metadata.get(SPEC) if isinstance(what.labels, Volume) else None
        name = re.sub(r"[^\w.-]+", "-", params.name) or "cascade"
        out = self._folder() / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        previous = layer.metadata.get(PREVIOUS)
        spec_of_image = self._source.spec(volume)
        return Training(volume, spec_of_image, what.labels, spec, params, out, what.review, previous, reviewed)

    def close_jobs(self) -> None:
        """Stop training, and following the layers."""
        self.caption.close_jobs()
        self.weights.bar.close_jobs()
        self.bar.close_jobs()
        for combo in (self.labels, self.region.layers):
            combo.release()

    def _on_trained(self, summary: Summary) -> None:
        out = Path(summary.out)
        self._tell("\n".join([*summary.lines, f"Saved in {out}"]))
        if summary.figures["failure"]:
            self.bar.error.show_error(ConnectoError(summary.figures["failure"]))
            self.bar.say("The new cascade finds nothing; it is saved, but not chosen.")
        elif summary.figures["worse"]:
            self.bar.say("The new cascade is worse than the previous one; it is saved, but not chosen.")
        else:
            self.trained.emit(out)
            return
        self.rejected.emit(out)

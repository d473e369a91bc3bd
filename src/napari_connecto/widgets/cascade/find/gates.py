"""Making a cascade around the chosen detector: coarse levels that learn, without labels, where it finds nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QVBoxLayout

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.cascade.find.box import FinderBox
from napari_connecto.widgets.cascade.jobs import Training, training_job
from napari_connecto.widgets.cascade.training.training_bar import TrainingBar
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.recipes.entries.run import Summary

ASKED = ("budget",)
"""Parameters that are asked for; the others have nothing to do with detectors, or are chosen from what is found."""


class GatesBox(QGroupBox):
    """A budget and a button. ``trained`` is emitted with the new cascade's folder, or ``rejected`` if it is useless."""

    trained = Signal(Path)
    rejected = Signal(Path)

    def __init__(self, source: InputBox, finder: FinderBox, folder: Callable[[], Path]) -> None:
        super().__init__("For large images")
        self._source, self._finder, self._folder = source, finder, folder
        self.line = text_line("What a cascade is for")
        self.line.setText("A cascade runs the detector only where coarse levels expect objects. No labels are needed.")
        self.form = ParamsForm(TrainParams, skip=[each.name for each in fields(TrainParams) if each.name not in ASKED])
        self.bar = TrainingBar(
            "Make a cascade",
            "Run the detector on a sample of places, within the budget, and train coarse levels on what it finds",
        )
        self.about = text_line("Result of the training")
        self.about.hide()
        self._made: Path | None = None
        self.wanted = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        for widget in (self.line, self.form, self.bar, self.about):
            layout.addWidget(widget)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_trained)

    def show_for(self, other: str, cascade: Path | None) -> None:
        """Show everything if a detector is chosen, and only the result if the cascade made last is."""
        for part in (self.line, self.form, self.bar):
            part.setVisible(bool(other))
        self.wanted = bool(other) or (cascade is not None and cascade == self._made)
        self.setVisible(self.wanted)

    def training(self) -> Training:
        """The training as set in the dock.

        Raises
        ------
        InputError
            If the image or the detector cannot be used.
        """
        self._source.settle()
        volume, finder = self._source.need_volume(), self._finder.finder()
        if finder is None:
            raise InputError("no detector is chosen; choose one in the row Find with")
        if not (volume.calibrated or self._source.pixels):
            raise InputError(
                f"'{volume.name}' states no voxel size; enter it at the top of the dock, or choose Use pixels there"
            )
        out = self._folder() / f"{finder.name}-cascade-{time.strftime('%Y%m%d-%H%M%S')}"
        params = TrainParams(name=finder.name, budget=self.form.value.budget)
        return Training(volume, self._source.spec(volume), None, None, params, out, finder=finder)

    def _on_clicked(self) -> None:
        try:
            training = self.training()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.about.hide()
        self.bar.train(lambda: training_job(training), training.out)

    def _on_trained(self, summary: Summary) -> None:
        out = Path(summary.out)
        self.about.setText("\n".join([*summary.lines, f"Saved in {out}"]))
        self.about.show()
        self._made = out
        (self.rejected if summary.figures["failure"] else self.trained).emit(out)

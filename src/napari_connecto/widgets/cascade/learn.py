"""Learning from the review that is shown, in one step: train, compare, search again with the better cascade."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.cascade.jobs import Training, training_job
from napari_connecto.widgets.cascade.training.training_bar import TrainingBar
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.viewer.layers import SPEC
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.recipes.entries.run import Summary
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.begun import Begun
    from napari_connecto.widgets.cascade.review import Review


class LearnBar(QWidget):
    """Trains from what was accepted, added and rejected; compares with the cascade that was reviewed.

    Signals: ``trained(folder)`` with each new cascade, ``again(folder)`` when the user wants to search with it.
    """

    trained = Signal(Path)
    again = Signal(Path)

    def __init__(self, make: Callable[[], Training]) -> None:
        super().__init__()
        self._make = make
        self.bar = TrainingBar(
            "Learn from review",
            "Train from the accepted, added and rejected detections, starting from the cascade that found them,\n"
            "and compare both on the same held-out objects. Undecided detections are not used",
        )
        self.about = text_line("The new cascade and the one that was reviewed, on the same held-out objects")
        self.search = QPushButton("Search again with the new cascade")
        self.search.setToolTip("Use the new cascade from now on, and search the whole image with it; verdicts are kept")
        self._out: Path | None = None
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.bar, self.about, self.search):
            layout.addWidget(widget)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_trained)
        self.search.clicked.connect(self._on_search)
        self.forget()

    def forget(self) -> None:
        """Another search is shown: withdraw the offer."""
        self.about.hide()
        self.search.hide()

    def close_jobs(self) -> None:
        """Stop training."""
        self.bar.close_jobs()

    def _on_clicked(self) -> None:
        try:
            training = self._make()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.forget()
        self.bar.train(lambda: training_job(training), training.out)

    def _on_trained(self, summary: Summary) -> None:
        self._out = Path(summary.out)
        figures = summary.figures
        self.about.setText(figures.get("failure") or figures.get("comparison") or "\n".join(summary.lines))
        self.about.setToolTip("\n".join([*summary.lines, f"Saved in {self._out}"]))
        self.about.show()
        self.search.setVisible(not (figures.get("failure") or figures.get("worse")))
        self.trained.emit(self._out)

    def _on_search(self) -> None:
        if self._out is not None:
            self.search.hide()
            self.again.emit(self._out)


def training_from(begun: Begun, review: Review, params: TrainParams, folder: Path) -> Training:
    """The training that a review asks for.

    Parameters
    ----------
    begun, review
        The search, and the verdicts on what it found.
    params
        Of which name, head and diameter are taken from the cascade.
    folder
        Where cascades are made.

    Raises
    ------
    InputError
        If nothing is accepted or added, or masks are to be learnt and there are none.
    """
    places, peeked, found = review.places(), begun.peeked, review.found
    if not len(places.objects):
        raise InputError("no detection is accepted yet; press A on correct detections, or add missed ones (M)")
    if peeked.head == "masks" and found.labels is None:
        raise InputError("masks appear when the search is finished; press Run all, or wait until it ends")
    params = replace(params, name=peeked.name, head=peeked.head, diameter_nm=float(round(peeked.diameter_nm)))
    name = re.sub(r"[^\w.-]+", "-", peeked.name) or "cascade"
    out = folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    labels = np.empty((0, 3)) if found.labels is None else found.labels
    source = "" if found.labels is None else found.labels.source
    return Training(
        begun.volume,
        begun.volume.metadata.get(SPEC),
        labels,
        VolumeSpec(source) if source else None,
        params,
        out,
        places,
        begun.model,
    )

"""How the training box says what is labelled, and how unlabelled voxels are treated."""

from __future__ import annotations

from typing import Any

from napari.layers import Labels, Layer, Points
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_connecto.core.amounts import counted
from napari_connecto.widgets.cascade.jobs import labelled_job
from napari_connecto.widgets.cascade.layers import REVIEWED
from napari_connecto.widgets.cascade.training.labels import caption, in_memory
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.painted.gauge import Gauge, Reading
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, GOOD
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.workflows.cascade.params import TrainParams

LEAST, USEFUL = 4, 30
"""Objects that training takes, two in each of two parts; and with which the measured rates become useful."""
PAUSE_MS = 500
"""After the last change, before the labels are looked at."""


class LabelsCaption(QWidget):
    """One line, at once; then, where only some sections are labelled, what that means, from a look at the labels.

    Labels are looked at off the GUI thread, again after every stroke of the brush.
    """

    def __init__(self) -> None:
        super().__init__()
        self.line = text_line("How unlabelled voxels are treated")
        self.counter = Gauge("Labelled objects, and how many it takes")
        self._layer: Layer | None = None
        self._params = TrainParams()
        self._region = False
        self._worker, self._pause = Worker("labels", self, quiet=True), QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.counter)
        layout.addWidget(self.line)
        self._pause.timeout.connect(self._look)
        self._worker.returned.connect(self._on_looked)

    def text(self) -> str:
        """What is shown."""
        return str(self.line.text())

    def tell(self, layer: Layer | None, params: TrainParams, *, region: bool) -> None:
        """Describe the labels of a layer; ``region``: a reviewed region is given."""
        self._watch(layer)
        self._params, self._region = params, region
        self.line.setText(caption(layer, params, region=region))
        self._pause.start()

    def close_jobs(self) -> None:
        """Stop looking, and following the layer."""
        self._pause.stop()
        self._worker.close(wait_s=0)
        self._watch(None)

    def _watch(self, layer: Layer | None) -> None:
        for watched, connect in ((self._layer, False), (layer, True)):
            event = None
            if isinstance(watched, Labels):
                event = watched.events.paint
            elif isinstance(watched, Points):
                event = watched.events.data
            if event is not None:
                (event.connect if connect else event.disconnect)(self._on_painted)
        if layer is not self._layer:
            self.counter.show_reading(None)
        self._layer = layer

    def _on_painted(self, _event: Any = None) -> None:
        self._pause.start()

    def _look(self) -> None:
        if isinstance(self._layer, Points):
            self.counter.show_reading(counted_reading(len(self._layer.data)))
        labels, params = in_memory(self._layer), self._params
        if labels is not None:
            self._worker.start(lambda: labelled_job(labels, params), abandon=True)

    def _on_looked(self, found: tuple[int, str]) -> None:
        if self._pause.isActive():
            return
        count, told = found
        self.counter.show_reading(counted_reading(count))
        if not self._region and self._layer is not None and REVIEWED not in self._layer.metadata:
            self.line.setText(told or caption(self._layer, self._params, region=self._region))


def counted_reading(count: int) -> Reading:
    """Labelled objects against the least that training takes, and the number with which rates become useful."""
    text = f"{counted(count, 'object')} labelled"
    if count < LEAST:
        text, colour = f"{text}: at least {LEAST} are needed", BAD
    elif count < USEFUL:
        text, colour = f"{text}: {USEFUL} make the measured rates useful", FAIR
    else:
        text, colour = f"{text}: enough", GOOD
    tip = f"Training takes {LEAST}: two in each of two separate parts. With {USEFUL} the measured rates are useful."
    return Reading(text, count / USEFUL, colour, ((LEAST / USEFUL, str(LEAST)), (1.0, str(USEFUL))), tip=tip)

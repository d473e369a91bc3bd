"""The last box of the dock "Cascade detection": measure, count per region, plan fields of view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Labels, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QGroupBox, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Job
from napari_connecto.widgets.cascade.using.jobs import (
    REGIONS,
    Used,
    fields_job,
    measure_used_job,
    regions_job,
    save_job,
)
from napari_connecto.widgets.cascade.using.layers import names_of, show_counts, show_fields
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.view import LayerCombo
from napari_connecto.workflows.cascade.results.params import FieldParams

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.results.fields.result import Fields
    from napari_connecto.workflows.cascade.results.regions import RegionCounts

FILTERS = "Table (*.csv);;JSON (*.json);;Parquet (*.parquet)"


class UseBox(QGroupBox):
    """Three jobs on the detections of the last search, each with its progress and a cancel.

    ``measured(Used, Detections)`` is emitted with what now has measurements, or the region that each object lies in.
    Regions and fields are of what is shown and not rejected.

    Parameters
    ----------
    viewer
        Where fields of view are shown.
    used
        The search that is shown; raises `InputError` if there is none.
    """

    measured = Signal(object, object)

    def __init__(self, viewer: Any, used: Callable[[], Used]) -> None:
        super().__init__("Use what was found")
        self._viewer, self._now = viewer, used
        self.measure = JobBar(
            "measuring", "Measure", "Size, intensity and shape of each object, as layer features and table columns"
        )
        self.count = JobBar("counting", "Count per region", "Objects, volume searched and density of each region")
        self.plan = JobBar(
            "fields of view", "Plan fields", "Cover the shown detections with as few fields of view as possible"
        )
        self.regions = LayerCombo(
            viewer, (Labels,), "Labels layer of regions, such as an atlas, aligned with the image", none="none"
        )
        self.form: ParamsForm[FieldParams] = ParamsForm(FieldParams, skip=("min_score",))
        self.save = QPushButton("Save fields…")
        self.save.setToolTip("Write the fields of view in stage units: CSV, JSON or Parquet")
        self.fields: Fields | None = None
        self._used: dict[JobBar, Used] = {}
        self._counted: Labels | None = None
        self._drawn: Layer | None = None
        self._writer = Worker("saving fields", self)
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        chooser = QWidget()
        rows = QFormLayout(chooser)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Regions (labels)", self.regions)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 4, 8, 6)
        column.setSpacing(4)
        for part in (self.measure, chooser, self.count, QLabel("Fields of view"), self.form, self.plan, self.save):
            column.addWidget(part)
        self.save.setEnabled(False)
        self.hide()

    def _connect(self) -> None:
        self.measure.clicked.connect(lambda: self._start(self.measure, measure_used_job))
        self.count.clicked.connect(lambda: self._start(self.count, self._counting))
        self.plan.clicked.connect(lambda: self._start(self.plan, lambda used: fields_job(used, self.form.value)))
        self.measure.worker.returned.connect(self._on_measured)
        self.count.worker.returned.connect(self._on_counted)
        self.plan.worker.returned.connect(self._on_planned)
        self.save.clicked.connect(self._on_save)
        self._writer.returned.connect(lambda path: self.plan.say(f"{self.plan.status.text()}\nWritten to {path}."))
        self._writer.failed.connect(self.plan.error.show_error)

    @property
    def bars(self) -> tuple[JobBar, ...]:
        """The three jobs."""
        return self.measure, self.count, self.plan

    def begin(self, found: Detections) -> None:
        """A search has ended: show what can be done with it, and forget what was said of the one before."""
        from napari_connecto.workflows.cascade.results.place import in_pixels  # already loaded by the search

        self.fields = self._drawn = None
        self.form.count_in("pixels" if in_pixels(found) else "nm")
        self.save.setEnabled(False)
        for bar in self.bars:
            bar.reset()
        self.show()

    def close_jobs(self) -> None:
        """Stop all jobs and stop following the viewer."""
        for bar in self.bars:
            bar.close_jobs()
        self._writer.close()
        self.regions.release()

    def _start(self, bar: JobBar, make: Callable[[Used], Job[Any]]) -> None:
        try:
            used = self._now()
            job = make(used)
        except ConnectoError as error:
            bar.error.show_error(error)
            return
        self._used[bar] = used
        bar.start(lambda: job, resumable=False)

    def _counting(self, used: Used) -> Job[RegionCounts]:
        layer = self.regions.layer
        if not isinstance(layer, Labels):
            raise InputError(
                "no regions are chosen; choose a Labels layer, such as an atlas or regions that you painted"
            )
        self._counted = layer
        return regions_job(used, describe(layer, step=self._viewer.dims.current_step), names_of(layer))

    def _on_measured(self, found: Detections) -> None:
        from napari_connecto.workflows.cascade.results.measure import measured_lines  # loaded by the job

        used = self._used[self.measure]
        self.measured.emit(used, found)
        self.measure.say("\n".join([*measured_lines(found), f"Written to {used.folder / 'detections.csv'}."]))

    def _on_counted(self, counts: RegionCounts) -> None:
        used = self._used[self.count]
        self.measured.emit(used, counts.found)
        if self._counted is not None and self._counted in self._viewer.layers:
            show_counts(self._counted, counts)
        self.count.say("\n".join([*counts.lines(), f"Written to {used.folder / REGIONS}."]))

    def _on_planned(self, fields: Fields) -> None:
        used = self._used[self.plan]
        self.fields = fields
        self.save.setEnabled(True)
        self.plan.say("\n".join(fields.lines()))
        if used.layer in self._viewer.layers:
            self._drawn = show_fields(self._viewer, fields, used.layer, used.level, self._drawn)

    def _on_save(self) -> None:
        self.plan.error.clear()
        fields = self.fields
        assert fields is not None  # else the button is off
        path, chosen = QFileDialog.getSaveFileName(self, "Save fields of view", "fields.csv", FILTERS)
        if path:
            suffix = chosen[chosen.index("*") + 1 : chosen.index(")")] if "*" in chosen else ".csv"
            out = Path(path) if Path(path).suffix else Path(path + suffix)
            self._writer.start(lambda: save_job(fields, out))

"""Export the detections kept by a review, in the format given by the file name."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from napari_connecto.core.errors import ConnectoError, StoreError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.views.balls import with_balls
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.lazy import Relabelled
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED

FILTERS = ";;".join(
    (
        "Table (*.csv)",
        "Parquet (*.parquet)",
        "Cells for cellfinder (*.xml)",
        "ImageJ regions (*.zip)",
        "QuPath (*.geojson)",
        "OME-Zarr labels (*.zarr)",
    )
)


def ask_path(parent: QWidget, image: str) -> Path | None:
    """Ask where to export the detections of an image to; None if the user cancels."""
    named = "-".join(filter(None, (re.sub(r"[^\w.-]+", "-", image).strip("-"), "detections.csv")))
    path, chosen = QFileDialog.getSaveFileName(parent, "Export detections", named, FILTERS)
    if not path:
        return None
    suffix = chosen[chosen.index("*") + 1 : chosen.index(")")] if "*" in chosen else ".csv"
    return Path(path) if Path(path).suffix else Path(path + suffix)


class Written(NamedTuple):
    """A finished export: path, number of detections, and how many of them are accepted."""

    path: Path
    kept: int
    accepted: int

    @property
    def line(self) -> str:
        """The export in words."""
        return f"{self.kept} detections ({self.accepted} accepted) written to {self.path}"


def export_job(review: Review, path: Path) -> Job[Written]:
    """Write the shown, not rejected detections as a table or as labels; label values are the ids of the table.

    In labels, added objects are balls of the typical diameter.

    Raises
    ------
    InputError
        If there are none.
    StoreError
        If labels are asked for and there are none, or the file cannot be written.
    """
    review.check_export()
    kept = review.kept()
    written = Written(path, len(kept), int((kept.status == ACCEPTED).sum()))
    if path.suffix != ".zarr":
        yield Progress(0, 1, "writing")
        kept.save(path)
        return written
    labels = review.found.labels
    if labels is None:
        raise StoreError("this cascade finds centres, not masks; export a table (.csv or .parquet)")
    from napari_connecto.io.volumes.write import save_volume_job  # zarr: keep opening the dock fast

    level = replace(labels.levels[0], array=Relabelled(labels.levels[0].array, review.label_table()))
    added = kept.status == ADDED
    drawn = with_balls(replace(labels, levels=(level,)), kept.centre_nm[added], kept.id[added], review.reach_nm)
    yield from save_volume_job(drawn, path, kind="labels")
    return written


class Exporter(QObject):
    """Ask for a file and write it off the GUI thread.

    Signals: ``written(str)`` with what was written, ``failed(error, traceback text)``.
    """

    written = Signal(str)
    failed = Signal(object, str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._parent, self._worker = parent, Worker("export", self)
        self._worker.failed.connect(self.failed)
        self._worker.returned.connect(lambda written: self.written.emit(written.line))

    def ask(self, review: Review, image: str) -> None:
        """Ask where to export the detections of an image to, if there are any to export."""
        try:
            review.check_export()
        except ConnectoError as error:
            self.failed.emit(error, "")
            return
        if path := ask_path(self._parent, image):
            self.export(review, path)

    def export(self, review: Review, path: Path) -> None:
        """Write the shown, not rejected detections in the format of the suffix, see `FILTERS`."""
        self._worker.start(lambda: export_job(review, path))

    def close(self) -> None:
        """Stop."""
        self._worker.close()

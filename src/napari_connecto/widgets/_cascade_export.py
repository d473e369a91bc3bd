"""Writing what a review keeps, in the format that the name says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets._cascade_review import Review
from napari_connecto.widgets._show import Relabelled

FILTERS = "Table (*.csv);;Parquet (*.parquet);;Cells for cellfinder (*.xml);;OME-Zarr labels (*.zarr)"


def ask_path(parent: QWidget) -> Path | None:
    """Where to export to; None if the user thinks better of it."""
    path, chosen = QFileDialog.getSaveFileName(parent, "Export detections", "detections.csv", FILTERS)
    if not path:
        return None
    suffix = chosen[chosen.index("*") + 1 : chosen.index(")")] if "*" in chosen else ".csv"
    return Path(path) if Path(path).suffix else Path(path + suffix)


def export_job(review: Review, path: Path) -> Job[Path]:
    """Write what is shown and not rejected as a table or as labels, whose numbers are the table's ids; the path."""
    if path.suffix != ".zarr":
        yield Progress(0, 1, "writing")
        review.kept().save(path)
        return path
    labels = review.found.labels
    if labels is None:
        raise StoreError("this cascade finds centres, not masks; export a table (.csv or .parquet)")
    from napari_connecto.io.write import save_volume_job  # zarr and its friends: not for the opening of a dock

    level = replace(labels.levels[0], array=Relabelled(labels.levels[0].array, review.label_table()))
    yield from save_volume_job(replace(labels, levels=(level,)), path, kind="labels")
    return path

"""Button that writes the HTML report of a finished result, with a link to the page."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl, Signal
from qtpy.QtWidgets import QLabel, QPushButton

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.mesa import torch_job

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Ranking
    from napari_connecto.workflows.recipes.entries.adapt import Rank


class ReportButton(QPushButton):
    """Hidden until there is a result; ``written`` is emitted with the page, ``failed`` as by a `Worker`."""

    written = Signal(object)
    failed = Signal(object, str)

    def __init__(self) -> None:
        super().__init__("Report")
        self.setToolTip("Write an HTML report of this result: images, figures, parameters, provenance")
        self._make: Callable[[], Job[Path]] | None = None
        self.worker = Worker("report", self)
        self.clicked.connect(self._on_clicked)
        self.worker.state_changed.connect(lambda state: self.setEnabled(not state.busy))
        self.worker.returned.connect(self.written.emit)
        self.worker.failed.connect(self.failed.emit)
        self.hide()

    def offer(self, make: Callable[[], Job[Path]] | None) -> None:
        """Show the button for a result whose report this job writes; hide it for None."""
        self._make = make
        self.setVisible(make is not None)

    def _on_clicked(self) -> None:
        if self._make is not None:
            self.worker.start(self._make)


def folder_job(folder: Path) -> Job[Path]:
    """Report of a result folder."""
    yield from torch_job()
    yield Progress(0, 1, "writing the report")
    from napari_connecto.reports.write import write_report_job  # matplotlib: not for the opening of a dock

    return (yield from write_report_job(folder))


def ranking_job(ranking: Ranking, run: Rank | None, folder: Path) -> Job[Path]:
    """Report of a ranking, which is first written to a folder; ``run`` is None if the image is not in a file."""
    yield from torch_job()
    yield Progress(0, 1, "writing the report")
    from napari_connecto.io.disk import storing, write_json
    from napari_connecto.workflows.recipes.recipe import write_recipe

    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "ranking.json", ranking.to_json())
    if run is not None:
        write_recipe(run, folder / "recipe.yaml")
    return (yield from folder_job(folder))


def show_place(label: QLabel, page: Path) -> None:
    """Show the path of the page as a link that opens it."""
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setOpenExternalLinks(True)
    address = bytes(QUrl.fromLocalFile(str(page)).toEncoded().data()).decode()
    label.ensurePolished()
    colour = label.palette().color(label.foregroundRole()).name()  # Qt's own blue is illegible on dark themes
    label.setText(f'Report: <a href="{escape(address)}" style="color: {colour}">{escape(str(page))}</a>')
    label.show()

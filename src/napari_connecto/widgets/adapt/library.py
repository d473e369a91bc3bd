"""Choosing the library of domains to rank: the first row of the step "Choose"."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_connecto.widgets.shared.boundary_models import list_job
from napari_connecto.widgets.shared.worker import Worker

FOLDER, SHIPPED = "From folder…", "Shipped and added models"


class LibraryCombo(QComboBox):
    """The shipped and the user's own models, or a folder with others.

    ``listed`` is emitted with the domains' folders by name, ``failed(error, traceback text)`` if listing fails.
    """

    listed = Signal(object)
    failed = Signal(object, str)

    def __init__(self) -> None:
        super().__init__()
        self.folder: Path | None = None
        self.addItems([SHIPPED, FOLDER])
        self.setToolTip("Where the pretrained models and samples of their training data's features are")
        self._lister = Worker("domains", self, quiet=True)
        self._lister.returned.connect(self.listed)
        self._lister.failed.connect(self.failed)
        self.activated.connect(self._on_activated)

    def use(self, folder: Path | None) -> None:
        """List the models in a folder; without it, the shipped and the user's own."""
        self.folder = folder
        if folder is not None and self.findText(str(folder)) < 0:
            self.insertItem(1, str(folder))
        self.setCurrentText(SHIPPED if folder is None else str(folder))
        self._lister.start(lambda: list_job(folder))

    def close_jobs(self) -> None:
        """Stop listing."""
        self._lister.close()

    def _on_activated(self, _index: int) -> None:
        text = self.currentText()
        if text == FOLDER:
            folder = QFileDialog.getExistingDirectory(self, "Library folder (each folder in it is a domain)")
            self.use(Path(folder) if folder else self.folder)
        else:
            self.use(None if text == SHIPPED else Path(text))

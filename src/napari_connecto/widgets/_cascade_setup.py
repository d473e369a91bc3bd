"""What is searched for: the second box of the dock "Cascade detection"."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QGroupBox

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets._cascade_jobs import Peek, list_job, peek
from napari_connecto.widgets._job_bar import ErrorLine, text_line
from napari_connecto.widgets._worker import Worker

FOLDER, TRAIN = "From folder…", "Train from labels…"


class CascadeBox(QGroupBox):
    """Which cascade: shipped, from a folder, or to be trained. ``changed`` is emitted with another choice."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__("Cascade")
        self.folders: dict[str, Path] = {}
        self.peeked: Peek | None = None
        self._chosen = ""
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(8)
        self.combo.setToolTip(
            "What to look for: a cascade that ships, one from a folder, or one trained from your labels"
        )
        self.about = text_line("What the chosen cascade finds, and on what it was trained")
        self.error = ErrorLine()
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("Find", self.combo)
        layout.addRow(self.about)
        layout.addRow(self.error)
        self.layout_ = layout
        self._lister = Worker("cascades", self, quiet=True)
        self._lister.returned.connect(self._on_listed)
        self._lister.failed.connect(self.error.show_error)
        self.combo.activated.connect(self._on_activated)
        self._fill("")
        self._lister.start(list_job)

    @property
    def folder(self) -> Path | None:
        """Of the chosen cascade; None while training is chosen."""
        return self.folders.get(self._chosen)

    @property
    def training(self) -> bool:
        """Whether "Train from labels" is chosen."""
        return self.combo.currentText() == TRAIN

    def use(self, folder: Path) -> None:
        """Choose the cascade in a folder; an error is shown and the choice stays."""
        try:
            peeked = peek(folder)
        except ConnectoError as error:
            self.error.show_error(error)
            self.combo.setCurrentText(self._chosen)
            return
        name = next((n for n, f in self.folders.items() if f == folder), f"{peeked.name} ({folder.name})")
        self.folders[name] = folder
        self._fill(name)
        self._choose(name)

    def choose_training(self) -> None:
        """Choose "Train from labels"."""
        self._choose(TRAIN)

    def close_jobs(self) -> None:
        """Stop listing."""
        self._lister.close()

    def _fill(self, current: str) -> None:
        self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([*self.folders, FOLDER, TRAIN])
        self.combo.setCurrentText(current)
        self.combo.blockSignals(False)

    def _on_listed(self, folders: dict[str, Path]) -> None:
        self.folders = {**folders, **self.folders}
        self._fill(self._chosen)
        if not self._chosen and self.folders:
            self._choose(next(iter(self.folders)))

    def _on_activated(self, _index: int) -> None:
        text = self.combo.currentText()
        if text == FOLDER:
            folder = QFileDialog.getExistingDirectory(self, "Folder of a cascade (with cascade.json)")
            if folder:
                self.use(Path(folder))
            else:
                self.combo.setCurrentText(self._chosen)
        else:
            self._choose(text)

    def _choose(self, name: str) -> None:
        self.error.clear()
        self._chosen, self.peeked = name, None
        self.combo.setCurrentText(name)
        if name == TRAIN:
            self.about.setText("Paint masks in a Labels layer, or set points; then train below.")
        else:
            try:
                self.peeked = peek(self.folders[name])
                self.about.setText(self.peeked.line)
            except ConnectoError as error:
                self.about.setText("")
                self.error.show_error(error)
        self.changed.emit()

"""Choosing what a dock runs: a shipped model, one from a folder, or one to be trained."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QGroupBox

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.jobs import Job
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.worker import Worker

FOLDER = "From folder…"


class Words(NamedTuple):
    """Texts of a choice box."""

    title: str
    row: str
    train: str
    training: str
    folder: str
    tooltip: str


class ChoiceBox(QGroupBox):
    """Shipped, from a folder, or to be trained. ``changed`` is emitted with each new choice.

    Parameters
    ----------
    words
        Box title, row label, entry and help for training ("": none), title of the folder dialog, tooltip.
    list_job
        Job that returns the folders of the shipped ones, by name.
    peek
        Reads the description in a folder, an object with ``name`` and ``line``, without loading torch.

    Attributes
    ----------
    others : dict
        Further entries that need more than a folder, and what is said of each; see `list_others`.
    """

    changed = Signal()

    def __init__(self, words: Words, list_job: Callable[[], Job[dict[str, Path]]], peek: Callable[[Path], Any]) -> None:
        super().__init__(words.title)
        self.words, self._peek = words, peek
        self.folders: dict[str, Path] = {}
        self.others: dict[str, str] = {}
        self.peeked: Any = None
        self._chosen = ""
        self._made: Path | None = None
        self.combo = QComboBox()
        self.combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.combo.setMinimumContentsLength(8)
        self.combo.setToolTip(words.tooltip)
        self.about = text_line("What it finds or does, and what it was trained on")
        self.error = ErrorLine()
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow(words.row, self.combo)
        layout.addRow(self.about)
        layout.addRow(self.error)
        self.layout_ = layout
        self._lister = Worker("listing", self, quiet=True)
        self._lister.returned.connect(self._on_listed)
        self._lister.failed.connect(self.error.show_error)
        self.combo.activated.connect(self._on_activated)
        self._fill("")
        self._lister.start(list_job)

    @property
    def folder(self) -> Path | None:
        """Folder of the chosen one; None while training is chosen, or one of `others` that is not yet made."""
        return self._made if self.other else self.folders.get(self._chosen)

    @property
    def other(self) -> str:
        """The chosen one of `others`; "" if none is."""
        return self._chosen if self._chosen in self.others else ""

    @property
    def training(self) -> bool:
        """Whether training is chosen."""
        return bool(self.words.train) and self.combo.currentText() == self.words.train

    def use(self, folder: Path) -> None:
        """Choose the one in a folder; on an error, show it and keep the choice."""
        try:
            name = self._name(folder)
        except ConnectoError as error:
            self.error.show_error(error)
            self.combo.setCurrentText(self._chosen)
            return
        self._fill(name)
        self._choose(name)

    def _name(self, folder: Path) -> str:
        peeked = self._peek(folder)
        name = next((n for n, f in self.folders.items() if f == folder), f"{peeked.name} ({folder.name})")
        self.folders[name] = folder
        return name

    def offer(self, folder: Path) -> None:
        """Add the one in a folder to the list without choosing it."""
        with suppress(ConnectoError):
            self._name(folder)
            self._fill(self._chosen)

    def list_others(self, others: dict[str, str]) -> None:
        """Add entries that need more than a folder."""
        self.others = others
        self._fill(self._chosen)

    def use_made(self, folder: Path | None) -> None:
        """Take a folder for the chosen one of `others`; None: it is not made yet."""
        self.error.clear()
        self._made = self.peeked = None
        if folder is not None:
            try:
                self._made, self.peeked = folder, self._peek(folder)
            except ConnectoError as error:
                self.error.show_error(error)
        self.changed.emit()

    def choose_training(self) -> None:
        """Choose training."""
        self._choose(self.words.train)

    def close_jobs(self) -> None:
        """Stop listing."""
        self._lister.close()

    def _fill(self, current: str) -> None:
        self.combo.blockSignals(True)
        self.combo.clear()
        self.combo.addItems([*self.folders, *self.others, FOLDER, *filter(None, [self.words.train])])
        self.combo.setCurrentText(current)
        self.combo.blockSignals(False)

    def _on_listed(self, folders: dict[str, Path]) -> None:
        self.folders = {**folders, **self.folders}
        self._fill(self._chosen)
        first = next(iter(self.folders), self.words.train)
        if first and not self._chosen:
            self._choose(first)

    def _on_activated(self, _index: int) -> None:
        text = self.combo.currentText()
        if text == FOLDER:
            folder = QFileDialog.getExistingDirectory(self, self.words.folder)
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
        if self.words.train and name == self.words.train:
            self.about.setText(self.words.training)
        elif name in self.others:
            self._made = None
            self.about.setText(self.others[name])
        else:
            try:
                self.peeked = self._peek(self.folders[name])
                self.about.setText(self.peeked.line)
            except ConnectoError as error:
                self.about.setText("")
                self.error.show_error(error)
        self.changed.emit()

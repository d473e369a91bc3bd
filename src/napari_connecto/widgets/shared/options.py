"""How and where a long job runs: the fold "Options" of the docks that run over whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLineEdit, QPushButton, QWidget
from superqt import QCollapsible

from napari_connecto.widgets.shared.dock import row
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.run_on import RunOnRow

P = TypeVar("P")


class OptionsFold(QCollapsible, Generic[P]):
    """Parameters of a kind, machine, result folder, and the command line that does the same."""

    changed = Signal()

    def __init__(self, kind: type[P]) -> None:
        super().__init__("Options")
        self.toggleButton().setToolTip(
            "Parameters, where it runs, where the result goes, and the same as a command line"
        )
        self.form: ParamsForm[P] = ParamsForm(kind)
        self.run_on = RunOnRow()
        self.out, self.browse = QLineEdit(), QPushButton("…")
        self.out.setPlaceholderText("automatic")
        self.out.setToolTip("Folder of the result; one of the same job is resumed. Empty: an automatic one")
        self.browse.setMaximumWidth(30)
        self.browse.setToolTip("Choose the result folder")
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the shell command that does the same without a screen")
        inner = QWidget()
        rows = QFormLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.form)
        rows.addRow("Run on", self.run_on)
        rows.addRow("Result in", row(self.out, self.browse))
        rows.addRow(self.copy)
        self.setContentsMargins(0, 0, 0, 0)
        self.addWidget(inner)
        self.browse.clicked.connect(self.choose_folder)
        for signal in (self.form.changed, self.run_on.changed, self.out.editingFinished):
            signal.connect(self.changed)

    @property
    def folder(self) -> Path | None:
        """Where the result goes; None for an automatic folder."""
        text = self.out.text().strip()
        return Path(text).expanduser() if text else None

    def choose_folder(self) -> None:
        """Ask for the result folder."""
        folder = QFileDialog.getExistingDirectory(self, "Folder of the result (a new one, or one to resume)")
        if folder:
            self.out.setText(folder)
            self.changed.emit()

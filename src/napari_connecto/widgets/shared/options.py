"""How and where a long job runs: the fold "Options" of the docks that process whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QFormLayout, QLineEdit, QPushButton, QWidget

from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.run_on import RunOnRow

P = TypeVar("P")


class OptionsFold(Details, Generic[P]):
    """Parameters, machine, result folder, and the equivalent command line."""

    changed = Signal()

    def __init__(self, kind: type[P]) -> None:
        tip = "Parameters, where it runs, where the result goes, and the equivalent command line"
        super().__init__(title="Options", tooltip=tip)
        self.form: ParamsForm[P] = ParamsForm(kind)
        self.run_on = RunOnRow()
        self.out, self.browse = QLineEdit(), QPushButton("…")
        self.out.setPlaceholderText("automatic")
        self.out.setToolTip("Result folder; an unfinished run of the same job is resumed. Empty: chosen automatically")
        self.browse.setMaximumWidth(30)
        self.browse.setToolTip("Choose the result folder")
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the equivalent shell command")
        inner = QWidget()
        rows = QFormLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.form)
        rows.addRow("Run on", self.run_on)
        rows.addRow("Result folder", row(self.out, self.browse))
        rows.addRow(self.copy)
        self.column.addWidget(inner)
        self.browse.clicked.connect(self.choose_folder)
        for signal in (self.form.changed, self.run_on.changed, self.out.editingFinished):
            signal.connect(self.changed)

    @property
    def folder(self) -> Path | None:
        """Result folder; None for an automatic one."""
        text = self.out.text().strip()
        return Path(text).expanduser() if text else None

    def choose_folder(self) -> None:
        """Ask for the result folder."""
        folder = QFileDialog.getExistingDirectory(self, "Result folder (a new one, or one to resume)")
        if folder:
            self.out.setText(folder)
            self.changed.emit()

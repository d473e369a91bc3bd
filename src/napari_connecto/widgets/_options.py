"""How and where a long job runs: the fold "Options" of the docks that run over whole volumes."""

from __future__ import annotations

from pathlib import Path
from typing import Generic, TypeVar

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QFormLayout, QLineEdit, QPushButton, QWidget
from superqt import QCollapsible

from napari_connecto.core.errors import InputError
from napari_connecto.widgets._dock import row
from napari_connecto.widgets._form import ParamsForm
from napari_connecto.widgets._settings import scheduler

P = TypeVar("P")
HERE, CLUSTER = "This machine", "Dask cluster"


class OptionsFold(QCollapsible, Generic[P]):
    """Parameters of a kind, machine, result folder, and the command line that does the same."""

    changed = Signal()

    def __init__(self, kind: type[P]) -> None:
        super().__init__("Options")
        self.form: ParamsForm[P] = ParamsForm(kind)
        self.where, self.address = QComboBox(), QLineEdit(scheduler())
        self.where.addItems([HERE, CLUSTER])
        self.where.setToolTip("Where chunks are computed")
        self.address.setPlaceholderText("tcp://host:8786")
        self.address.setToolTip("Address of a running Dask scheduler; its workers need this package and the same paths")
        self.address.hide()
        self.out, self.browse = QLineEdit(), QPushButton("…")
        self.out.setPlaceholderText("automatic")
        self.out.setToolTip("Folder of the result; an unfinished one of the same job is resumed. Empty: a new folder")
        self.browse.setMaximumWidth(30)
        self.browse.setToolTip("Choose the result folder")
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the shell command that does the same without a screen")
        inner = QWidget()
        rows = QFormLayout(inner)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.form)
        rows.addRow("Run on", row(self.where, self.address))
        rows.addRow("Result in", row(self.out, self.browse))
        rows.addRow(self.copy)
        self.setContentsMargins(0, 0, 0, 0)
        self.addWidget(inner)
        self.where.currentTextChanged.connect(lambda text: self.address.setVisible(text == CLUSTER))
        self.browse.clicked.connect(self.choose_folder)
        for signal in (self.form.changed, self.out.editingFinished):
            signal.connect(self.changed)

    @property
    def scheduler(self) -> str:
        """Address of the Dask scheduler; "" for this machine.

        Raises
        ------
        InputError
            If a cluster is chosen and no address given.
        """
        if self.where.currentText() == HERE:
            return ""
        address = self.address.text().strip()
        if not address:
            raise InputError("no cluster address is given; enter one such as tcp://host:8786, or run on this machine")
        return address

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

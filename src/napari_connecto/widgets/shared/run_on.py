"""Where a long job runs: the row "Run on" of the docks that process whole volumes."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLineEdit, QSpinBox, QVBoxLayout, QWidget

from napari_connecto.core.errors import InputError
from napari_connecto.widgets.shared.commands import RunOn
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.settings import recall, remember

THIS_MACHINE, WORKERS, CLUSTER = CHOICES = ("This machine", "Local workers", "Dask cluster")


class RunOnRow(QWidget):
    """This machine, local worker processes, or a Dask cluster by its address; the choice is remembered."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.where, self.workers, self.address = QComboBox(), QSpinBox(), QLineEdit()
        self.where.addItems(CHOICES)
        self.where.setToolTip(
            "Where tiles are computed: in napari's own process, in worker processes started for the job, "
            "or on a running Dask cluster. The result is the same"
        )
        self.workers.setRange(1, 256)
        self.workers.setToolTip("How many worker processes; each loads the model once and computes one tile at a time")
        self.address.setPlaceholderText("tcp://host:8786")
        self.address.setToolTip("Address of a running Dask scheduler; its workers need this package and the same paths")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(row(self.where, self.workers))
        layout.addWidget(self.address)  # addresses are long
        self._recall()
        self._show()
        self.where.currentTextChanged.connect(self._show)
        self.where.currentTextChanged.connect(self._on_changed)
        self.workers.valueChanged.connect(self._on_changed)
        self.address.textChanged.connect(lambda _: self.changed.emit())
        self.address.editingFinished.connect(self._on_changed)

    @property
    def value(self) -> RunOn:
        """The choice; whether a cluster answers is checked when the job runs.

        Raises
        ------
        InputError
            If a cluster is chosen without an address.
        """
        where, address = self.where.currentText(), self.address.text().strip()
        if where == CLUSTER and not address:
            raise InputError("no cluster address is given; enter one such as tcp://host:8786, or choose this machine")
        return RunOn(
            scheduler=address if where == CLUSTER else "", workers=self.workers.value() if where == WORKERS else 0
        )

    def _recall(self) -> None:
        self.address.setText(recall("scheduler"))
        self.workers.setValue(int(recall("workers") or 2))
        self.where.setCurrentText(recall("run_on") or THIS_MACHINE)

    def _show(self, _text: str = "") -> None:
        where = self.where.currentText()
        self.workers.setVisible(where == WORKERS)
        self.address.setVisible(where == CLUSTER)

    def _on_changed(self, _value: object = None) -> None:
        remember(run_on=self.where.currentText(), workers=self.workers.value(), scheduler=self.address.text().strip())
        self.changed.emit()

"""The table of ranked domains in the dock "Adapt to my data"."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_connecto.widgets.shared.plots import BAR, IntervalDelegate

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Rank


class RankTable(QTableWidget):
    """Domains, nearest first. ``chosen`` is emitted with the name of a clicked one."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, 5)
        self.setHorizontalHeaderLabels(["Model", "MMD²", "Voxel", "Fits", "Licence"])
        tips = (
            "Domain of the library",
            "Distance of its training data from the image, with a 95 % interval. The dashed line is the usual\n"
            "distance between two domains of the library; beyond it, the model does not fit",
            "Voxel size of the model, relative to the image",
            "Whether the image is as near as the library's domains are to each other",
            "Licence of the weights",
        )
        for i, tip in enumerate(tips):
            self.horizontalHeaderItem(i).setToolTip(tip)  # type: ignore[union-attr]
        self.setItemDelegateForColumn(1, IntervalDelegate(self))
        self.verticalHeader().hide()  # type: ignore[union-attr]
        header: Any = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(34)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self.item(row, 0).text()))  # type: ignore[union-attr]

    def show_ranks(self, ranks: Sequence[Rank], limit: float) -> None:
        """Fill the table."""
        highs = [v for rank in ranks for v in (*rank.interval, rank.mmd2, limit) if isfinite(v)]
        scale = max([*highs, 1e-9]) * 1.05
        self.setRowCount(len(ranks))
        for i, rank in enumerate(ranks):
            number = f"{rank.mmd2:.3f}" if isfinite(rank.mmd2) else "not compared"
            ratio = f"{rank.voxel_ratio:.2g}×" if rank.voxel_ratio < 10 else f"{rank.voxel_ratio:.0f}×"
            fits = "yes" if rank.fits else "no" if isfinite(rank.mmd2) else "?"
            texts = (rank.name, number, ratio, fits, rank.licence or "?")
            for j, text in enumerate(texts):
                item = QTableWidgetItem(text)
                item.setToolTip(rank.note or f"{rank.name}: MMD² {number}, p {rank.p:.3g}")
                if j == 1:
                    item.setData(BAR, (rank.mmd2, *rank.interval, limit, scale))
                    item.setTextAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter)
                self.setItem(i, j, item)
            self.setRowHeight(i, 32)
        self.setFixedHeight(28 + 32 * min(6, len(ranks)))

    def mark(self, name: str) -> None:
        """Select the row of a domain."""
        self.clearSelection()
        for item in self.findItems(name, Qt.MatchFlag.MatchExactly):
            if item.column() == 0:
                self.selectRow(item.row())

"""The table of ranked domains in the dock "Adapt to my data"."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from napari_connecto.core.amounts import bytes_text, percent
from napari_connecto.widgets.adapt.choosing.told import ratio_text
from napari_connecto.widgets.shared.plots import BAR, IntervalDelegate
from napari_connecto.workflows.shared.model_size import ModelSize

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.agreement.rule import Score
    from napari_connecto.workflows.adapt.rank import Rank


BARS = (1, 2)
"""Columns with an interval: consensus and instability."""
SIZE = 5
"""Column of the size."""


def tip(rank: Rank) -> str:
    """Tooltip of a row: the reason, or what is expected."""
    if rank.note:
        return rank.note
    told = [rank.name]
    if isfinite(rank.expected[0]):
        told.append(f"expected VI {rank.expected[0]:.2f} to {rank.expected[1]:.2f} bits")
    if isfinite(rank.better):
        told.append(f"chance that another model is better {percent(rank.better)}")
    if isfinite(rank.mmd2):
        told.append(f"MMD² {rank.mmd2:.3f} to its training data")
    for where, score in (("encoder", rank.own_encoder), ("decoder", rank.own_decoder)):
        if score is not None:
            told.append(f"in its own {where} features {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")
    return "\n".join(told)


def _scale(scores: Iterable[Score | None]) -> float:
    return max([1e-9, *(v for s in scores if s is not None for v in (s.value, s.high) if isfinite(v))]) * 1.05


class RankTable(QTableWidget):
    """Models, best first. ``chosen`` is emitted with the name of a clicked one."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__(0, 7)
        self.setHorizontalHeaderLabels(["Model", "Consensus", "Unstable", "Voxel", "Fits", "Size", "Licence"])
        tips = (
            "Boundary model of the library, best first",
            "How far its segments are from those of the two nearest other models: VI in bits, with a 95 % interval",
            "Share of its segmentation that changes if the image is flipped, noisy or blurred, with a 95 % interval.\n"
            "Beyond the dashed line, the model does not fit",
            "Voxel size of the model, relative to the image",
            "Whether its answers are stable and not degenerate",
            "Size on disk, with the samples of its training data; its parameters are in the tooltip",
            "Licence of the weights",
        )
        for i, tip in enumerate(tips):
            self.horizontalHeaderItem(i).setToolTip(tip)  # type: ignore[union-attr]
        for column in BARS:
            self.setItemDelegateForColumn(column, IntervalDelegate(self))
        self.verticalHeader().hide()  # type: ignore[union-attr]
        header: Any = self.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        for column in BARS:
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(34)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.cellClicked.connect(lambda row, _: self.chosen.emit(self.item(row, 0).text()))  # type: ignore[union-attr]

    def show_ranks(self, ranks: Sequence[Rank], limit: float, folders: Mapping[str, Path]) -> None:
        """Fill the table; ``folders`` of the models by name."""
        scales = [_scale(r.consensus for r in ranks), max(limit, _scale(r.instability for r in ranks)) * 1.05]
        self.setRowCount(len(ranks))
        for i, rank in enumerate(ranks):
            ratio = ratio_text(rank.voxel_ratio) or "–"
            fits = "yes" if rank.fits else "no" if rank.compared else "?"
            missing = "–" if rank.compared else "not compared"
            bits = f"{rank.consensus.value:.2f}" if rank.consensus else missing
            share = f"{percent(rank.instability.value)}" if rank.instability else missing
            size = ModelSize.of(folders[rank.name]) if rank.name in folders else None
            disk = "?" if size is None else bytes_text(size.disk_bytes)
            for j, text in enumerate((rank.name, bits, share, ratio, fits, disk, rank.licence or "?")):
                item = QTableWidgetItem(text)
                item.setToolTip(size.text() if j == SIZE and size is not None else tip(rank))
                self.setItem(i, j, item)
            bars = zip(BARS, (rank.consensus, rank.instability), (float("inf"), limit), scales, strict=True)
            for column, score, most, scale in bars:
                cell: Any = self.item(i, column)
                cell.setTextAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter)
                if score is not None:
                    cell.setData(BAR, (score.value, score.low, score.high, most, scale))
            self.setRowHeight(i, 32)
        self.setFixedHeight(28 + 32 * min(6, len(ranks)))

    def mark(self, name: str) -> None:
        """Select the row of a domain."""
        self.clearSelection()
        for item in self.findItems(name, Qt.MatchFlag.MatchExactly):
            if item.column() == 0:
                self.selectRow(item.row())

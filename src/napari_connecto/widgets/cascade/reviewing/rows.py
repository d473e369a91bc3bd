"""The table of detections as a Qt model over arrays: no widget and no object per cell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt

from napari_connecto.workflows.cascade.verdicts import tags_of

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.review import Review


def heading(name: str, pixels: bool) -> str:
    """Heading of a column: of a measurement in words, with its unit."""
    plain, _, unit = name.rpartition("_")
    if unit not in UNITS:
        return MEASURES.get(name, name.replace("_", " "))
    return f"{MEASURES.get(plain, plain)} [{'pixels' if pixels else UNITS[unit]}]"


def columns_of(review: Review) -> dict[str, np.ndarray]:
    """Columns of the table, (n,) each; sizes are the longest side of the box, measurements those that were made."""
    found, unit = review.detections, review.unit
    voxel_nm = (1.0, 1.0, 1.0) if review.boxes is None else review.boxes.voxel_nm
    extent = (found.box[:, 3:] - found.box[:, :3]) * np.array(voxel_nm)
    named = {
        "number": found.id,
        "score": found.score,
        "status": found.status,
        "tags": found.tags.astype(str),
        f"size [{unit}]": extent.max(axis=1) if len(found) else np.empty(0),
    }
    named |= {f"{axis} [{unit}]": found.centre_nm[:, i] for i, axis in enumerate("zyx")}
    named |= found.measures
    return named | {"reviewer": found.reviewer.astype(str), "when": found.when.astype(str)}


UNITS = {"nm": "nm", "um2": "µm²", "um3": "µm³"}
MEASURES = {
    "major": "major axis",
    "middle": "middle axis",
    "minor": "minor axis",
    "border": "distance to border",
    "mean": "mean intensity",
    "sd": "SD of intensity",
}
"""What measurements are called in the table; in files they keep their names."""


@dataclass(frozen=True)
class Filter:
    """Which rows are listed: those that fulfil all of it.

    Parameters
    ----------
    low, high
        Of the score.
    status, tag
        A status, and a tag; "" for any.
    text
        Part of the tags, case ignored.
    """

    low: float = 0.0
    high: float = 1.0
    status: str = ""
    tag: str = ""
    text: str = ""

    def keep(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Boolean (n,)."""
        keep = (columns["score"] >= self.low) & (columns["score"] <= self.high)
        if self.status:
            keep &= columns["status"] == self.status
        if self.tag or self.text:
            text = self.text.casefold()
            unique, which = np.unique(columns["tags"], return_inverse=True)
            fits = [(not self.tag or self.tag in tags_of(tag)) and text in tag.casefold() for tag in unique.tolist()]
            keep &= np.array(fits, bool)[which]
        return np.asarray(keep)


class DetectionModel(QAbstractTableModel):
    """Sorted and filtered rows of detections; `index_of` and `row_of` translate between rows and indices."""

    def __init__(self) -> None:
        super().__init__()
        self._columns: dict[str, np.ndarray] = {}
        self._names: list[str] = []
        self._pixels = False
        self._rows = np.empty(0, np.int64)
        self._filter = Filter()
        self._sorting = ("score", True)

    def show_review(self, review: Review) -> None:
        """List the detections of a review.

        If only their verdicts are others than before, rows stay where they are until they are sorted or filtered again.
        """
        before, names = self.count, self._names
        self._columns = columns_of(review)
        self._names = list(self._columns)
        self._pixels = review.unit == "pixels"
        if self._names != names:
            self.beginResetModel()
            self.endResetModel()
        if before != self.count or self._names != names:
            self._arrange()
        elif len(self._rows):
            last = self.index(len(self._rows) - 1, len(self._names) - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def filter(self, by: Filter) -> None:
        """List only these rows."""
        self._filter = by
        self._arrange()

    @property
    def count(self) -> int:
        """Number of rows without a filter."""
        return len(self._columns["number"]) if self._columns else 0

    def index_of(self, row: int) -> int:
        """The detection in a row."""
        return int(self._rows[row])

    def row_of(self, index: int) -> int:
        """The row of a detection, -1 if it is not listed."""
        at = np.flatnonzero(self._rows == index)
        return int(at[0]) if len(at) else -1

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Number of rows listed."""
        return 0 if parent is not None and parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Number of columns."""
        return 0 if parent is not None and parent.isValid() else len(self._names)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Text of a cell; numbers are aligned right."""
        column = self._columns[self._names[index.column()]]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(column[self._rows[index.row()]])
        if role == Qt.ItemDataRole.TextAlignmentRole and column.dtype.kind in "iuf":
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> str | None:
        """Headings of columns; the tooltip is the name in files."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        name = self._names[section]
        if role == Qt.ItemDataRole.ToolTipRole:
            return name
        return heading(name, self._pixels) if role == Qt.ItemDataRole.DisplayRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort by a column; equal values keep the order of their ids."""
        if 0 <= column < len(self._names):
            self._sorting = (self._names[column], order == Qt.SortOrder.DescendingOrder)
            self._arrange()

    def _arrange(self) -> None:
        self.layoutAboutToBeChanged.emit()
        if self._columns:
            name, falling = self._sorting
            column = self._columns.get(name, self._columns["number"])
            _, rank = np.unique(column, return_inverse=True)
            missing = np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)
            rows = np.lexsort((-rank if falling else rank, missing))  # what is not measured comes last, either way
            self._rows = rows[self._filter.keep(self._columns)[rows]]
        self.layoutChanged.emit()


def _text(value: Any) -> str:
    if isinstance(value, np.floating):
        if np.isnan(value):
            return ""
        small = f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.3f}"
        return small if abs(value) < 10 else f"{value:,.0f}".replace(",", " ")
    return str(value)

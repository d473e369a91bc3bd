"""A dock with the table of detections: sort, filter, click to go there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QItemSelectionModel, QModelIndex, QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTableView,
    QVBoxLayout,
    QWidget,
)
from superqt import QDoubleRangeSlider
from superqt.utils import qthrottled

from napari_connecto.widgets.cascade.reviewing.rows import DetectionModel, Filter
from napari_connecto.workflows.cascade.verdicts import STATUSES

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.review import Review

ANY_STATUS, ANY_TAG = "any status", "any tag"
NAME = "Detections"


class DetectionTable(QWidget):
    """All detections with their verdicts, in a dock below the canvas.

    Signals: ``chosen(int)`` with the index of the detection that the user selects, ``docked(bool)`` when the dock
    appears or is closed.
    """

    chosen = Signal(int)
    docked = Signal(bool)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.model = DetectionModel()
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setToolTip("Click a row to go to its object; click a column header to sort")
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.view.setWordWrap(False)
        rows, columns = self.view.verticalHeader(), self.view.horizontalHeader()
        assert rows is not None
        assert columns is not None
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)  # sizes of 100 000 rows are never measured
        rows.setDefaultSectionSize(22)
        columns.setStretchLastSection(True)
        columns.setDefaultSectionSize(84)
        columns.setSortIndicator(1, Qt.SortOrder.DescendingOrder)
        self.view.setSortingEnabled(True)
        self.range = QLabel()
        self.score = QDoubleRangeSlider(Qt.Orientation.Horizontal)
        self.score.setRange(0, 1)
        self.score.setValue((0, 1))
        self.score.setToolTip("List detections with a score in this range")
        self.status, self.tag = QComboBox(), QComboBox()
        self.status.addItems([ANY_STATUS, *STATUSES])
        self.status.setToolTip("List detections with this status")
        self.tag.addItem(ANY_TAG)
        self.tag.setToolTip("List detections with this tag")
        self.text = QLineEdit()
        self.text.setPlaceholderText("part of a tag")
        self.text.setToolTip("List detections with this text in their tags")
        self.count = QLabel()
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        for widget, stretch in (
            (self.range, 0),
            (self.score, 3),
            (self.status, 0),
            (self.tag, 0),
            (self.text, 1),
            (self.count, 0),
        ):
            top.addWidget(widget, stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 4)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.view)
        self._showing = self._released = False
        self._show_count()
        self._throttled = qthrottled(self._on_filter, timeout=50)
        self.score.valueChanged.connect(self._throttled)
        self.text.textChanged.connect(self._throttled)
        self.status.currentIndexChanged.connect(self._on_filter)
        self.tag.currentIndexChanged.connect(self._on_filter)
        selection = self.view.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)

    @property
    def open(self) -> bool:
        """Whether it has a dock."""
        return self.parent() is not None

    def toggle(self) -> None:
        """Open the dock, or close it."""
        if self.open:
            self._viewer.window.remove_dock_widget(self)
        else:
            self._viewer.window.add_dock_widget(self, name=NAME, area="bottom")

    def release(self) -> None:
        """Close the dock for good; without it, the table has no parent to be deleted with."""
        if self._released:
            return
        if self.open:
            self.toggle()
        self._released = True
        self.deleteLater()

    def event(self, event: QEvent | None) -> bool:
        """Tell when the dock takes this widget, or lets it go."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            self.docked.emit(self.open)
        return super().event(event)

    def sizeHint(self) -> QSize:
        """A few rows."""
        return QSize(600, 200)

    def show_review(self, review: Review | None) -> None:
        """List the detections of a review, and select the current one; nothing while there is no dock."""
        if review is None or not self.open:
            return
        tags = list(dict.fromkeys((*review.names, *review.tags_given())))
        if [self.tag.itemText(i) for i in range(1, self.tag.count())] != tags:
            self._offer(tags)
        self._showing = True
        self.model.show_review(review)
        self._showing = False
        self._fit_columns()
        self._show_count()
        self.select(review.current)

    def select(self, index: int) -> None:
        """Select the row of a detection, if it is listed; `chosen` is not emitted."""
        row = self.model.row_of(index) if index >= 0 else -1
        self._showing = True
        selection = self.view.selectionModel()
        assert selection is not None
        if row < 0:
            selection.clear()
        elif selection.currentIndex().row() != row or not selection.hasSelection():
            cell = self.model.index(row, 0)
            flags = QItemSelectionModel.SelectionFlag
            selection.setCurrentIndex(cell, flags.ClearAndSelect | flags.Rows)
            self.view.scrollTo(cell)
        self._showing = False

    def _fit_columns(self) -> None:
        """Make columns wide enough for their names; the user may have made them wider."""
        header = self.view.horizontalHeader()
        assert header is not None
        for i in range(header.count() - 1):  # the last one stretches
            if (wanted := header.sectionSizeHint(i)) > header.sectionSize(i):
                header.resizeSection(i, wanted)

    def _offer(self, tags: list[str]) -> None:
        before = self.tag.currentText()
        self.tag.blockSignals(True)
        self.tag.clear()
        self.tag.addItems([ANY_TAG, *tags])
        self.tag.setCurrentText(before if before in tags else ANY_TAG)
        self.tag.blockSignals(False)

    def _on_filter(self, _value: Any = None) -> None:
        low, high = self._between()
        status, tag = (box.currentText() if box.currentIndex() > 0 else "" for box in (self.status, self.tag))
        self._showing = True
        self.model.filter(Filter(low, high, status, tag, self.text.text().strip()))
        self._showing = False
        self._show_count()

    def _between(self) -> tuple[float, float]:
        ends: Any = self.score.value()
        return float(ends[0]), float(ends[1])

    def _show_count(self) -> None:
        low, high = self._between()
        self.range.setText(f"Score {low:.2f} to {high:.2f}")
        self.count.setText(f"{self.model.rowCount()} of {self.model.count}")

    def _on_row(self, current: QModelIndex, _previous: QModelIndex) -> None:
        if current.isValid() and not self._showing:
            self.chosen.emit(self.model.index_of(current.row()))

"""The worst places of a check: a list to jump to, marks in the viewer, and what to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QListWidget, QListWidgetItem, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.volume import Level
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.viewer.show import to_data
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import OKABE_ITO, jump

WORST = "worst places"


class WorstBox(QWidget):
    """The list and its buttons. ``annotate`` is emitted when the places are to be labelled, if they can be."""

    annotate = Signal()

    def __init__(self, viewer: Any, *, annotates: bool = False) -> None:
        super().__init__()
        self._viewer = viewer
        self.places: Sequence[Any] = ()
        self._at: tuple[Layer, Level] | None = None
        self._marks = Shown(viewer)
        self.list = QListWidget()
        self.list.setToolTip("Most probable errors first; click one to go there")
        self.list.setFixedHeight(120)
        self.label = QPushButton("Annotate these")
        self.label.setToolTip("Put these places into the annotation queue of 'Adapt to my data' as suggested patches")
        self.save = QPushButton("Export…")
        self.save.setToolTip("Save the places as a table: centre in nm, error, reason")
        self.error = ErrorLine()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.label.setVisible(annotates)
        for widget in (self.list, row(self.label, self.save), self.error):
            layout.addWidget(widget)
        self.list.itemClicked.connect(self._on_place)
        self.label.clicked.connect(self.annotate.emit)
        self.save.clicked.connect(self._on_save)

    def show_places(self, places: Sequence[Any], at: tuple[Layer, Level] | None) -> None:
        """List places, and mark them on the image layer whose level 0 is given."""
        self.places, self._at = places, at
        self.error.clear()
        self.list.clear()
        for n, place in enumerate(places, 1):
            item = QListWidgetItem(f"{n}. {percent(place.error)} wrong, z {place.centre_nm[0] / 1000:.2f} µm")
            item.setData(Qt.ItemDataRole.UserRole, n - 1)
            self.list.addItem(item)
        for button in (self.label, self.save):
            button.setEnabled(bool(places))
        self._marks.clear()
        if places and at is not None:
            size = max(8, round(float(np.mean([p.box.shape[1:] for p in places]))))
            look: dict[str, Any] = {"symbol": "square", "size": size, "border_color": OKABE_ITO["rejected"]}
            errors = {"error": [place.error for place in places]}
            self._marks.points([p.centre_nm for p in places], *at, WORST, features=errors, **look)

    def _on_place(self, item: QListWidgetItem) -> None:
        if self._at is None or self._at[0] not in self._viewer.layers:
            return
        image, finest = self._at
        centre = self.places[item.data(Qt.ItemDataRole.UserRole)].centre_nm
        [point] = to_data(np.array([centre]), finest, min(image.ndim, 3))
        jump(self._viewer, image, [0.0] * (image.ndim - len(point)) + list(point))

    def _on_save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Table of the worst places", "worst.csv", "Tables (*.csv)")
        if path:
            self.export(Path(path))

    def export(self, path: Path) -> None:
        """Save the places; an error is shown below the list."""
        from napari_connecto.workflows.inspect.guard.places import save_places  # scipy: not for the opening of a dock

        self.error.clear()
        try:
            save_places(self.places, path)
        except ConnectoError as error:
            self.error.show_error(error)

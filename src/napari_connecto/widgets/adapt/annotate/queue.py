"""The gallery of suggested patches: thumbnail, number, state, and a lock on those held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QAbstractItemView, QListView, QListWidget, QListWidgetItem

from napari_connecto.widgets.adapt.annotate.tile import LOCKED, OPEN, ROOM, SIDE, STATE, TileDelegate

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.session import PatchState

ROWS = 2
"""Of the gallery; more are scrolled to."""
SIGNS = {"waiting": "○", "committed": "✔", "skipped": "✘"}


class Queue(QListWidget):
    """One tile per patch, its reason in the tooltip; `id` is that of the selected one."""

    def __init__(self) -> None:
        super().__init__()
        self.setIconSize(QSize(SIDE, SIDE))
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setItemDelegate(TileDelegate(self))
        self.setGridSize(QSize(SIDE + ROOM, SIDE + ROOM))
        self.setFixedHeight(ROWS * (SIDE + ROOM) + 6)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setToolTip(
            "Suggested patches; double-click to open. Orange waits, blue ✓ is committed, grey ✗ is skipped;\n"
            "a lock: held out, only to measure"
        )

    @property
    def id(self) -> int | None:
        """Id of the selected patch."""
        item = self.currentItem()
        return None if item is None else int(item.data(Qt.ItemDataRole.UserRole))

    def choose(self, id: int) -> None:
        """Select a patch."""
        for i in range(self.count()):
            item = self.item(i)
            if item is not None and item.data(Qt.ItemDataRole.UserRole) == id:
                self.setCurrentItem(item)
                self.scrollToItem(item)

    def show_states(
        self, states: Sequence[PatchState], thumbnails: Mapping[int, np.ndarray], opened: int | None
    ) -> None:
        """List the patches; keep the selection."""
        known = [self.item(i) for i in range(self.count())]
        ids = [None if item is None else item.data(Qt.ItemDataRole.UserRole) for item in known]
        if ids != [s.id for s in states]:
            before = self.id
            self.clear()
            for state in states:
                item = QListWidgetItem()
                item.setData(Qt.ItemDataRole.UserRole, state.id)
                if state.id in thumbnails:
                    item.setIcon(_icon(thumbnails[state.id]))
                self.addItem(item)
            if before is not None:
                self.choose(before)
        for i, state in enumerate(states):
            row = self.item(i)
            if row is not None:
                open_ = " — open" if state.id == opened else ""
                held = " (held out)" if state.held_out else ""
                reason = state.reason.partition(", whatever")[0]
                row.setText(f"{SIGNS[state.status]} {state.id}{held}{open_}: {reason}")
                row.setData(STATE, state.status)
                row.setData(LOCKED, state.held_out)
                row.setData(OPEN, state.id == opened)
                done = f"{state.status}{f' ({state.origin})' if state.origin else ''}"
                held = "held out, only to measure\n" if state.held_out else ""
                row.setToolTip(
                    f"{state.id}: {done}\n{held}{state.reason}\nbox z y x {state.box.start} to {state.box.stop}"
                )


def _icon(image: np.ndarray) -> QIcon:
    image = np.ascontiguousarray(image)
    grey = QImage(image.tobytes(), image.shape[1], image.shape[0], image.shape[1], QImage.Format.Format_Grayscale8)
    icon, picture = QIcon(), QPixmap.fromImage(grey.copy())
    for mode in (QIcon.Mode.Normal, QIcon.Mode.Selected):  # not tinted when selected
        icon.addPixmap(picture, mode)
    return icon

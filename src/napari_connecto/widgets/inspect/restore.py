"""Restoring live: the tile on screen is run again with a few channels of the better run."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QFormLayout, QSpinBox, QVBoxLayout, QWidget

from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.inspect.missed_jobs import Explained, restore_job
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import view_box

LIVE = "restored in view"
SETTLED_MS = 250
"""How long the view must be still before its tile is run."""


class RestoreBox(QWidget):
    """A switch and a number of channels; while it is on, the tile in the middle of the view is kept up to date."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._shown = Shown(viewer)
        self._answer: Explained | None = None
        self._at: tuple[Layer, Level] | None = None
        self._done: Any = None
        self.on = QCheckBox("Restore in view")
        self.on.setToolTip(
            "Run the tile in the middle of the view again with the highest-ranked channels of the better run; "
            "follows the view"
        )
        self.channels = QSpinBox()
        self.channels.setToolTip("Number of channels taken from the better run, in the order of the ranking; 0: none")
        self.error = ErrorLine()
        rows, layout = QFormLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.on)
        rows.addRow("Channels", self.channels)
        layout.addLayout(rows)
        layout.addWidget(self.error)
        self.worker = Worker("restoring", self, quiet=True)
        self._waiting = QTimer(self)
        self._waiting.setSingleShot(True)
        self._waiting.setInterval(SETTLED_MS)
        self._waiting.timeout.connect(self._run)
        self.on.toggled.connect(self._on_toggled)
        self.channels.valueChanged.connect(self.refresh)
        self.worker.returned.connect(self._on_restored)
        self.worker.failed.connect(self.error.show_error)
        viewer.scene.camera.events.connect(self.refresh)
        viewer.dims.events.current_step.connect(self.refresh)

    def offer(self, answer: Explained | None, at: tuple[Layer, Level] | None, start: int = 10) -> None:
        """Restore for this answer, on the image layer whose level 0 is given; None hides the box."""
        self._answer, self._at = answer, at
        self.on.setChecked(False)
        self.setVisible(answer is not None)
        if answer is not None:
            self.channels.setRange(0, len(answer.found.total.top))
            self.channels.setValue(min(start, len(answer.found.total.top)))

    def refresh(self, _event: Any = None) -> None:
        """The view or the number has changed: run again once it is still."""
        if self.on.isChecked():
            self._waiting.start()

    def close_jobs(self) -> None:
        """Stop, and stop following the view."""
        self._waiting.stop()
        self.worker.close()
        self._viewer.scene.camera.events.disconnect(self.refresh)
        self._viewer.dims.events.current_step.disconnect(self.refresh)

    def _on_toggled(self, on: bool) -> None:
        self.error.clear()
        self._done = None
        if on:
            self._run()
        else:
            self._waiting.stop()
            self.worker.cancel()
            self._shown.clear()

    def _run(self) -> None:
        answer, at = self._answer, self._at
        if answer is None or at is None or at[0] not in self._viewer.layers or not self.on.isChecked():
            return
        if self.worker.state.busy:
            self._waiting.start()
            return
        layer, finest = at
        here = view_box(self._viewer, layer, finest, depth=0)
        channels = self.channels.value()
        if here.size == 0 or self._done == (here, channels):  # new layers, too, report a change of view
            return
        self._done = here, channels
        point = finest.to_nm(np.asarray(here.centre)).tolist()
        self.worker.start(lambda: restore_job(answer, channels, point), abandon=True)

    def _on_restored(self, found: Volume) -> None:
        if self._at is None or self._at[0] not in self._viewer.layers or not self.on.isChecked():
            return
        self._shown.clear()
        self._shown.add(found, *self._at, LIVE, contrast_limits=(0.0, 1.0), colormap="inferno", blending="additive")

"""What the tabs of the dock "Inspect a model" share: the chosen image and model, painted pixels, result layers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Labels, Layer
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QFormLayout, QLabel, QPushButton, QTabWidget, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.layers import new_labels
from napari_connecto.widgets.inspect.view import shown_on
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.viewer.layers import LayerImage, describe
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import LayerCombo


class Page(QWidget):
    """Makes the QTabWidget that holds it as high as wrapped texts need at its width, or it would squeeze its pages."""

    def event(self, event: QEvent | None) -> bool:
        """As any widget; where its height may change, that of the tabs does."""
        done = super().event(event)
        stack = self.parentWidget()
        tabs = stack.parentWidget() if stack is not None else None
        changes = (QEvent.Type.LayoutRequest, QEvent.Type.Resize)
        if event is not None and event.type() in changes and isinstance(tabs, QTabWidget):
            tabs.setMinimumHeight(tabs.heightForWidth(tabs.width()))
        return done


class Tab(Page):
    """A tab that asks something of the chosen image and model, and shows results over the image that was asked about.

    Subclasses call `begin` when a job starts, and place its results on `canvas` when it has returned.
    """

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        super().__init__()
        self._viewer, self._image, self._model = viewer, image, model
        self._shown = Shown(viewer)
        self._at: tuple[Layer, Level] | None = None

    def subject(self) -> tuple[Volume, Path]:
        """The chosen image, and the folder of the chosen model.

        Raises
        ------
        InputError
            If one is missing.
        """
        volume, folder = self._model.reads(self._image), self._model.folder
        if folder is None:
            raise InputError("no model is chosen; choose one")
        return volume, folder

    def begin(self) -> None:
        """Remember the image's layer for the results of a job that starts now.

        Raises
        ------
        InputError
            If none is open.
        """
        self._at = shown_on(self._image)

    @property
    def canvas(self) -> tuple[Layer, Level] | None:
        """The layer of the last job's image and its level 0; None if the layer is gone."""
        return self._at if self._at is not None and self._at[0] in self._viewer.layers else None

    def forget(self, *bars: JobBar) -> None:
        """Let these bars start afresh whenever another image or model is chosen."""
        for signal in (self._image.changed, self._model.changed):
            for bar in bars:
                signal.connect(bar.forget)

    def close_jobs(self) -> None:
        """Stop all jobs, and stop following the layers."""
        for bar in self.findChildren(JobBar):
            bar.close_jobs()
        for combo in self.findChildren(LayerCombo):
            combo.release()


class PaintedTab(Tab):
    """A tab about pixels of a labels layer, which its button makes.

    Parameters
    ----------
    title
        Of the row.
    name
        Of a new layer.
    hint
        What to paint.
    tooltip
        Of the choice of layers.
    """

    def __init__(
        self, viewer: Any, image: InputBox, model: ModelBox, *, title: str, name: str, hint: str, tooltip: str
    ) -> None:
        super().__init__(viewer, image, model)
        self._name = name
        self.labels = LayerCombo(viewer, (Labels,), tooltip)
        self.paint = QPushButton("New layer to paint")
        self.paint.setToolTip(hint)
        self.column, self.rows = QVBoxLayout(self), QFormLayout()
        self.column.setContentsMargins(4, 6, 4, 4)
        words = QLabel(hint)
        words.setWordWrap(True)
        self.column.addWidget(words)
        self.rows.addRow(title, self.labels)
        self.rows.addRow("", self.paint)
        self.column.addLayout(self.rows)
        self.paint.clicked.connect(self._on_paint)

    def painted(self, missing: str) -> LayerImage:
        """The chosen labels, to be opened by a job.

        Raises
        ------
        InputError
            If none is chosen: ``missing``.
        """
        layer = self.labels.layer
        if layer is None:
            raise InputError(missing)
        return describe(layer, step=self._viewer.dims.current_step)

    def _on_paint(self) -> None:
        try:
            image, finest = shown_on(self._image)
        except ConnectoError as error:
            self.findChildren(JobBar)[0].error.show_error(error)
            return
        self.labels.choose(new_labels(self._viewer, image, finest, self._name))

"""The tab "Trust": is the model's answer to this image right, and where is it wrong?"""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.jobs import Trusting, fit_job, guarded, trust_job
from napari_connecto.widgets.inspect.layers import Shown
from napari_connecto.widgets.inspect.view import ALL, VIEW, region_in_view, shown_on
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.settings import AutomaticFolder, output_folder
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.show import to_data
from napari_connecto.widgets.viewer.view import OKABE_ITO, LayerCombo, jump
from napari_connecto.widgets.viewer.volumes import identity, lasting

ERROR = "error probability"
LIGHTS = {
    "green": ("●", OKABE_ITO["good"], "no warning"),
    "amber": ("▲", OKABE_ITO["new"], "look at the worst places"),
    "red": ("■", OKABE_ITO["rejected"], "check before relying on it"),
    "none": ("○", "#808080", "not judged"),
}
"""Sign, colour and words of a verdict."""
NO_GUARD = "This model has no guard. Fit one from an image with labels; it takes some minutes and is saved beside it."


class TrustTab(QWidget):
    """Part, one button; a traffic light, the error map as a layer, and the worst places to jump to."""

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        super().__init__()
        self._viewer, self._image, self._model = viewer, image, model
        self._shown = Shown(viewer)
        self._automatic = AutomaticFolder("trust-")
        self._at: tuple[Layer, Level] | None = None
        self.where = QComboBox()
        self.where.addItems([VIEW, ALL])
        self.where.setToolTip("Part to check; In view: what is on screen, one section thick")
        self.bar = JobBar(
            "trust", "Check", "Run the model, then judge image and answer together. Press again to cancel"
        )
        self.light = QLabel()
        self.light.setWordWrap(True)
        self.light.setTextFormat(Qt.TextFormat.RichText)
        self.light.setToolTip("Flagged tiles against those expected by chance; it advises and changes nothing")
        self.worst = QListWidget()
        self.worst.setToolTip("Most probable errors first; click one to go there")
        self.worst.setFixedHeight(120)
        self.about = text_line("Predicted quality of the tiles")
        self.missing = text_line("What a guard is fitted from")
        self.labels = LayerCombo(viewer, (Labels,), "Labels of the chosen image, each object with its own number")
        self.fit = JobBar("guard", "Fit guard", "Fit a guard from the chosen image and its labels, and save it")
        self._lay_out()
        self._connect()
        self._show_guard()

    def _lay_out(self) -> None:
        layout, rows = QVBoxLayout(self), QFormLayout()
        layout.setContentsMargins(4, 6, 4, 4)
        rows.addRow("Where", self.where)
        self.missing.setText(NO_GUARD)
        layout.addLayout(rows)
        for widget in (self.bar, self.light, self.about, self.worst, self.missing, self.labels, self.fit):
            layout.addWidget(widget)
        layout.addStretch()
        self._show(None)

    def _connect(self) -> None:
        self._model.changed.connect(self._show_guard)
        self.bar.clicked.connect(self._on_check)
        self.bar.worker.returned.connect(self._on_checked)
        self.worst.itemClicked.connect(self._on_place)
        self.fit.clicked.connect(self._on_fit)
        self.fit.worker.returned.connect(self._on_fitted)
        for signal in (self._image.changed, self._model.changed):
            signal.connect(self.bar.forget)

    def trusting(self) -> Trusting:
        """What is asked, as set in the dock.

        Raises
        ------
        InputError
            If a choice is missing, or the view does not touch the image.
        """
        volume, folder = self._image.need_volume(), self._model.folder
        if folder is None:
            raise InputError("no model is chosen; choose one")
        region = region_in_view(self._viewer, self._image, volume) if self.where.currentText() == VIEW else None
        question = identity(volume), folder, region
        mark = lasting(volume, folder, region)
        out = self._automatic.of(question, volume.name, folder.name, output_folder(), mark)
        return Trusting(volume, folder, region, out)

    def close_jobs(self) -> None:
        """Stop, and stop following the layers."""
        self.bar.close_jobs()
        self.fit.close_jobs()
        self.labels.release()

    def _show_guard(self) -> None:
        folder = self._model.folder
        there = folder is not None and guarded(folder)
        self.bar.block("" if there else "the model has no guard")
        for widget in (self.missing, self.labels, self.fit):
            widget.setVisible(folder is not None and not there)

    def _on_check(self) -> None:
        try:
            asked, self._at = self.trusting(), shown_on(self._image)
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._show(None)
        self.bar.start(lambda: trust_job(asked), out=asked.out)

    def _on_checked(self, check: Any) -> None:
        self._show(check)
        if self._at is None or self._at[0] not in self._viewer.layers:
            return
        self._shown.clear()
        self._shown.add(
            check.error, *self._at, ERROR, contrast_limits=(0, 255), colormap="inferno", blending="additive"
        )

    def _show(self, check: Any) -> None:
        for widget in (self.light, self.about, self.worst):
            widget.setVisible(check is not None)
        if check is None:
            return
        sign, colour, words = LIGHTS[check.verdict.light]
        first, *more = check.lines()
        self.light.setText(f"<span style='color:{colour}; font-size:large'>{sign}</span> <b>{words}</b>: {first}")
        self.about.setText("\n".join(line[0].upper() + line[1:] for line in more))
        self.worst.clear()
        for n, place in enumerate(check.worst, 1):
            item = QListWidgetItem(f"{n}. {place.error:.0%} wrong, z {place.centre_nm[0] / 1000:.2f} µm")
            item.setData(Qt.ItemDataRole.UserRole, place.centre_nm)
            self.worst.addItem(item)

    def _on_place(self, item: QListWidgetItem) -> None:
        if self._at is not None and self._at[0] in self._viewer.layers:
            image, finest = self._at
            [point] = to_data(np.array([item.data(Qt.ItemDataRole.UserRole)]), finest, min(image.ndim, 3))
            jump(self._viewer, image, [0.0] * (image.ndim - len(point)) + list(point))

    def _on_fit(self) -> None:
        layer, folder = self.labels.layer, self._model.folder
        try:
            volume = self._image.need_volume()
            if layer is None or folder is None:
                raise InputError("no labels are chosen; open the labels of the image and choose them")
            described = describe(layer, step=self._viewer.dims.current_step)
        except ConnectoError as error:
            self.fit.error.show_error(error)
            return
        self.fit.start(lambda: labelled_job(volume, described, folder), resumable=False, abandon=True)

    def _on_fitted(self, lines: list[str]) -> None:
        self._show_guard()
        self.bar.say("Guard fitted. " + " ".join(line[0].upper() + line[1:] + "." for line in lines))


def labelled_job(volume: Volume, described: Any, folder: Any) -> Job[list[str]]:
    """Open the labels that were described, then fit."""
    return (yield from fit_job(volume, described.volume(), folder))

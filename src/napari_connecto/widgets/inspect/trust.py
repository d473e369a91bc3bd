"""The tab "Trust": is the model's answer to this image right, and where is it wrong?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.fit_box import FitBox
from napari_connecto.widgets.inspect.jobs import Queueing, Trusting, queue_job, trust_job
from napari_connecto.widgets.inspect.tab import Tab
from napari_connecto.widgets.inspect.view import ALL, VIEW, region_in_view
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.error_map import show_error
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.settings import AutomaticFolder, output_folder
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.shared.worst import WorstBox
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.spatial import serial
from napari_connecto.widgets.viewer.view import OKABE_ITO, LayerCombo
from napari_connecto.widgets.viewer.volumes import identity, lasting
from napari_connecto.workflows.shared.judged import guarded

OWN = "run the model"
LIGHTS = {
    "green": ("●", OKABE_ITO["good"], "no warning"),
    "amber": ("▲", OKABE_ITO["new"], "look at the worst places"),
    "red": ("■", OKABE_ITO["rejected"], "check before relying on it"),
    "none": ("○", "#808080", "not judged"),
}
"""Sign, colour and words of a verdict."""
ADAPT = "Adapt to my data"


class TrustTab(Tab):
    """Answer, part, one button; a traffic light, the error map as a layer, and the worst places to jump to."""

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        super().__init__(viewer, image, model)
        self._automatic = AutomaticFolder("trust-")
        self._asked: Trusting | None = None
        self.answer = LayerCombo(
            viewer, (Image,), "The model's answer to check: make it now, or a map that it made earlier", none=OWN
        )
        self.where = QComboBox()
        self.where.addItems([VIEW, ALL])
        self.where.setToolTip("Part to check; In view: what is on screen, one section thick")
        self.bar = JobBar("trust", "Check", "Judge image and answer together. Press again to cancel")
        self.light = QLabel()
        self.light.setWordWrap(True)
        self.light.setTextFormat(Qt.TextFormat.RichText)
        self.light.setToolTip("Flagged tiles against those expected by chance; it advises and changes nothing")
        self.about = text_line("Predicted quality of the tiles")
        self.worst = WorstBox(viewer, annotates=True)
        self.fit = FitBox(viewer, image, model)
        self._queueing = Worker("annotation queue", self, quiet=True)
        self._lay_out()
        self._connect()
        self._show_guard()

    def _lay_out(self) -> None:
        layout, rows = QVBoxLayout(self), QFormLayout()
        layout.setContentsMargins(4, 6, 4, 4)
        rows.addRow("Answer", self.answer)
        rows.addRow("Where", self.where)
        layout.addLayout(rows)
        for widget in (self.bar, self.light, self.about, self.worst, self.fit):
            layout.addWidget(widget)
        layout.addStretch()
        self._show(None)

    def _connect(self) -> None:
        self._model.changed.connect(self._show_guard)
        self.bar.clicked.connect(self._on_check)
        self.bar.worker.returned.connect(self._on_checked)
        self.worst.annotate.connect(self._on_annotate)
        self.fit.fitted.connect(self._on_fitted)
        self._queueing.returned.connect(self._on_queued)
        self._queueing.failed.connect(self.worst.error.show_error)
        self.answer.chosen.connect(self.bar.forget)
        self.forget(self.bar)

    def trusting(self) -> Trusting:
        """What is asked, as set in the dock.

        Raises
        ------
        InputError
            If a choice is missing, or the view does not touch the image.
        """
        volume, folder = self.subject()
        layer, image = self.answer.layer, self._image.layer
        answer = None
        if layer is not None:
            if image is not None and layer is image:
                raise InputError(f"'{image.name}' is the image itself; choose the model's answer to it")
            answer = describe(layer, step=self._viewer.dims.current_step)
        region = region_in_view(self._viewer, self._image, volume) if self.where.currentText() == VIEW else None
        given = None if answer is None else (answer.path, *map(serial, answer.arrays))
        stays = "" if answer is not None else lasting(volume, folder, region)
        question = identity(volume), folder, region, given
        out = self._automatic.of(question, volume.name, folder.name, output_folder(), stays)
        return Trusting(volume, folder, region, out, answer, self._image.spec(volume))

    def close_jobs(self) -> None:
        """Stop all jobs, and stop following the layers."""
        super().close_jobs()
        self._queueing.close()

    def _show_guard(self) -> None:
        folder = self._model.folder
        there = folder is not None and guarded(folder)
        self.bar.block("" if there else "the model has no guard")
        self.fit.setVisible(folder is not None and not there)

    def _on_check(self) -> None:
        try:
            asked = self._asked = self.trusting()
            self.begin()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._show(None)
        self.bar.start(lambda: trust_job(asked), out=asked.out)

    def _on_checked(self, check: Any) -> None:
        self._show(check)
        if self._asked is not None:
            self.bar.offer_report(self._asked.out / "check")
        if self.canvas is None:
            return
        show_error(self._shown, check.error, self.canvas)

    def _show(self, check: Any) -> None:
        for widget in (self.light, self.about, self.worst):
            widget.setVisible(check is not None)
        if check is None:
            return
        sign, colour, words = LIGHTS[check.verdict.light]
        first, *more = check.lines()
        self.light.setText(f"<span style='color:{colour}; font-size:large'>{sign}</span> <b>{words}</b>: {first}")
        self.about.setText("\n".join(line[0].upper() + line[1:] for line in more))
        self.worst.show_places(check.worst, self.canvas)

    def _on_annotate(self) -> None:
        asked = self._asked
        if asked is not None and not self._queueing.state.busy:
            self.worst.error.clear()
            places: Sequence[Any] = self.worst.places
            self._queueing.start(lambda: queue_job(Queueing(asked, places)))

    def _on_queued(self, session: Path) -> None:
        """Open the session in the dock that annotates; napari opens that dock if it is not open yet."""
        try:
            _, dock = self._viewer.window.add_plugin_dock_widget("napari-connecto", ADAPT)
        except (KeyError, ValueError):  # the plugin is not registered: a script
            self.bar.say(f"Saved as a session. Open it in '{ADAPT}', step 2, with Resume session: {session}")
            return
        dock.go_to(2)
        dock.annotate.resume_from(session)

    def _on_fitted(self, lines: list[str]) -> None:
        self._show_guard()
        self.bar.say("Guard fitted. " + " ".join(line[0].upper() + line[1:] + "." for line in lines))

"""The tab "Why missed": paint what was missed, name a better run, see which parts of the network carry the failure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from napari.layers import Image
from qtpy.QtWidgets import QComboBox

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.inspect.attack_box import AttackBox
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.missed_jobs import BACKGROUND, MISSED, Explained, Explaining, explain_job
from napari_connecto.widgets.inspect.plots import CurvesPlot, stage_bars
from napari_connecto.widgets.inspect.restore import RestoreBox
from napari_connecto.widgets.inspect.tab import PaintedTab
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import BarsPlot
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.view import LayerCombo
from napari_connecto.workflows.inspect.missed.params import MissedParams

PAINT = "missed"
COLOURS = {"bad": "magenta", "good": "green", "restored": "inferno"}
LEGEND = "Green is seen by the better run alone, magenta by this one alone, white by both."
BETTER_IMAGE, BETTER_MODEL = "Better image", "Better model"
HINT = "Paint 1 on a few pixels of what was missed and 2 on background."
PROFILE = (
    "Share of the gap that is restored when all channels of a stage come from the better run.\n"
    "The first and last stages carry everything, so they restore 100 % whatever the failure"
)


class MissedTab(PaintedTab):
    """Labels to paint, the better run, one button; stage profile, curves, sentences, and maps as layers."""

    def __init__(self, viewer: Any, image: InputBox, model: ModelBox) -> None:
        tooltip = f"Labels layer: {MISSED} is missed, {BACKGROUND} is background"
        super().__init__(viewer, image, model, title="Painted", name=PAINT, hint=HINT, tooltip=tooltip)
        self.against = QComboBox()
        self.against.addItems([BETTER_IMAGE, BETTER_MODEL])
        self.against.setToolTip("What did better: another version of this image, or another model of this architecture")
        self.better = LayerCombo(viewer, (Image,), "The same scene, better, with the same shape")
        self.other = QComboBox()
        self.other.setToolTip("A model of the same architecture that does better, such as the fine-tuned one")
        self.form: ParamsForm[MissedParams] = ParamsForm(MissedParams)
        self.bar = JobBar(
            "why missed", "Explain", "Replace activations of this run by those of the better one. Press again to cancel"
        )
        self.profile, self.curves = BarsPlot(PROFILE), CurvesPlot()
        self.about = text_line("The answer in short")
        self.details = text_line("Figures")
        self.restore, self.attack = RestoreBox(viewer), AttackBox(viewer)
        self._lay_out()
        self._connect()
        self._show_against()

    def _lay_out(self) -> None:
        self.rows.addRow("Compare", self.against)
        self.rows.addRow("With", self.better)
        self.rows.addRow("With", self.other)
        how = Details(self.form, title="How", tooltip="How many tiles and channels are compared")
        self.fold = Details(self.details, tooltip="Figures behind the plots")
        by_hand = "Put what a channel answers to where nothing is, with the channel and without it"
        self.attacking = Details(self.attack, title="Attack by hand", tooltip=by_hand)
        results = (self.about, self.profile, self.curves, self.restore, self.attacking, self.fold)
        for widget in (how, self.bar, *results):
            self.column.addWidget(widget)
        self.column.addStretch()
        self._show_result(None)

    def _connect(self) -> None:
        self.against.currentTextChanged.connect(self._show_against)
        self._model.changed.connect(self._list_models)
        self.bar.clicked.connect(self._on_explain)
        self.bar.worker.returned.connect(self._on_explained)
        self.forget(self.bar)

    def explaining(self) -> tuple[Any, Any, Explaining]:
        """Layers to read (image's better version, or None; painted pixels) and what is asked of them.

        Raises
        ------
        InputError
            If a choice is missing.
        """
        volume, folder = self.subject()
        missing = f"nothing is painted; press '{self.paint.text()}' and paint {MISSED} and {BACKGROUND}"
        painted = self.painted(missing)
        good, other = self.better.layer, self._model.folders.get(self.other.currentText())
        if self.against.currentText() == BETTER_IMAGE:
            other = None
            if good is None or good is self._image.layer:
                raise InputError("no better image is chosen; open the better version of this image and choose it")
        else:
            good = None
            if other is None or other == folder:
                raise InputError("no better model is chosen; choose another model of the same architecture")
        better = None if good is None else describe(good, step=self._viewer.dims.current_step)
        return better, painted, Explaining(volume, None, folder, other, volume, self.form.value)

    def close_jobs(self) -> None:
        """Stop all jobs, and stop following layers and view."""
        super().close_jobs()
        self.restore.close_jobs()

    def _list_models(self) -> None:
        chosen = self.other.currentText()
        self.other.clear()
        self.other.addItems([name for name, folder in self._model.folders.items() if folder != self._model.folder])
        self.other.setCurrentText(chosen)

    def _show_against(self) -> None:
        image = self.against.currentText() == BETTER_IMAGE
        self.rows.setRowVisible(self.better, image)
        self.rows.setRowVisible(self.other, not image)
        self.bar.forget()

    def _on_explain(self) -> None:
        try:
            good, painted, asked = self.explaining()
            self.begin()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._show_result(None)
        self.bar.start(lambda: opened_job(good, painted, asked), resumable=False, abandon=True)

    def _on_explained(self, answer: Explained) -> None:
        self._show_result(answer)
        if self.canvas is None:
            return
        image, finest = self.canvas
        self._shown.clear()
        for name, volume in answer.maps.items():
            self._shown.add(volume, image, finest, name, **_look(name, volume))

    def _show_result(self, answer: Explained | None) -> None:
        for widget in (self.about, self.profile, self.curves, self.attacking, self.fold):
            widget.setVisible(answer is not None)
        self.restore.offer(answer, self.canvas)
        self.attack.offer(answer, self.canvas)
        if answer is None:
            return
        found = answer.found
        self.profile.show_bars(stage_bars(found.stages))
        self.curves.show_curves(found.total.together)
        names = ", ".join(channel.name for channel in found.total.carriers[:3])
        short = found.lines()[2].capitalize()
        carry = f" These channels carry it: {names}." if found.total.trusted else " The channels cannot be ranked here."
        self.about.setText(f"{short}.{carry} {LEGEND}")
        self.details.setText("\n\n".join(line[0].upper() + line[1:] + "." for line in found.lines()))


def opened_job(good: Any, painted: Any, asked: Explaining) -> Job[Explained]:
    """Open the layers that were described, then explain."""
    opened = replace(asked, good=None if good is None else good.volume(), painted=painted.volume())
    return (yield from explain_job(opened))


def _look(name: str, volume: Volume) -> dict[str, Any]:
    """Probabilities on one scale; activations each on their own, the difference around 0.

    Both runs are shown at first, and make white where they agree.
    """
    array = volume.levels[0].array
    if name in COLOURS:
        look = {"contrast_limits": (0.0, 1.0), "colormap": COLOURS[name], "blending": "additive"}
        return {**look, "visible": name != "restored"}
    low, high = float(array.min()), float(array.max())
    if name.endswith("difference"):
        most = max(abs(low), abs(high), 1e-6)
        return {"contrast_limits": (-most, most), "colormap": "PiYG", "opacity": 0.7, "visible": False}
    return {"contrast_limits": (low, max(high, low + 1e-6)), "colormap": "gray", "visible": False}

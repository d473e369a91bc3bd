"""The tab "Smaller": a smaller model of the chosen one, measured against it on the chosen image."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.jobs import Shrinking, shrink_job
from napari_connecto.widgets.inspect.tab import Page
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import Bar, BarsPlot
from napari_connecto.widgets.shared.settings import AutomaticFolder, output_folder
from napari_connecto.widgets.viewer.view import OKABE_ITO
from napari_connecto.widgets.viewer.volumes import identity, lasting
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.inspect.prune.result import Pruned

HINT = (
    "Remove channels and retrain on the model's own answers to the first part of the image. No labels are needed. The "
    "last part is held out and measured."
)
COSTS = "Of the original model (blue) and of the smaller one (green): time of a tile, weights, and size of the file"


class SmallerTab(Page):
    """Params, one button; costs of both models as bars, how well they agree, and a button to go on with the new one."""

    def __init__(self, image: InputBox, model: ModelBox) -> None:
        super().__init__()
        self._image, self._model = image, model
        self._automatic = AutomaticFolder("smaller-")
        self._asked: Shrinking | None = None
        self.form: ParamsForm[PruneParams] = ParamsForm(PruneParams, skip=("label_kind", "device"))
        self.bar = JobBar("smaller", "Make smaller", "Remove channels, retrain, measure and save. Takes minutes")
        self.plot = BarsPlot(COSTS)
        self.about = text_line("What was lost and gained")
        self.use = QPushButton("Inspect the smaller model")
        self.use.setToolTip("Choose the smaller model above; Adapt and the shell use its folder like any model's")
        self._lay_out()
        self.bar.clicked.connect(self._on_shrink)
        self.bar.worker.returned.connect(self._on_made)
        self.use.clicked.connect(self._on_use)
        for signal in (image.changed, model.changed):
            signal.connect(self.bar.forget)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 6, 4, 4)
        hint = QLabel(HINT)
        hint.setWordWrap(True)
        how = Details(self.form, title="How", tooltip="What is removed, and how the rest is retrained")
        for widget in (hint, how, self.bar, self.plot, self.about, self.use):
            layout.addWidget(widget)
        layout.addStretch()
        for widget in (self.plot, self.about, self.use):
            widget.hide()

    def close_jobs(self) -> None:
        """Stop."""
        self.bar.close_jobs()

    def shrinking(self) -> Shrinking:
        """What is asked, as set in the dock.

        Raises
        ------
        InputError
            If a choice is missing or a value is out of range.
        """
        volume, folder, params = self._model.reads(self._image), self._model.folder, self.form.value
        if folder is None:
            raise InputError("no model is chosen; choose one")
        mark = lasting(volume, folder, params)
        out = self._automatic.of((identity(volume), folder, params), volume.name, folder.name, output_folder(), mark)
        return Shrinking(volume, folder, params, out)

    def _on_shrink(self) -> None:
        try:
            asked = self._asked = self.shrinking()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        for widget in (self.plot, self.about, self.use):
            widget.hide()
        self.bar.start(lambda: shrink_job(asked), resumable=False, out=asked.out)

    def _on_made(self, found: Pruned) -> None:
        self.plot.show_bars(_bars(found))
        self.about.setText("\n".join(line[0].upper() + line[1:] + "." for line in found.lines()))
        if self._asked is not None:
            self.about.setToolTip(f"Saved in {self._asked.out}")
            self.bar.offer_report(self._asked.out)
        for widget in (self.plot, self.about, self.use):
            widget.show()

    def _on_use(self) -> None:
        if self._asked is not None:
            self._model.use(self._asked.out / "model")


def _bars(found: Pruned) -> list[Bar]:
    """Before and after, each pair relative to the larger."""
    rows = (
        ("time", found.seconds, lambda v: f"{1000 * v:.3g} ms"),
        ("weights", found.weights, lambda v: f"{v:,}".replace(",", " ")),
        ("file", found.stored, lambda v: f"{v / 1000:,.0f} kB".replace(",", " ")),
    )
    bars = []
    for name, (before, after), text in rows:
        most = max(before, after) or 1
        bars.append(Bar(f"{name}, original", before / most, OKABE_ITO["accepted"], text(before)))
        bars.append(Bar(f"{name}, smaller", after / most, OKABE_ITO["good"], text(after)))
    return bars

"""Choosing the translator, with its figures and calibration: the second box of the dock "X-ray to EM"."""

from __future__ import annotations

from qtpy.QtWidgets import QLabel

from napari_connecto.widgets.shared.choice import ChoiceBox, Words
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.theme import colour_text
from napari_connecto.widgets.xray.jobs import example, list_job, peek
from napari_connecto.widgets.xray.place_list import pixmap
from napari_connecto.widgets.xray.plots import CalibrationPlot

TRAIN = "Train from pair…"
SIMULATED = "simulated: trained without real X-ray"
TALL = 84
"""Pixels of the pictures before and after."""
EXAMPLE = "X-ray, before, and the translation, after: an example that the translator was not trained on"
WORDS = Words(
    title="Translator",
    row="Use",
    train=TRAIN,
    training="Train a translator below, from X-ray and EM of the same tissue.",
    folder="Folder of a translator (with translator.json)",
    tooltip="A shipped translator, one from a folder, or one trained on an X-ray and an EM volume of the same tissue",
)


class TranslatorBox(ChoiceBox):
    """Which translator: shipped, from a folder, or to be trained; its figures and calibration."""

    def __init__(self) -> None:
        super().__init__(WORDS, lambda: list_job(), lambda folder: peek(folder))
        self.simulated = text_line(
            "A research preview: training used no real pair of X-ray and EM, see docs/simulated.md"
        )
        self.simulated.setText(f"⚠ {SIMULATED}")
        colour_text(self.simulated, "warning")
        self.figures = text_line(
            "PSNR and SSIM of the translation and of interpolated X-ray, and coverage of the intervals"
        )
        self.plot = CalibrationPlot()
        self.picture = QLabel()
        self.picture.setToolTip(EXAMPLE)
        self.layout_.removeWidget(self.about)
        self.details = Details(self.about, self.figures, self.plot, tooltip="Training, figures and calibration")
        for widget in (self.picture, self.simulated, self.details):
            self.layout_.addRow(widget)
        self.changed.connect(self._show_trust)
        self._show_trust()

    def _show_trust(self) -> None:
        peeked = self.peeked
        self.simulated.setVisible(peeked is not None and peeked.simulated)
        self.figures.setText(peeked.figures() if peeked is not None else "")
        self.figures.setVisible(bool(self.figures.text()))
        self.plot.show_calibration(peeked.calibration if peeked is not None else None)
        crops = None if self.folder is None or peeked is None else example(self.folder)
        self.picture.setVisible(crops is not None)
        if crops is not None:
            self.picture.setPixmap(pixmap(crops, coloured=-1, height=TALL))
        self.details.setVisible(peeked is not None)

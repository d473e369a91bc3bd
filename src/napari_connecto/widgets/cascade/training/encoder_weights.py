"""Published weights of the encoder chosen for training: are they here, and a download after a question."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMessageBox, QVBoxLayout, QWidget

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, loading
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.subject import Choice

if TYPE_CHECKING:
    from napari_connecto.models.pretrained.fetch import Offer


class _Bar(JobBar):
    """Its job is on no image, so it follows none."""

    def follow(self, choice: Choice) -> None:
        pass


class EncoderWeights(QWidget):
    """A button that appears once the form asks for published weights."""

    def __init__(self, form: ParamsForm[Any]) -> None:
        super().__init__()
        self._form = form
        self.bar = _Bar(
            "encoder weights",
            "Get encoder weights…",
            "Look for the published weights of this encoder on this machine.\n"
            "If they are missing, show size and licence, and download them only if you agree.",
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.bar)
        form.changed.connect(self._show)
        self.bar.clicked.connect(self._on_clicked)
        self.bar.worker.returned.connect(self._on_returned)
        self._show()

    def _show(self) -> None:
        encoder, weights = (self._form.get(name) for name in ("encoder", "encoder_weights"))
        self.setVisible(encoder != "small" and weights == "imagenet")
        self.bar.forget()

    def _on_clicked(self) -> None:
        encoder = str(self._form.get("encoder"))
        self.bar.start(lambda: look_job(encoder), resumable=False, abandon=True)

    def _on_returned(self, found: str | Path | Offer) -> None:
        if isinstance(found, str):
            self.bar.say(f"Ready: {found}.")
        elif isinstance(found, Path):
            self.bar.say("Ready: the weights are downloaded.")
        elif self._agreed(found):
            self.bar.start(lambda: fetch(found), resumable=False)
        else:
            self.bar.say("Nothing was downloaded.")

    def _agreed(self, offer: Offer) -> bool:
        button = QMessageBox.StandardButton
        answer = QMessageBox.question(self, "Download encoder weights", f"Download {offer}?", button.Yes | button.No)
        return answer == button.Yes


def look_job(encoder: str) -> Job[str | Offer]:
    """Where the weights come from if they are on this machine, else what a download would bring."""
    yield loading("encoders")
    from napari_connecto.models.pretrained.fetch import offer
    from napari_connecto.models.pretrained.sources import find

    try:
        return find(encoder, "imagenet").about
    except InputError:
        return offer(encoder)


def fetch(offer: Offer) -> Job[Path]:
    """Download."""
    from napari_connecto.models.pretrained.fetch import fetch_job

    return fetch_job(offer)

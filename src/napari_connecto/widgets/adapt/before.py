"""What can be done to a model before anything is labelled: two tick boxes, and what came of them in words."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.boundary_models import has_patches
from napari_connecto.widgets.shared.job_bar import text_line


class BeforeLabel(QWidget):
    """AdaBN and playback; ``changed`` is emitted with every tick. Unticking goes back to the model as it was."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.adabn = QCheckBox("AdaBN: adapt batch norm to this image")
        self.adabn.setToolTip(
            "Take batch-norm statistics from the image; needs no labels. The preview shows both.\nClear to undo."
        )
        self.playback = QCheckBox("Retrain on restyled source patches")
        self.playback.setToolTip(
            "Playback: match blur, noise and intensities of the source's labelled patches to the image, and retrain\n"
            "on them where that lowers MMD² to the image. The preview shows it for the chosen model. Clear to undo."
        )
        self.told = text_line("What AdaBN and playback did, or why they were left out")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.adabn, self.playback, self.told):
            layout.addWidget(widget)
        for box in (self.adabn, self.playback):
            box.toggled.connect(lambda _: self.changed.emit())
        self.say([])

    def show_model(self, folder: Path | None) -> None:
        """Offer what can be done to the model in a folder; nothing to an untrained one."""
        patches = folder is not None and has_patches(folder)
        self.adabn.setEnabled(folder is not None)
        self.playback.setEnabled(patches)
        if folder is not None and not patches:
            self.say(["Playback is not possible: the model comes without labelled patches of its source."])
        else:
            self.say([])

    def wanted(self) -> tuple[bool, bool]:
        """Whether AdaBN and playback are ticked and possible."""
        boxes = (self.adabn, self.playback)
        adabn, playback = (box.isChecked() and box.isEnabled() for box in boxes)
        return adabn, playback

    def say(self, lines: list[str]) -> None:
        """Show what was done."""
        self.told.setText("\n".join(line[:1].upper() + line[1:] for line in lines))
        self.told.setVisible(bool(lines))

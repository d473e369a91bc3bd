"""Adaptations of a model without labels: two check boxes, and their outcome in words."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_connecto.widgets.shared.boundary_models import has_patches
from napari_connecto.widgets.shared.error_line import text_line


class BeforeLabel(QWidget):
    """AdaBN and playback; ``changed`` is emitted with every change. Clearing a box returns to the unadapted model.

    ``told`` is placed by the caller, for it is read when these boxes are folded.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.adabn = QCheckBox("AdaBN: adapt batch norm to this image")
        self.adabn.setToolTip(
            "Recompute batch-norm statistics on the image; needs no labels. The preview shows both.\nClear to undo."
        )
        self.playback = QCheckBox("Retrain on restyled source patches")
        self.playback.setToolTip(
            "Data playback: match blur, noise and intensities of the source's labelled patches to the image, and "
            "retrain\n"
            "on them if that lowers MMD² to the image. The preview shows it for the chosen model. Clear to undo."
        )
        self.told = text_line("What AdaBN and playback did, or why they were not possible")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.adabn, self.playback):
            layout.addWidget(widget)
        for box in (self.adabn, self.playback):
            box.toggled.connect(lambda _: self.changed.emit())
        self.say([])

    def show_model(self, folder: Path | None) -> None:
        """Offer the adaptations possible for the model in a folder; none for an untrained one."""
        patches = folder is not None and has_patches(folder)
        self.adabn.setEnabled(folder is not None)
        self.playback.setEnabled(patches)
        if folder is not None and not patches:
            self.say(["Data playback is not possible: the model has no labelled patches of its source domain."])
        else:
            self.say([])

    def wanted(self) -> tuple[bool, bool]:
        """Whether AdaBN and playback are checked and possible."""
        boxes = (self.adabn, self.playback)
        adabn, playback = (box.isChecked() and box.isEnabled() for box in boxes)
        return adabn, playback

    def say(self, lines: list[str]) -> None:
        """Show what was done."""
        self.told.setText("\n".join(line[:1].upper() + line[1:] for line in lines))
        self.told.setVisible(bool(lines))

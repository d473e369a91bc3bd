"""Banner for an image whose contrast looks inverted to the chosen model; offers to invert it on read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.adapt.jobs import contrast_job
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.frame.theme import colour_text
from napari_connecto.widgets.shared.worker import Worker

if TYPE_CHECKING:
    from pathlib import Path

    from napari_connecto.core.volume import Volume
    from napari_connecto.workflows.adapt.contrast import Contrast

OFFER = "Invert intensities on read; no file is changed, and recipes say invert: true"
BEGUN = "The open session reads the image this way; start a new session in step 2 to change it"
SEEN = "Intensities are inverted on read; the file and the view are unchanged."


class ContrastBanner(QWidget):
    """Hidden if the contrast is as expected. Checks again whenever another image or model is chosen."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.found: Contrast | None = None
        self.text = text_line(
            "Contrast of thin structures in the image and of the model's boundaries, on a few patches"
        )
        colour_text(self.text, "warning")
        self.button = QPushButton()
        self._asked: tuple[Volume | None, Path | None, bool] = (None, None, False)
        self._looker = Worker("contrast", self, quiet=True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.setSpacing(4)
        layout.addWidget(self.text)
        layout.addWidget(self.button)
        self._looker.returned.connect(self._on_looked)
        self.button.clicked.connect(lambda: project.update(invert=not project.invert))
        project.changed.connect(self.look)
        project.image.changed.connect(self._on_image_changed)
        self.show_state()

    def look(self) -> None:
        """Check the contrast, unless this image was checked with this model; errors are left to the jobs."""
        source, full, invert = self.project.source, self.project.image.full, self.project.invert
        folder = source.folder if source is not None else None
        asked = (full, folder, invert)
        seen = self._asked[0] is full and self._asked[1:] == asked[1:]
        if seen or full is None or folder is None or not self.project.settled:
            self.show_state()
            return
        volume = self.project.volume()
        self._asked, self.found = asked, None
        self._looker.start(lambda: contrast_job(volume, folder))
        self.show_state()

    def show_state(self) -> None:
        """What is known about the contrast, and what to do."""
        found, on, begun = self.found, self.project.invert, self.project.work is not None
        said = [found.verdict(), found.loss()] if found is not None else []
        said = [SEEN] * on + [line[:1].upper() + line[1:] + "." for line in said if line]
        self.text.setText("\n".join(said))
        self.setVisible(bool(said))
        self.button.setVisible(on or (found is not None and found.inverted))
        self.button.setText("Do not invert" if on else "Invert")
        self.button.setEnabled(not begun)
        self.button.setToolTip(BEGUN if begun else OFFER)

    def close_jobs(self) -> None:
        """Stop checking."""
        self._looker.close()

    def _on_looked(self, found: Contrast) -> None:
        self.found = found
        self.show_state()

    def _on_image_changed(self) -> None:
        if self._asked[0] is not self.project.image.full:
            self.found = None
            self.look()

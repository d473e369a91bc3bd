"""The dock "Inspect a model": is it right, why did it miss, what does it know, how small can it be?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QTabWidget

from napari_connecto.widgets.inspect.choose import ModelBox
from napari_connecto.widgets.inspect.knows import KnowsTab
from napari_connecto.widgets.inspect.missed import MissedTab
from napari_connecto.widgets.inspect.smaller import SmallerTab
from napari_connecto.widgets.inspect.trust import TrustTab
from napari_connecto.widgets.shared.frame.dock import Dock
from napari_connecto.widgets.shared.frame.image import InputBox

if TYPE_CHECKING:
    import napari


class InspectWidget(Dock):
    """Choose image and model once; each tab asks one question of them."""

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__()
        self.image = InputBox(napari_viewer)
        self.model = ModelBox()
        self.trust = TrustTab(napari_viewer, self.image, self.model)
        self.missed = MissedTab(napari_viewer, self.image, self.model)
        self.knows = KnowsTab(napari_viewer, self.image, self.model)
        self.smaller = SmallerTab(self.image, self.model)
        self.tabs = QTabWidget()
        for tab, title, tooltip in (
            (self.trust, "Trust", "Is the model's answer to this image right, and where is it wrong?"),
            (self.missed, "Why missed", "Which parts of the network carry a failure?"),
            (self.knows, "Knows", "What can be read from the network's own features?"),
            (self.smaller, "Smaller", "How small can the model be?"),
        ):
            self.tabs.setTabToolTip(self.tabs.addTab(tab, title), tooltip)
        self.lay_out([self.image, self.model, self.tabs])
        self.follow(napari_viewer, self.image)
        self.model.changed.connect(self._on_model)
        self.image.layers.chosen.emit()

    def _on_model(self) -> None:
        self.image.set_model(self.model.peeked.voxel_nm if self.model.peeked else None)
        self.image.allow_pixels(self.model.pixels)

    def close_jobs(self) -> None:
        """Stop all jobs and release the layers."""
        super().close_jobs()
        for part in (self.image, self.model, self.trust, self.missed, self.knows, self.smaller):
            part.close_jobs()

"""The option of a run to write an error map; when the run ends, the map as a layer and its worst places in a list."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Layer
from qtpy.QtGui import QEnterEvent, QShowEvent
from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.task import Task
from napari_connecto.widgets.shared.worst import WorstBox
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.workflows.shared.judged import FOLDER, guarded

ERROR = "error probability"
TIP = (
    "Also map where the answer is probably wrong, with the guard of the model, when the run ends.\n"
    "The map becomes a layer, and its worst places a list to jump to. The estimate does not include it."
)
OF_SEARCH = (
    "Also map where the answer is probably wrong, with the guard of the finest model.\n"
    "This reads the whole image, including what the search skips, and is not in the estimate.\n"
    "Made by Run all, at its end; the worst places become a list."
)
OF_TRANSLATION = (
    "Also map where the membranes found in the translation are probably wrong, with the guard of the boundary model.\n"
    "Run all makes it at its end, and its worst places become a list to jump to. The estimate does not include it."
)
NO_GUARD = "The model has no guard; fit one in Inspect a model, tab Trust"


def show_error(shown: Shown, error: Volume, at: tuple[Layer, Level]) -> None:
    """An error map on the image layer whose level 0 is given, instead of what was shown before."""
    shown.clear()
    look: dict[str, Any] = {"contrast_limits": (0, 255), "colormap": "inferno", "blending": "additive"}
    shown.add(error, *at, ERROR, **look)


class ErrorMapBox(QWidget):
    """A check box before the run; verdict, map and worst places after it."""

    def __init__(self, viewer: Any, tip: str = TIP) -> None:
        super().__init__()
        self._tip = tip
        self._model: Path | None = None
        self._shown = Shown(viewer)
        self.box = QCheckBox("Error map")
        self.about = text_line("What the guard says of the answer; it advises and changes nothing")
        self.worst = WorstBox(viewer)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.box, self.about, self.worst):
            layout.addWidget(widget)
        self.suit(None)
        self.forget()

    @property
    def wanted(self) -> bool:
        """Whether the run is to write a map."""
        return self.box.isEnabled() and self.box.isChecked()

    def suit(self, model: Path | None) -> None:
        """Offer a map if the model in this folder has a guard; else say why not."""
        self._model = model
        self._look()

    def showEvent(self, event: QShowEvent | None) -> None:
        """Look again: a guard may have been fitted in another dock."""
        super().showEvent(event)
        self._look()

    def enterEvent(self, event: QEnterEvent | None) -> None:
        """Look again, before the click."""
        super().enterEvent(event)
        self._look()

    def _look(self) -> None:
        there = self._model is not None and guarded(self._model)
        self.box.setEnabled(there)
        self.box.setToolTip(self._tip if there or self._model is None else NO_GUARD)

    def forget(self) -> None:
        """List nothing; layers stay."""
        self.about.hide()
        self.worst.hide()

    def show_check(self, run: Task[Any], at: tuple[Layer, Level] | None, inner: str = "") -> None:
        """Show what the guard found in a run, if that had one, on the image layer whose level 0 is given.

        ``inner`` is the folder of the judged part in that of the run.
        """
        folder = run.out / inner / FOLDER
        if not run.error_map:
            return
        from napari_connecto.io.disk import read_json
        from napari_connecto.io.volumes.read import open_volume
        from napari_connecto.workflows.inspect.guard.places import read_places  # scipy: not for the opening of a dock

        self.about.show()
        self.worst.show()
        try:
            lines, places = read_json(folder / "report.json")["lines"], read_places(folder)
            if at is not None:
                show_error(self._shown, open_volume(folder / "error.zarr"), at)
        except ConnectoError as error:
            self.worst.error.show_error(error)
            return
        self.about.setText("\n".join(line[0].upper() + line[1:] for line in lines))
        self.worst.show_places(places, at)

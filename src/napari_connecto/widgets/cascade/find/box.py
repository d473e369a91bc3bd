"""The options of a detector that needs no training: the box below "Find with"."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QFileDialog, QGroupBox, QPushButton, QVBoxLayout

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.widgets.cascade.find.example import ExampleRow
from napari_connecto.widgets.cascade.find.finder import (
    BLOBS,
    Finder,
    ModelChoice,
    alone_job,
    changed_options,
    diameter_job,
    kind_job,
    names_job,
    used_options,
)
from napari_connecto.widgets.cascade.setup import CascadeBox
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.frame.image import InputBox
from napari_connecto.widgets.shared.worker import Worker

BRIGHT = "Blobs (no training)"
MODEL = "Model or package…"
DIAMETER = "diameter_nm"
PAUSE_MS = 500
ABOUT = {
    BRIGHT: "Finds bright or dark blobs of about one size. No training is needed: press Preview in view.",
    MODEL: "Runs a model folder or a bioimage.io package, without training.",
}


class FinderBox(QGroupBox):
    """Options of the chosen detector. Whenever they change, the cascade of this detector alone is made, and given to
    the box of cascades; then it is estimated and run like any other. ``changed`` is emitted with every change.
    """

    changed = Signal()

    def __init__(self, viewer: Any, source: InputBox, cascades: CascadeBox, folder: Callable[[], Path]) -> None:
        super().__init__("Detector options")
        self._source, self._cascades, self._folder = source, cascades, folder
        self._names: dict[str, str] = {}
        self.form: ParamsForm[Any] | None = None
        self.waiting = self._chosen = ""
        self._sized = 0.0
        """Diameter that was measured in the image, not given by the user."""
        self.example = ExampleRow(viewer)
        self.file, self.browse = QPushButton("File…"), QPushButton("Folder…")
        self.file.setToolTip("Choose a bioimage.io package (zip or yaml)")
        self.browse.setToolTip("Choose a model folder, or an unpacked package")
        self.browsing = row(self.file, self.browse)
        self.error = ErrorLine()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(8, 4, 8, 6)
        self._layout.setSpacing(4)
        for widget in (self.browsing, self.example, self.error):
            self._layout.addWidget(widget)
        self._lister, self._reader = (Worker(name, self, quiet=True) for name in ("detectors", "options"))
        self._maker, self._sizer = (Worker(name, self, quiet=True) for name in ("detector", "diameter"))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(PAUSE_MS)
        self._connect()
        self._lister.start(names_job)

    def _connect(self) -> None:
        self._lister.returned.connect(self._on_listed)
        self._reader.returned.connect(self._show_form)
        self._sizer.returned.connect(self._on_sized)
        self._maker.returned.connect(self._on_made)
        for worker in (self._lister, self._reader, self._maker, self._sizer):
            worker.failed.connect(self._on_failed)
        self._pause.timeout.connect(self._make)
        self._source.changed.connect(self._on_image_changed)
        self.example.draw.clicked.connect(lambda: self.example.draw_on(self._source.layer))
        self.example.drawn.connect(self._on_drawn)
        self.file.clicked.connect(lambda: self._take(QFileDialog.getOpenFileName(self, "bioimage.io package")[0]))
        self.browse.clicked.connect(lambda: self._take(QFileDialog.getExistingDirectory(self, "Folder of a model")))

    def finder(self) -> Finder | None:
        """The detector as set; None where another cascade is chosen.

        Raises
        ------
        InputError
            If an option is missing or out of range.
        """
        chosen = self._cascades.other
        if not chosen:
            return None
        if self.form is None:
            raise InputError("the detector is being loaded; try again in a moment")
        value = self.form.value
        if chosen != MODEL:
            return Finder(self._names[chosen], changed_options(value))
        if not value.source.strip():
            raise InputError("no model is chosen; enter a folder, a package or its URL")
        return Finder(value.source.strip(), output=value.output.strip(), shown=value.shown)

    def on_chosen(self) -> None:
        """Show the options of the chosen detector; hide where it is none."""
        chosen = self._cascades.other
        if chosen == self._chosen:
            return
        self._chosen = chosen
        self.setVisible(bool(chosen))
        for worker in (self._reader, self._maker, self._sizer):
            worker.cancel()
        self._pause.stop()
        self.error.clear()
        self._drop_form()
        self.waiting = "Loading the detector" if chosen else ""
        if chosen == MODEL:
            self._show_form(ModelChoice)
        elif chosen:
            name = self._names[chosen]
            self._reader.start(lambda: kind_job(name), abandon=True)

    def close_jobs(self) -> None:
        """Stop all jobs, and following layers."""
        self._pause.stop()
        for worker in (self._lister, self._reader, self._maker, self._sizer):
            worker.close(wait_s=0)
        self.example.release()

    def _on_listed(self, names: tuple[str, ...]) -> None:
        others = [name for name in names if name != BLOBS]
        self._names = {BRIGHT: BLOBS, **{name: name for name in others}}
        about = {name: f"Runs the installed detector {name}." for name in others}
        self._cascades.list_others({BRIGHT: ABOUT[BRIGHT], **about, MODEL: ABOUT[MODEL]})

    def _drop_form(self) -> None:
        if self.form is not None:
            self._layout.removeWidget(self.form)
            self.form.deleteLater()
        self.form = None
        self.browsing.hide()
        self.example.hide()

    def _show_form(self, kind: type) -> None:
        self._drop_form()
        self.form = ParamsForm(kind)
        self._layout.insertWidget(0, self.form)
        self.form.changed.connect(self._on_changed)
        self.browsing.setVisible(self._cascades.other == MODEL)
        self.example.setVisible(self.form.has(DIAMETER))
        self._on_image_changed()

    def _take(self, path: str) -> None:
        if path and self.form is not None:
            self.form.change(source=path)

    def _on_drawn(self) -> None:
        image, full = self._source.layer, self._source.full
        if self.form is None or image is None or full is None or not self.form.has(DIAMETER):
            return
        try:
            diameter = self.example.diameter(image, full.levels[0])
        except ConnectoError as error:
            self.error.show_error(error)
            return
        if diameter:
            self.form.change(diameter_nm=float(f"{diameter:.3g}"))

    def _on_image_changed(self) -> None:
        """Lengths may have another unit, and a diameter that was measured is measured anew."""
        if self.form is None:
            return
        unknown = self._source.full is not None and not self._source.full.calibrated
        self.form.count_in("pixels" if unknown else "nm")
        if self.form.has(DIAMETER) and self.form.get(DIAMETER) == self._sized:
            self.form.change(diameter_nm=0.0)
        self._on_changed()

    def _on_changed(self) -> None:
        """What was made is out of date; make it anew in a moment."""
        if not self._cascades.other or self.form is None:
            return
        self._maker.cancel()
        self.error.clear()
        self.waiting = "Loading the detector"
        self._cascades.use_made(None)
        self._pause.start()

    def _make(self) -> None:
        volume = self._source.full
        if self.form is None or volume is None:
            self.waiting = "no image is open; choose an image layer"
            return
        if self._cascades.combo.currentText() == BRIGHT and not self.form.get(DIAMETER):
            dark = bool(self.form.get("dark"))
            self._sizer.start(lambda: diameter_job(volume, dark), abandon=True)
            return
        try:
            finder = self.finder()
        except ConnectoError as error:
            self._wait_for(str(error))
            return
        if finder is not None:
            where = self._folder() / "detectors"
            self._maker.start(lambda: alone_job(volume, finder, where), abandon=True)

    def _on_sized(self, diameter: float) -> None:
        if self.form is not None and self.form.has(DIAMETER):
            self._sized = float(f"{diameter:.2g}")
            self.form.change(diameter_nm=self._sized)

    def _on_made(self, folder: Path) -> None:
        if self._pause.isActive():
            return
        self.waiting = ""
        self._say_automatic(folder)
        self._cascades.use_made(folder)

    def _say_automatic(self, folder: Path) -> None:
        """Say beside a 0 what was measured on the image instead, to have a number to begin with."""
        if self.form is None:
            return
        for name, value in used_options(folder).items():
            if self.form.automatic(name) and value:
                self.form.say_zero(name, f"uses {value:g}")  # the tooltip says how it is found

    def _on_failed(self, error: Exception, text: str) -> None:
        self.error.show_error(error, text)
        self._wait_for(str(error))

    def _wait_for(self, text: str) -> None:
        self.waiting = text
        self._cascades.use_made(None)

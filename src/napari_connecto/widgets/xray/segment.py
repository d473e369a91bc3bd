"""Segment X-ray and EM-like image with the same boundary model, and compare both in 3-D."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.layers import Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGroupBox, QPushButton

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.boundary_models import list_job
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.frame.dock import row
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import BarsPlot
from napari_connecto.widgets.shared.segmentation import Segmenting
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.layers import describe
from napari_connecto.widgets.viewer.view import LayerCombo, view_box
from napari_connecto.widgets.xray.boxes import inside, part, translated
from napari_connecto.widgets.xray.check_jobs import SEGMENTS, Checked, checked_params
from napari_connecto.widgets.xray.disputed import Disputing
from napari_connecto.widgets.xray.jobs import TranslatorAbout
from napari_connecto.widgets.xray.segment_jobs import Both, Source, bars_of, both_job
from napari_connecto.widgets.xray.segment_layers import NAMES, SegmentLayers
from napari_connecto.widgets.xray.trust import TrustBox
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

VIEW, ALL, NONE = "In view", "Everywhere", "none"
LINKED = ("contour", "opacity")
NOTHING = "nothing is translated yet; press Preview in view or Run all first"


class SideBySideBox(QGroupBox):
    """Model, part, mode; two linked Labels layers and their comparison; hiding uncertain segments.

    ``boundary`` is also the model that checks a translation.
    """

    listed = Signal()

    def __init__(self, viewer: Any, trust: TrustBox) -> None:
        super().__init__("Does it help?")
        self._viewer, self._trust = viewer, trust
        self._source: Source | None = None
        self._told, self._default = "", ""
        self._seen: tuple[tuple[float, ...], float] | None = None
        self._made: dict[Any, Path] = {}
        self.folders: dict[str, Path] = {}
        self.shown = SegmentLayers(viewer, trust)
        self.model, self.where = QComboBox(), QComboBox()
        self.model.setToolTip(
            "Boundary model that finds membranes in the EM-like image, and segments X-ray and EM-like image alike.\n"
            "Choose one for EM like that of the translator; none: uncertainty of the image only."
        )
        told = "True segments, if you have some: both are compared with them"
        self.truth = LayerCombo(viewer, (Labels,), told, none=NONE)
        self.bars = BarsPlot("Variation of information (VI) in 3-D, bits; the rim of 100 nm does not count")
        self.bars.hide()
        self.where.addItems([VIEW, ALL])
        self.where.setToolTip("Part to segment; In view: what is on screen, 32 sections thick")
        self.form: ParamsForm[SegmentParams] = ParamsForm(SegmentParams)
        self.bar = JobBar(
            "comparison", "Compare", "Segment the X-ray and the EM-like image with the same model, and compare in 3-D"
        )
        self.aside = QCheckBox("Side by side")
        self.aside.setToolTip("Show the EM-like image and its segments to the right of the X-ray and its segments")
        self.leave = QPushButton("Hide uncertain segments")
        self.leave.setCheckable(True)
        self.leave.setToolTip(
            "Show EM-like segments only where the total sd is at most 'Certain to sd'. Press again to show all"
        )
        self.about = text_line("How the segmentations compare, and where they are saved")
        self.error = ErrorLine()
        self._lister = Worker("models", self, quiet=True)
        self._lay_out()
        self._connect()
        self._lister.start(lambda: list_job(None))
        self._show_state()

    def _lay_out(self) -> None:
        fold = Details(self.form, title="How", tooltip="How segments are made from boundaries")
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("Membranes by", self.model)
        layout.addRow("Truth", self.truth)
        layout.addRow("Where", self.where)
        for widget in (self.bar, self.bars, self.about, row(self.aside, self.leave), fold, self.error):
            layout.addRow(widget)

    def _connect(self) -> None:
        self._lister.returned.connect(self._on_listed)
        self._lister.failed.connect(self.error.show_error)
        self.model.currentTextChanged.connect(self._on_model)
        self.truth.chosen.connect(self.bar.forget)
        self.bar.clicked.connect(self._on_segment)
        self.bar.worker.returned.connect(self._on_segmented)
        self.aside.toggled.connect(self._on_aside)
        self.leave.toggled.connect(lambda _: self._mask())
        self._trust.changed.connect(self._on_limit)

    def set_source(self, source: Source | None) -> None:
        """Another translation, or more of it."""
        if source is None or self._source is None or source.out != self._source.out:
            self.shown.forget()
            self._seen = None
            self.about.setText("")
            self.bars.hide()
        self._source = self.shown.source = source
        self.bar.forget()
        self._show_state()

    @property
    def boundary(self) -> Path | None:
        """Folder of the boundary model; None for none."""
        return self.folders.get(self.model.currentText())

    @property
    def named(self) -> str:
        """The boundary model as a run names it: "auto" for the one that suits the translator, a folder, or "none"."""
        name = self.model.currentText()
        return "auto" if name and name == self._default else str(self.folders.get(name, NONE))

    def suit(self, about: TranslatorAbout | None) -> None:
        """Choose the boundary model that suits a translator."""
        from napari_connecto.workflows.xray.check.choose import default_model

        if about is not None and self.folders:
            self._default = default_model(about.name, about.about, about.voxel_nm, self.folders)
            self.model.setCurrentText(self._default or NONE)

    def show_checked(self, made: Checked) -> None:
        """Show the segments of a checked translation, with the table of their uncertainty; hidden at first."""
        shown = self.shown
        shown.labels[NAMES[1]] = made.found.labels
        shown.show(NAMES[1], visible=False)
        table = made.found.certainty.segments
        if NAMES[1] in shown.layers:
            shown.layers[NAMES[1]].features = {("index" if k == "label" else k): v for k, v in table.items()}
        self._show_state()

    def close_jobs(self) -> None:
        """Stop."""
        self.truth.release()
        self._lister.close()
        self.bar.close_jobs()

    def tasks(self) -> tuple[Segmenting, Segmenting]:
        """The segmentations as set in the dock: of the X-ray and of the EM-like image.

        Raises
        ------
        InputError
            If there is no translation or no model, or the requested part is not translated.
        """
        source, whole, folder, view = self._asked()
        xray, mean = source.what.volume, whole
        raw = None if view is None else inside(view, source.finest, xray)
        made = None if view is None else inside(view, source.finest, mean)
        if made is not None and not source.complete:  # intensities must not be measured where nothing is translated
            made, raw = self._translated(made, mean, xray)
            mean, made = part(mean, made), None
        params, out = self.form.value, self._folder(folder, raw, source)
        spec, run_on = VolumeSpec(mean.source) if mean is whole else None, source.what.run_on
        checked = view is None and folder == source.what.boundary and params == checked_params(folder)
        em_like = source.out / SEGMENTS if checked else out / "em-like"  # found when it was checked: not done again
        return (
            Segmenting(xray, source.what.spec, folder, params, out / "xray", run_on, region=raw),
            Segmenting(mean, spec, folder, params, em_like, run_on, region=made),
        )

    def _translated(self, box: Box, mean: Volume, xray: Volume) -> tuple[Box, Box]:
        """The part of a box translated so far, in voxels of the mean and of the X-ray."""
        assert self._trust.layers is not None
        parts = self._trust.layers.volumes
        here = translated(box, parts["aleatoric"].levels[0], parts["epistemic"].levels[0])
        if here.size == 0:
            raise InputError("the middle of the view is not translated; press Preview in view first")
        fine = xray.levels[0]
        return here, mean.levels[0].box_in(here, fine).clip(fine.shape)

    def disputing(self) -> tuple[Source, Disputing]:
        """Disagreement between the translator's passes, for the same part and model.

        Raises
        ------
        InputError
            As `tasks`.
        """
        source, mean, folder, view = self._asked()
        region = None if view is None else inside(view, source.finest, source.what.volume)
        out = self._folder(folder, region, source) / "membranes"
        return source, Disputing(source.what, folder, region, out, mean.levels[0])

    def _asked(self) -> tuple[Source, Volume, Path, Box | None]:
        """Translation, its mean, model, and the view in voxels of the image's finest level (None: everywhere)."""
        source, layers, folder = self._source, self._trust.layers, self.folders.get(self.model.currentText())
        if source is None or layers is None or not layers.alive:
            raise InputError(NOTHING)
        if folder is None:
            raise InputError("no boundary model is chosen; choose a shipped one")
        everywhere = self.where.currentText() == ALL
        if everywhere and not source.complete:
            raise InputError(f"only a part is translated; press Run all first, or choose '{VIEW}'")
        view = None if everywhere else view_box(self._viewer, source.image, source.finest)
        if view is not None and view.size == 0:
            raise InputError(f"the view does not touch '{source.image.name}'; press Home in the viewer")
        return source, layers.volumes["mean"], folder, view

    def _folder(self, model: Path, box: Box | None, source: Source) -> Path:
        """One folder per question, so that Resume continues."""
        key = (source.out, source.complete, model, self.form.value, box)
        if key not in self._made:
            n = 1
            while (source.out / f"segments-{n}").exists() or source.out / f"segments-{n}" in self._made.values():
                n += 1
            self._made[key] = source.out / f"segments-{n}"
        return self._made[key]

    def _on_listed(self, folders: dict[str, Path]) -> None:
        self.folders = folders
        self.model.addItems([*folders, NONE])
        self.listed.emit()

    def _on_model(self, name: str) -> None:
        if name in self.folders:
            self.form.value = checked_params(self.folders[name])
        self.bar.forget()

    def _on_segment(self) -> None:
        try:
            tasks, layer = self.tasks(), self.truth.layer
            truth = None if layer is None else describe(layer).volume
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.about.setText("")
        self.bar.start(lambda: both_job(tasks, truth))

    def _on_segmented(self, made: Both) -> None:
        self.shown.labels = dict(zip(NAMES, made[:2], strict=True))
        self.leave.blockSignals(True)
        self.leave.setChecked(False)
        self.leave.blockSignals(False)
        self.shown.clear()
        for name in NAMES:
            self.shown.show(name)
        self._viewer.layers.link_layers(list(self.shown.layers.values()), LINKED)
        self._told = made.comparison.sentence
        self.about.setText(self._told)
        self.about.setToolTip(f"Saved in {Path(made.em_like.source).parents[2]}")
        self.bars.show_bars(bars_of(made.comparison))
        self.bars.show()
        self._on_aside(self.aside.isChecked())
        self._show_state()

    def _on_aside(self, on: bool) -> None:
        """Move the layers of the EM-like image to the right of the X-ray, or back over it."""
        camera = self._viewer.scene.camera
        if on and self._seen is None:
            self._seen = tuple(camera.center), float(camera.zoom)
        self.shown.aside(on)
        self._show_raw()
        if on:
            self._viewer.reset_view()
        elif self._seen is not None:
            camera.center, camera.zoom = self._seen
            self._seen = None

    def _show_raw(self) -> None:
        """Show the X-ray's segments beside those of the EM-like image, never under them: their colours would mix."""
        self.shown.show_raw(self.aside.isChecked())

    def _on_limit(self) -> None:
        if self.leave.isChecked():
            self._mask()

    def _mask(self) -> None:
        """Show the EM-like image's segments where they are certain, or all of them."""
        limit = self._trust.limit.value() if self.leave.isChecked() else None
        line = self.shown.mask(limit)
        self.about.setText("\n".join(filter(None, (self._told, line))))

    def _show_state(self) -> None:
        self.bar.block("" if self._source is not None and self._trust.alive else NOTHING)
        self.aside.setEnabled(self._trust.alive)
        self.leave.setEnabled(NAMES[1] in self.shown.layers)

"""Segment X-ray and EM-like image with the same boundary model, for comparison side by side."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QGroupBox, QPushButton
from superqt import QCollapsible

from napari_connecto.core.errors import ConnectoError, InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared.boundary_models import list_job, tuned_params
from napari_connecto.widgets.shared.dock import row
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.segmentation import Segmenting
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.layers import SOURCE
from napari_connecto.widgets.viewer.show import GAP, store_layer
from napari_connecto.widgets.viewer.view import RESULT, selection_kept, view_box
from napari_connecto.widgets.xray.disputed import Disputing
from napari_connecto.widgets.xray.segment_jobs import Source, both_job, inside, part, translated
from napari_connecto.widgets.xray.trust import TrustBox
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

VIEW, ALL = "In view", "Everywhere"
NAMES = ("segments of X-ray", "segments of EM-like")
LINKED = ("contour", "opacity")
COUNTED = 2**24
"""Largest number of voxels in which segments are counted."""
NONE_LEFT = "No EM-like segment is certain enough: raise 'Certain to sd'"


class SideBySideBox(QGroupBox):
    """Model, part, mode; two linked Labels layers; hiding uncertain segments."""

    def __init__(self, viewer: Any, trust: TrustBox) -> None:
        super().__init__("Segment X-ray and EM-like")
        self._viewer, self._trust = viewer, trust
        self._source: Source | None = None
        self._counts = ""
        self._made: dict[Any, Path] = {}
        self.folders: dict[str, Path] = {}
        self.labels: dict[str, Volume] = {}
        self.layers: dict[str, Labels] = {}
        self.model, self.where = QComboBox(), QComboBox()
        self.model.setToolTip("Boundary model for both; choose one for EM, as the translation is EM-like")
        self.where.addItems([VIEW, ALL])
        self.where.setToolTip("Part to segment; In view: what is on screen, 32 sections thick")
        self.form: ParamsForm[SegmentParams] = ParamsForm(SegmentParams)
        self.bar = JobBar(
            "side by side", "Segment both", "Segment the X-ray, then the EM-like image, with the same model"
        )
        self.aside = QCheckBox("Side by side")
        self.aside.setToolTip("Show the EM-like image and its segments to the right of the X-ray, instead of over it")
        self.leave = QPushButton("Hide uncertain segments")
        self.leave.setCheckable(True)
        self.leave.setToolTip(
            "Show EM-like segments only where the total sd is at most 'Certain to sd', and hide those of the X-ray "
            "below them. Press again to show all"
        )
        self.about = text_line("Number of segments of each, and where they are saved")
        self.error = ErrorLine()
        self._lister = Worker("models", self, quiet=True)
        self._lay_out()
        self._connect()
        self._lister.start(lambda: list_job(None))
        self._show_state()

    def _lay_out(self) -> None:
        fold = QCollapsible("How")
        fold.toggleButton().setToolTip("How segments are made from boundaries")
        fold.setContentsMargins(0, 0, 0, 0)
        fold.addWidget(self.form)
        layout = QFormLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setVerticalSpacing(4)
        layout.addRow("Model", self.model)
        layout.addRow("Where", self.where)
        for widget in (fold, self.bar, row(self.aside, self.leave), self.about, self.error):
            layout.addRow(widget)

    def _connect(self) -> None:
        self._lister.returned.connect(self._on_listed)
        self._lister.failed.connect(self.error.show_error)
        self.model.currentTextChanged.connect(self._on_model)
        self.bar.clicked.connect(self._on_segment)
        self.bar.worker.returned.connect(self._on_segmented)
        self.aside.toggled.connect(self._on_aside)
        self.leave.toggled.connect(lambda _: self._mask())
        self._trust.changed.connect(self._on_limit)

    def set_source(self, source: Source | None) -> None:
        """Another translation, or more of it."""
        if source is None or self._source is None or source.out != self._source.out:
            self.labels, self.layers = {}, {}
            self.about.setText("")
        self._source = source
        self.bar.forget()
        self._show_state()

    def close_jobs(self) -> None:
        """Stop."""
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
        return (
            Segmenting(xray, source.what.spec, folder, params, out / "xray", run_on, region=raw),
            Segmenting(mean, spec, folder, params, out / "em-like", run_on, region=made),
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
            raise InputError("nothing is translated yet; press Preview in view or Run all first")
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
        self.model.addItems(list(folders))

    def _on_model(self, name: str) -> None:
        params = tuned_params(self.folders[name]) if name in self.folders else None
        if params is not None:
            self.form.value = params
        self.bar.forget()

    def _on_segment(self) -> None:
        try:
            tasks = self.tasks()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self.about.setText("")
        self.bar.start(lambda: both_job(tasks))

    def _on_segmented(self, made: Sequence[Volume]) -> None:
        self.labels = dict(zip(NAMES, made, strict=True))
        self.leave.blockSignals(True)
        self.leave.setChecked(False)
        self.leave.blockSignals(False)
        for name in NAMES:
            self._show(name)
        self._viewer.layers.link_layers(list(self.layers.values()), LINKED)
        counts = [f"{name.removeprefix('segments of ')}: {v.metadata['segments']}" for name, v in self.labels.items()]
        self._counts = f"Segments in {'; '.join(counts)}"
        self.about.setText(self._counts)
        self.about.setToolTip(f"Saved in {Path(made[0].source).parents[2]}")
        self._on_aside(self.aside.isChecked())
        self._show_state()

    def _show(self, name: str) -> None:
        """Show a segmentation over its image."""
        source = self._source
        if source is None:
            return
        arrays, keywords = store_layer(self.labels[name], source.image, source.finest)
        old = self.layers.pop(name, None)
        if old is not None and old in self._viewer.layers:
            self._viewer.layers.remove(old)
        data = arrays if len(arrays) > 1 else arrays[0]
        with selection_kept(self._viewer, source.image):
            told = {RESULT: True, SOURCE: self.labels[name].source}
            layer = self._viewer.add_labels(data, **keywords, name=name, opacity=0.5, metadata=told)
        layer.editable = False
        self.layers[name] = layer

    def _on_aside(self, on: bool) -> None:
        """Move the layers of the EM-like image to the right of the X-ray, or back over it."""
        source, trust = self._source, self._trust.layers
        if source is None or trust is None or not trust.images:
            return
        step = source.finest.shape[2] * (1 + GAP) * float(source.image.scale[-1]) if on else 0.0
        moved = [*trust.images[:1], trust.worst, self.layers.get(NAMES[1])]
        homes = [trust.volumes["mean"], trust.volumes["mean"], self.labels.get(NAMES[1])]
        for layer, volume in zip(moved, homes, strict=True):
            if layer is not None and layer in self._viewer.layers and volume is not None:
                home = store_layer(volume, source.image, source.finest)[1]["translate"]
                layer.translate = np.add(home, [*[0.0] * (layer.ndim - 1), step])
        self._show_raw()
        self._viewer.reset_view()

    def _show_raw(self) -> None:
        """Hide the X-ray's segments while those of the EM-like image lie over them with uncertain ones hidden."""
        raw = self.layers.get(NAMES[0])
        if raw is not None and raw in self._viewer.layers:
            raw.visible = self.aside.isChecked() or not self.leave.isChecked()

    def _on_limit(self) -> None:
        if self.leave.isChecked():
            self._mask()

    def _mask(self) -> None:
        """Show the EM-like image's segments where they are certain, or all of them."""
        layer, trust = self.layers.get(NAMES[1]), self._trust.layers
        if layer is None or layer not in self._viewer.layers or trust is None or self._source is None:
            return
        labels = self.labels[NAMES[1]]
        if self.leave.isChecked():
            from napari_connecto.workflows.shared.on_grid import kept_where
            from napari_connecto.workflows.xray.trust import certain

            parts = (trust.volumes["aleatoric"], trust.volumes["epistemic"])
            labels = kept_where(labels, certain(*parts, self._trust.limit.value()))
        arrays, _ = store_layer(labels, self._source.image, self._source.finest)
        layer.data = arrays if len(arrays) > 1 else arrays[0]
        self._show_raw()
        self.about.setText(f"{self._counts}\n{left_line(arrays[-1])}" if self.leave.isChecked() else self._counts)

    def _show_state(self) -> None:
        self.aside.setEnabled(self._trust.alive)
        self.leave.setEnabled(NAMES[1] in self.layers)


def left_line(labels: Any) -> str:
    """How many segments a mask leaves, counted on their coarsest level; "" if that is too large to read at once."""
    if prod(labels.shape) > COUNTED:
        return ""
    left = np.unique(labels[(slice(None),) * len(labels.shape)])
    n = int((left > 0).sum())
    return f"{n} EM-like segments are at least partly certain" if n else NONE_LEFT

"""Step 5 of "Adapt to my data": segment the view, a region, or the whole image into a pyramid of labels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari.layers import Layer, Shapes
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QFormLayout, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError, InputError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.adapt.card import segment_card, with_small_blocks
from napari_connecto.widgets.adapt.kept import Kept
from napari_connecto.widgets.adapt.layers import ALL, part_of, show_segments
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.proofread.box import ProofreadBox
from napari_connecto.widgets.shared.boundary_models import model_name, tuned_params
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.error_map import ErrorMapBox
from napari_connecto.widgets.shared.estimate_card import Fix
from napari_connecto.widgets.shared.form import ParamsForm
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.run_on import RunOnRow
from napari_connecto.widgets.shared.segmentation import Segmenting, check_job, segment_cost_job, segmenting_job
from napari_connecto.widgets.viewer.view import LayerCombo
from napari_connecto.workflows.segment.params import SegmentParams

MOVED_MS = 800
"""How long the view must rest before its content is estimated."""
OWN = ("mode", "grid", "block", "halo")
"""Form fields, without those tuned on patches."""
VIEW, REGION = "In view", "Region of a Shapes layer"


class SegmentBox(QWidget):
    """Where, how, run."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.layer: Layer | None = None
        self._running: Segmenting | None = None
        self._asked: Segmenting | None = None
        self._shown_out: Path | None = None
        self._shown_params: SegmentParams | None = None
        self.model = text_line("The model that segments: the one kept in step 4, else the one chosen in step 1")
        self.where = QComboBox()
        self.where.addItems([VIEW, REGION, ALL])
        self.where.setToolTip("Part of the image to segment, at the model's voxel size")
        self.shapes = LayerCombo(project.viewer, (Shapes,), "The box around all shapes of this layer is segmented")
        self.run_on = RunOnRow()
        self.form: ParamsForm[SegmentParams] = ParamsForm(SegmentParams)
        self.errors = ErrorMapBox(project.viewer)
        self.card = segment_card()
        self.bar = JobBar(
            "segmentation", "Segment", "Boundary map, watershed, agglomeration; finished blocks are saved"
        )
        self.about = text_line("Number of segments, and where they are saved")
        self.copy = QPushButton("Copy command line")
        self.copy.setToolTip("Copy the shell command that segments the same way, without a screen")
        self.rows = QFormLayout()
        self.rows.addRow("Where", self.where)
        self.rows.addRow("Shapes", self.shapes)
        self.rows.addRow("Run on", self.run_on)
        self.proofread = ProofreadBox(project)
        self._lay_out()
        self.where.currentTextChanged.connect(self._on_where)
        self.form.changed.connect(self._on_form_changed)
        self.shapes.chosen.connect(self.show_cost)
        self.bar.clicked.connect(self._on_segment)
        self.bar.worker.reported.connect(self._on_reported)
        self.bar.worker.returned.connect(self._on_segmented)
        self.copy.clicked.connect(lambda: self.bar.copy_command(self.command))
        project.changed.connect(self.show_state)
        project.switched.connect(self._on_switched)
        self.card.blocked.connect(self._on_blocked)
        self.bar.worker.failed.connect(self._on_failed)
        self._moved = QTimer(self)
        self._moved.setSingleShot(True)
        self._moved.setInterval(MOVED_MS)
        self._moved.timeout.connect(self.show_cost)
        for event in self._view_events():
            event.connect(self._on_view_moved)
        self._on_where()
        self.show_state()

    def _lay_out(self) -> None:
        tip = "Thresholds and blocks; those tuned with the model are set already"
        fold = Details(self.form, title="Options", tooltip=tip)
        self.setup = QWidget()  # hidden while segments are proofread
        inner, layout = QVBoxLayout(self.setup), QVBoxLayout(self)
        for one in (inner, layout):
            one.setContentsMargins(0, 0, 0, 0)
            one.setSpacing(4)
        inner.addWidget(self.model)
        inner.addLayout(self.rows)
        for widget in (fold, self.card, self.about, self.errors, self.copy):
            inner.addWidget(widget)
        layout.setContentsMargins(2, 2, 2, 2)
        layout.addWidget(self.setup)
        layout.addWidget(self.proofread)
        self.proofread.turned.connect(lambda on: self.setup.setVisible(not on))

    @property
    def summary(self) -> str:
        """Summary for the heading."""
        return self.layer.name if self.layer is not None and self.layer in self.project.viewer.layers else ""

    def show_state(self) -> None:
        """Show which model segments; its tuned thresholds go into the form."""
        kept = self.kept_model()
        why = f": {kept.reason}." if kept is not None and kept.reason else ""
        self.errors.suit(kept.folder if kept is not None else None)
        self.model.setText(f"Model: {kept.name}{why}" if kept else "Choose a model in step 1 first.")
        if kept is not None and kept.params is not None and kept.params != self._shown_params:
            self._shown_params = kept.params
            self.form.change(**{k: v for k, v in vars(kept.params).items() if k not in OWN})
        self.show_cost()

    def show_cost(self) -> None:
        """Estimate again while the step is open."""
        if self.isHidden() or self.bar.worker.state.busy:
            return
        try:
            what = self.segmenting()
        except ConnectoError as error:
            self._asked = None
            self.card.show_idle(str(error)[0].upper() + str(error)[1:] + ".")
            return
        asked = replace(what, out=Path())
        if asked == self._asked:
            return
        self._asked = asked
        self.card.ask(lambda: segment_cost_job(what), self._repair, lambda: check_job(what))

    def _repair(self, error: BaseException | None) -> Fix | None:
        """A one-click fix for voxel size, memory or disk space."""
        if isinstance(error, VoxelSizeError):
            return "Set the voxel size", self._set_voxel_size
        if error is not None or self.card.estimate is None:
            return None
        small = with_small_blocks(self.form.value, self.card.estimate.mode)
        if "memory" in self.card.estimate.notes[0] and small is not None:
            return "Use smaller blocks", lambda: setattr(self.form, "value", small)
        return None if self.where.currentText() == VIEW else (VIEW, lambda: self.where.setCurrentText(VIEW))

    def _set_voxel_size(self) -> None:
        self.project.image.ask_voxel_size()
        self.project.voxel_size_asked.emit()

    def _on_form_changed(self) -> None:
        self.bar.forget()
        if self.project.mode != self.form.value.mode:
            self.project.update(mode=self.form.value.mode)
        self.show_cost()

    def _view_events(self) -> tuple[Any, ...]:
        camera, dims = self.project.viewer.scene.camera, self.project.viewer.dims
        return camera.events.center, camera.events.zoom, dims.events.current_step

    def _on_view_moved(self, _event: Any = None) -> None:
        """The view changed: its estimate is outdated."""
        if not self.isHidden() and self.where.currentText() == VIEW:
            self._moved.start()

    def _on_blocked(self, why: str) -> None:
        """Block the button while the card shows a problem; if a choice is missing, the click says which."""
        self.bar.block("" if self.card.error.isHidden() else why)

    def _on_failed(self, _error: Exception, _text: str) -> None:
        """Remove the layer if there is no segmentation; finished parts are on disk."""
        if self.layer is not None:  # so there was an image
            self.project.canvas().remove([self.layer])
        self.layer = self._shown_out = None
        self.project.changed.emit()

    def close_jobs(self) -> None:
        """Stop segmenting."""
        self._moved.stop()
        for event in self._view_events():
            event.disconnect(self._on_view_moved)
        self.card.close_jobs()
        self.bar.close_jobs()
        self.proofread.close_jobs()
        self.shapes.release()

    def kept_model(self) -> Kept | None:
        """The model kept in step 4, else the session's model, else the chosen one."""
        project = self.project
        if project.kept is not None:
            return project.kept
        source = project.source
        folder = project.work.base if project.work is not None else source.folder if source is not None else None
        return None if folder is None else Kept(model_name(folder), folder, tuned_params(folder))

    def segmenting(self) -> Segmenting:
        """The segmentation as set in the dock.

        Raises
        ------
        InputError
            If there is no image, model or region, or a cluster without an address.
        """
        self.project.need_settled()
        kept = self.kept_model()
        if kept is None:
            raise InputError("no model is chosen; choose one in step 1")
        work = self.project.work
        volume = work.volume if work is not None else self.project.volume()
        spec, params, region = self.project.spec(), self.form.value, self._region(volume)
        same = self._running
        first, run_on = self.project.folder / "segments-1", self.run_on.value
        wanted = Segmenting(volume, spec, kept.folder, params, first, run_on, region=region)
        if same is not None and replace(same, out=first) == wanted:
            return replace(same, run_on=run_on, error_map=self.errors.wanted)
        return replace(wanted, error_map=self.errors.wanted, out=self.project.next_folder("segments"))

    def command(self) -> str:
        """The shell command that does the same."""
        return self.segmenting().command

    def _region(self, volume: Volume) -> Box | None:
        if self.where.currentText() == ALL:
            return None
        shapes = None if self.where.currentText() == VIEW else self.shapes.layer
        return part_of(volume, self.project.canvas(), shapes, in_view=self.where.currentText() == VIEW)

    def _on_switched(self) -> None:
        """Segments of another image stay in the viewer; clear the messages about them."""
        self.layer = self._asked = self._shown_params = None
        self.about.setText("")
        self.errors.forget()
        self.form.change(**{k: v for k, v in vars(SegmentParams()).items() if k not in OWN})
        self.bar.reset()

    def _on_where(self, _text: str = "") -> None:
        self.rows.setRowVisible(self.shapes, self.where.currentText() == REGION)
        self._on_form_changed()

    def _on_segment(self) -> None:
        try:
            what = self.segmenting()
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        if not self.card.sure():
            return
        what = replace(what, check=self.card.check)
        self._running = what
        if self._shown_out != what.out:
            self.layer = None  # the layer of another run stays
        self.about.setText("")
        self.errors.forget()
        self.bar.start(lambda: segmenting_job(what), out=what.out)

    def _on_reported(self, _progress: Progress, payloads: list[Any]) -> None:
        """Show the labels while they are written."""
        live = [payload for payload in payloads if isinstance(payload, Volume)]
        if live:
            self._show(live[-1])

    def _on_segmented(self, made: Volume) -> None:
        self._show(made)
        self.proofread.refresh()
        if self._running is not None:
            count, reason = made.metadata["segments"], made.metadata["reason"]
            self.about.setText(f"{count} segments ({reason}), saved in {self._running.out}")
            self.bar.offer_report(self._running.out)
            canvas = self.project.canvas()
            self.errors.show_check(self._running, (canvas.image, canvas.finest))
        self.project.changed.emit()

    def _show(self, labels: Volume) -> None:
        what = self._running
        if what is None:
            return
        if self.layer is not None and self.layer in self.project.viewer.layers and self._shown_out == what.out:
            self.layer.refresh(extent=False)
            return
        try:
            self.layer = show_segments(self.project.canvas(), labels, what.out.name)
        except ConnectoError as error:
            self.bar.error.show_error(error)
            return
        self._shown_out = what.out

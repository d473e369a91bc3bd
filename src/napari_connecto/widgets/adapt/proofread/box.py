"""Proofreading in the dock: two clicks merge two segments, or split one; everything can be undone and is kept."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.jobs import Job
from napari_connecto.widgets.adapt.project import Project
from napari_connecto.widgets.adapt.proofread import words
from napari_connecto.widgets.adapt.proofread.jobs import (
    SUFFIXES,
    decide_job,
    export_job,
    name_job,
    open_job,
    step_job,
    train_job,
)
from napari_connecto.widgets.adapt.proofread.layer import CorrectedLayer, segmentations
from napari_connecto.widgets.adapt.proofread.panel import MERGE, SPLIT, ProofreadPanel
from napari_connecto.widgets.shared.clicks import still_clicks
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.shared.worker import State, Worker

if TYPE_CHECKING:
    from napari_connecto.widgets.adapt.annotate.session_jobs import Work
    from napari_connecto.workflows.segment.proofread.decisions import Decision
    from napari_connecto.workflows.segment.proofread.proofreading import Proofreading


class ProofreadBox(QWidget):
    """Choose a segmentation, start, click.

    While it is on, keys M and S choose what two clicks do, U undoes, R brings back, and Escape forgets the first click
    or stops a split.
    """

    turned = Signal(bool)
    """Emitted when proofreading begins or ends."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self.project = project
        self.work: Proofreading | None = None
        self.layer: CorrectedLayer | None = None
        self.folder: Path | None = None
        self.first: tuple[Vec3, int] | None = None
        self.keys, self.worker = Keys(self), Worker("proofreading", self)
        self._then: Callable[[Any], None] = _drop
        self._leaving: Proofreading | None = None
        self._on_mouse = still_clicks(self._on_click)
        self.layers, self.start, self.panel, self.error = QComboBox(), QPushButton(), ProofreadPanel(), ErrorLine()
        self.layers.setToolTip("The segmentation to proofread: any Labels layer of a result folder")
        self.start.setCheckable(True)
        self.start.setToolTip("Merge and split segments by clicks. The labels on disk stay as they are")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for part in (self.layers, self.start, self.panel, self.error):
            layout.addWidget(part)
        self._connect()
        self.refresh()

    def _connect(self) -> None:
        panel = self.panel
        self.start.clicked.connect(lambda _=False: self.enter() if self.work is None else self.leave())
        for button in (panel.merge, panel.split):
            button.clicked.connect(lambda _=False: self.forget_click())
        panel.undo.clicked.connect(lambda _=False: self._step("undo"))
        panel.redo.clicked.connect(lambda _=False: self._step("redo"))
        panel.train.clicked.connect(lambda _=False: self._on_train())
        panel.export.clicked.connect(lambda _=False: self._on_export())
        self.worker.returned.connect(lambda found: self._then(found))
        self.worker.failed.connect(self._on_failed)
        self.worker.state_changed.connect(self._on_state)
        self.project.switched.connect(self.leave)
        for event in self._layer_events():
            event.connect(self._on_layers)

    def _layer_events(self) -> tuple[Any, ...]:
        events = self.project.viewer.layers.events
        return events.inserted, events.removed, events.renamed

    def refresh(self) -> None:
        """List the segmentations in the viewer."""
        found, before = list(segmentations(self.project.viewer)), self.layers.currentText()
        self.layers.clear()
        self.layers.addItems(found)
        self.layers.setCurrentText(before if before in found else "")
        if self.layers.currentIndex() < 0 and found:
            self.layers.setCurrentIndex(0)
        self._show()

    def enter(self) -> None:
        """Start proofreading the chosen segmentation."""
        found = segmentations(self.project.viewer).get(self.layers.currentText())
        if found is None or self.worker.state.busy:
            self._show()
            return
        self.error.clear()
        self.folder = folder = found[1]
        self._run(lambda: open_job(folder), self._on_opened)

    def leave(self) -> None:
        """Stop; the corrected layer stays, the decisions are on disk."""
        self._leaving, self.work, self.first, self._then = self.work or self._leaving, None, None, _drop
        self.keys.release()
        with suppress(ValueError):
            self.project.viewer.mouse_drag_callbacks.remove(self._on_mouse)
        if self.layer is not None:
            self.layer.leave()
        self.layer = None
        self.worker.cancel()
        self._on_state(self.worker.state)
        self.turned.emit(False)

    def close_jobs(self) -> None:
        """Stop for good."""
        self.leave()
        self.worker.close()
        if self._leaving is not None:
            self._leaving.close()
        for event in self._layer_events():
            event.disconnect(self._on_layers)

    def choose(self, kind: str) -> None:
        """Decide what two clicks do: "merge" or "split"."""
        self.panel.choose(kind)
        self.forget_click()

    def click(self, voxel: Vec3) -> None:
        """A click on a voxel (z, y, x) of the finest level: the first is remembered, the second decides."""
        work, first, kind = self.work, self.first, self.panel.kind
        if work is None or self.worker.state.busy:
            return
        self.error.clear()
        if first is None:
            self._run(lambda: name_job(work, voxel), lambda name: self._on_first(voxel, name))
            return
        self._mark([first[0], voxel])
        self._run(lambda: decide_job(work, kind, (first[0], voxel)), self._on_decided)

    def forget_click(self) -> None:
        """Forget the first click; a split that runs is stopped."""
        self.worker.cancel()
        self.first = None
        self._mark([])
        self._show()

    def export_to(self, out: Path) -> None:
        """Write the corrected labels."""
        folder = self.folder
        if folder is not None:
            self._run(lambda: export_job(folder, out), lambda path: self._show(f"Written to {path}."))

    def _run(self, make: Callable[[], Job[Any]], then: Callable[[Any], None]) -> None:
        if not self.worker.state.busy:
            self._then = then
            self.worker.start(make)

    def _step(self, step: str) -> None:
        work = self.work
        if work is not None:
            self.first = None
            self._mark([])
            self.error.clear()
            self._run(lambda: step_job(work, step), lambda one: self._refresh_layer(words.stepped(step, one)))

    def _mark(self, voxels: list[Vec3]) -> None:
        if self.layer is not None:
            self.layer.mark(voxels)

    def _on_click(self, event: Any) -> None:
        if self.layer is None:
            return
        if len(event.dims_displayed) > 2:
            self.panel.line.setText(words.FLAT)
            return
        voxel = self.layer.voxel(event)
        if voxel is not None:
            self.click(voxel)

    def _on_state(self, state: State) -> None:
        """The decisions are unlocked once nothing works on them."""
        if not state.busy and self._leaving is not None:
            self._leaving.close()
            self._leaving = None
        self._show()

    def _on_opened(self, work: Proofreading) -> None:
        found = segmentations(self.project.viewer).get(self.layers.currentText())
        if found is None or self.folder is None:
            work.close()
            return
        self.work = work
        self.layer = CorrectedLayer(self.project.viewer, found[0], self.folder, work.volume)
        self.project.viewer.mouse_drag_callbacks.append(self._on_mouse)
        keys = {"M": lambda: self.choose(MERGE), "S": lambda: self.choose(SPLIT)}
        steps = {"U": lambda: self._step("undo"), "R": lambda: self._step("redo"), "Escape": self.forget_click}
        self.keys.bind((self.project.viewer, self.layer.labels), {**keys, **steps})
        self.turned.emit(True)
        self._show()

    def _on_first(self, voxel: Vec3, name: int) -> None:
        self.first = (voxel, name) if name else None
        self._mark([voxel] if name else [])
        self._show(None if name else words.NOTHING)

    def _on_decided(self, found: tuple[Decision, tuple[int, int]]) -> None:
        self.first = None
        self._mark([])
        self._refresh_layer(words.decided(*found))

    def _refresh_layer(self, text: str) -> None:
        if self.layer is not None:
            self.layer.refresh()
        self._show(text)

    def _on_failed(self, error: Exception, text: str) -> None:
        self.first = None
        self._mark([])
        self.error.show_error(error, text)
        self._show()

    def _on_train(self) -> None:
        folder = self.folder
        try:
            session = self.project.need_work()
        except ConnectoError as error:
            self.error.show_error(error)
            return
        if folder is not None:
            self._run(lambda: train_job(session, folder), self._on_trained)

    def _on_trained(self, found: tuple[Work, int]) -> None:
        self.project.update(work=found[0])
        self._show(words.trained(found[1]))

    def _on_export(self) -> None:
        kinds = ";;".join(f"{name} (*{suffix})" for suffix, name in SUFFIXES.items())
        text, chosen = QFileDialog.getSaveFileName(self, "Export corrected labels", "corrected.zarr", kinds)
        if text:
            out = Path(text)
            suffix = next((s for s, name in SUFFIXES.items() if chosen.startswith(name)), ".zarr")
            self.export_to(out if out.suffix in SUFFIXES else out.with_name(out.name + suffix))

    def _on_layers(self, _event: Any = None) -> None:
        if self.layer is not None and not self.layer.alive:
            self.leave()
        if list(segmentations(self.project.viewer)) != [self.layers.itemText(i) for i in range(self.layers.count())]:
            self.refresh()

    def _show(self, text: str | None = None) -> None:
        """What can be pressed, and what to do next."""
        work, busy = self.work, self.worker.state.busy
        self.setVisible(work is not None or self.layers.count() > 0)
        self.layers.setVisible(work is None and self.layers.count() > 1)
        self.start.setChecked(work is not None)
        self.start.setText(f"Proofread '{self.layers.currentText()}'" if work is None else "Stop proofreading")
        self.panel.setVisible(work is not None)
        if work is None:
            return
        self.panel.allow(len(work.decisions), len(work.undone), busy)
        then = words.next_click(self.panel.kind, self.first)
        self.panel.line.setText("Working… (Esc: stop)" if busy else " ".join(filter(None, [text, then])))


def _drop(found: Any) -> None:
    """What came too late is closed."""
    if hasattr(found, "close"):
        found.close()

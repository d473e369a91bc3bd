"""The third box of the dock "Cascade detection": the detections in words, and reviewing them one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QGroupBox, QLabel, QVBoxLayout
from superqt.utils import qthrottled

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets.cascade.begun import Begun
from napari_connecto.widgets.cascade.buttons import in_pairs, make_buttons
from napari_connecto.widgets.cascade.export import Exporter
from napari_connecto.widgets.cascade.keeping import Keeper
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.shared.error_line import ErrorLine, text_line
from napari_connecto.widgets.shared.keys import Keys
from napari_connecto.widgets.shared.slider import SpanSlider
from napari_connecto.widgets.viewer.view import RESULT, jump
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, OBJECTS, REJECTED, REVIEW, Verdicts

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.layers import ResultLayers
    from napari_connecto.workflows.cascade.detections import Detections


class ResultBox(QGroupBox):
    """Funnel and audit in words, threshold, next/previous, accept/reject/undo, training labels, export.

    A search that finds nothing, or fails, adds no layer and leaves the previous results in place. Verdicts are saved in
    the search's result folder as they are made, and read from there, see `Keeper`. The keys work while the search's
    layer "detections" exists. ``training_made`` is emitted with a layer to train on.
    """

    training_made = Signal(object)

    def __init__(self, viewer: Any) -> None:
        super().__init__("Detections")
        self._viewer = viewer
        self._begun: Begun | None = None
        self._next: Begun | None = None
        self.layers: ResultLayers | None = None
        self.review: Review | None = None
        self._keys = Keys(self)
        self.count = text_line("How many are shown, accepted and rejected")
        self.report = text_line("What was searched on each level, and how much may have been missed")
        self.threshold = SpanSlider(
            0.0,
            1.0,
            "New detections with a lower score are hidden and not exported; reviewed ones are always shown",
        )
        self.error = ErrorLine()
        self.keeper = Keeper(self)
        self.keeper.found.connect(self._on_verdicts)
        self.keeper.failed.connect(self.error.show_error)
        self.buttons = make_buttons(
            {
                "previous": lambda: self.step(-1),
                "next": lambda: self.step(1),
                "accept": lambda: self.judge(ACCEPTED),
                "reject": lambda: self.judge(REJECTED),
                "undo": self.undo,
                "train": self.make_training,
                "export": self._on_export,
            }
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 4, 8, 6)
        layout.setSpacing(4)
        for widget in (self.report, self.count, QLabel("Minimum score"), self.threshold):
            layout.addWidget(widget)
        layout.addLayout(in_pairs(self.buttons.values()))
        layout.addWidget(self.error)
        self.exporter = Exporter(self)
        self.exporter.failed.connect(self.error.show_error)
        self.exporter.written.connect(lambda line: self.count.setText(f"{self._line()}\n{line}"))
        self._filter = qthrottled(self._on_threshold, timeout=50)
        self.threshold.valueChanged.connect(self._filter)
        viewer.layers.events.removed.connect(self._on_layer_removed)
        self._show_state()

    @property
    def alive(self) -> bool:
        """Whether a search is shown and its points are still in the viewer."""
        return self.layers is not None and self.layers.alive

    def begin(self, begun: Begun) -> None:
        """A search starts. Previous results stay until it finds something or ends; the same search is continued."""
        same = self._begun is not None and self._begun.folder == begun.folder and self._begun.image == begun.image
        self._next = None if same and self.alive else begun
        self.error.clear()

    def add(self, parts: list[Detections]) -> None:
        """Show detections just found."""
        if parts and (self._next is None or self._next.image in self._viewer.layers):
            self._take_place()
        if self._next is not None or self.layers is None or self.review is None or not self.alive:
            return
        if parts:
            from napari_connecto.workflows.cascade.detections import join

            old = self.review
            self.review = Review(join([old.found, *parts]), reach_nm=old.reach_nm)
            self.review.carry_on(old)
            self._span(old.threshold)
        self.layers.show_live(self.review)
        self._bind()
        self._show_state()

    def show_map(self, out: Path) -> None:
        """Show the probability map of the running search in ``out``, once it has found something."""
        if self.layers is not None and self._begun is not None and self._begun.folder == out:
            self.layers.show_map(out)

    def finish(self, found: Detections, lines: list[str]) -> None:
        """The search is over: show final detections, masks, and the summary."""
        if self._next is not None and self._next.image not in self._viewer.layers:
            self.report.setText(self._next.orphaned(len(found)))
            self._show_state()
            return
        self._take_place()
        if self.layers is None or self.review is None:
            return
        if not self.alive:
            removed = "Their layer was removed; run the same search to show them again, without recomputing them."
            self.report.setText(f"{len(found)} detections. {removed}")
            return
        old, self.review = self.review, Review(found, reach_nm=self.review.reach_nm)
        self.review.take_up(old.verdicts())
        self._span(old.threshold)
        self.layers.show(self.review)
        self.layers.show_masks(self.review)
        self._bind()
        if len(self.review.verdicts()):
            self._keep()  # with the final positions and ids
        assert self._begun is not None
        self.report.setText(self._begun.summary(len(found), lines))
        self._show_state()

    def _take_place(self) -> None:
        """Show the search that was started instead of the previous one; read the verdicts in its folder."""
        if self._next is None:
            return
        from napari_connecto.workflows.cascade.detections import Detections  # the search has loaded it already

        begun, self._next = self._next, None
        self.keeper.open(begun.folder)  # the verdicts on the earlier search are written first
        kept = self.review is not None and self.review.reviewed
        self._keys.release()
        self._begun = begun
        self.layers = begun.layers(self._viewer, self.layers, reuse=not kept)
        self.review = Review(Detections.empty(), reach_nm=begun.peeked.diameter_nm / 2)
        self.report.setText(begun.line)
        self.count.setToolTip(
            f"How many are shown, accepted and rejected; verdicts are saved in {begun.folder / REVIEW}"
        )

    def _span(self, threshold: float) -> None:
        """Set the slider to the range of the scores; ``threshold`` was its value before."""
        assert self.review is not None
        scores, untouched = self.review.found.score, threshold <= self.threshold.minimum()
        if len(scores):
            self.threshold.span(float(scores.min()), float(scores.max()))
        self.threshold.blockSignals(True)
        self.threshold.setValue(self.threshold.minimum() if untouched else threshold)
        self.threshold.blockSignals(False)
        self.review.threshold = self.threshold.value()

    def step(self, by: int) -> None:
        """Jump to the next (1) or previous (-1) detection."""
        if self.review is not None and self.review.step(by) >= 0:
            self._go()

    def judge(self, status: str) -> None:
        """Accept or reject the current detection and go to the next; without a current one, go to the first."""
        review, layers = self.review, self.layers
        if review is None or layers is None or not layers.alive:
            return
        if not review.judge(status):
            self.step(1)
            return
        layers.show_verdict(review, review.current)
        self._keep()
        self.step(1)
        self._show_state()

    def undo(self) -> None:
        """Undo the last verdict and go to its detection."""
        review, layers = self.review, self.layers
        if review is None or layers is None or not layers.alive or not review.undo():
            return
        layers.show_verdict(review, review.current)
        self._keep()
        self._go()
        self._show_state()

    def make_training(self) -> None:
        """Put the accepted detections into a layer for "Train from labels"."""
        if self.review is None or self.layers is None:
            return
        if not np.isin(self.review.status, OBJECTS).any():
            self.error.show_error(ConnectoError("no detection is accepted yet; press A on correct detections first"))
            return
        self.error.clear()
        self.training_made.emit(self.layers.training_layer(self.review))

    def close_jobs(self) -> None:
        """Stop exporting, finish writing the last verdict, and release the keys."""
        self.exporter.close()
        self.keeper.close()
        self._keys.release()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)

    def _keep(self) -> None:
        assert self.review is not None
        self.keeper.keep(self.review.verdicts())

    def _on_verdicts(self, verdicts: Verdicts) -> None:
        """Take over the verdicts of the result folder; rarely has a verdict been made since they were requested."""
        if self.review is None or self.layers is None:
            return
        judged = self.review.reviewed
        self.review.take_up(verdicts)
        if judged:
            self._keep()
        if self.alive and len(verdicts):
            self.layers.show(self.review)
            self.layers.filter(self.review)
            self._show_state()

    def _go(self) -> None:
        assert self.review is not None
        if self.layers is None or self.layers.points is None or not self.layers.alive:
            return
        layer, i = self.layers.points, self.review.current
        jump(self._viewer, layer, self.layers.place(self.review.found.centre_nm[i])[0])
        self.layers.mark(i)
        active = self._viewer.layers.selection.active
        if not (active is None or isinstance(active, Image) or RESULT in active.metadata):
            self._viewer.layers.selection.active = layer  # because a layer being edited keeps its own keys
        self._show_state()

    def _on_threshold(self, value: float) -> None:
        if self.review is not None and self.layers is not None and self.layers.alive:
            self.review.threshold = value
            self.layers.filter(self.review)
            self._show_state()

    def _on_export(self) -> None:
        self.error.clear()
        if self.review is not None:
            self.exporter.ask(self.review)

    def _on_layer_removed(self, _event: Any) -> None:
        if self._keys and (self.layers is None or not self.layers.alive):
            self._keys.release()
            self._show_state()

    def _line(self) -> str:
        review = self.review
        if review is None:
            return "No detections yet."
        here = (
            f"\nAt score {review.found.score[review.current]:.2f}: {review.status[review.current]}"
            if review.current >= 0
            else ""
        )
        return review.line() + here

    def _show_state(self) -> None:
        self.report.setVisible(bool(self.report.text()))
        self.count.setText(self._line())
        alive = self.layers is not None and self.layers.alive and self.review is not None and len(self.review.found) > 0
        self.threshold.allow(alive)
        for button in self.buttons.values():
            button.setEnabled(alive)

    def _bind(self) -> None:
        """Bind the keys once there are detections to review."""
        points = None if self.layers is None else self.layers.points
        if points is None or not self.alive:
            self._keys.release()
            return
        if self._keys:
            return
        keys: dict[str, Callable[[], None]] = {
            "N": lambda: self.step(1),
            "P": lambda: self.step(-1),
            "A": lambda: self.judge(ACCEPTED),
            "X": lambda: self.judge(REJECTED),
            "U": self.undo,
        }
        self._keys.bind((self._viewer, points), keys)

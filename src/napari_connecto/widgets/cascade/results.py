"""The third box of the dock "Cascade detection": the detections of a search, to review, train from and export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal

from napari_connecto.core.errors import ConnectoError
from napari_connecto.widgets.cascade.begun import Begun
from napari_connecto.widgets.cascade.export import Exporter
from napari_connecto.widgets.cascade.jobs import Training
from napari_connecto.widgets.cascade.learn import LearnBar
from napari_connecto.widgets.cascade.markers import features
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.cascade.reviewing.box import ReviewBox
from napari_connecto.widgets.cascade.using.jobs import with_measures
from napari_connecto.widgets.shared.details import Details
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.settings import reviewer
from napari_connecto.workflows.cascade.verdicts import OBJECTS, REVIEW, Verdicts

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections


class ResultBox(ReviewBox):
    """The detections of a search: review, training labels, export, and the search in words.

    A search that finds nothing, or fails, adds no layer and leaves the previous results in place. ``training_made`` is
    emitted with a layer to train on.
    """

    training_made = Signal(object)

    def __init__(self, viewer: Any, learning: Callable[[], Training]) -> None:
        super().__init__(viewer)
        self._next: Begun | None = None
        self._carried: Verdicts | None = None
        self.learn = LearnBar(learning)
        self.report = text_line("What was searched on each level, and how much may have been missed")
        self.exporter = Exporter(self)
        self.exporter.failed.connect(self.error.show_error)
        self.exporter.written.connect(lambda line: self.count.setText(f"{self.count.text()}\n{line}"))
        self.add_buttons({"train": self.make_training, "export": self._on_export})
        self.column.insertWidget(self.column.indexOf(self.error), self.learn)
        self.column.addWidget(Details(self.report, tooltip=self.report.toolTip()))

    def begin(self, begun: Begun) -> None:
        """A search starts. Previous results stay until it finds something or ends; the same search is continued."""
        same = self.begun is not None and self.begun.folder == begun.folder and self.begun.image == begun.image
        self._next = None if same and self.alive else begun
        self._carried = None
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
            self.review = self._review(join([old.found, *parts]))
            self.review.carry_on(old)
            self._span(old.threshold)
        self.layers.show_live(self.review)
        self.table.show_review(self.review)
        self._bind()
        self.show_state()

    def show_map(self, out: Path) -> None:
        """Show the probability map of the running search in ``out``, once it has found something."""
        if self.layers is not None and self.begun is not None and self.begun.folder == out:
            self.layers.show_map(out)

    def finish(self, found: Detections, lines: list[str]) -> None:
        """The search is over: show final detections, masks, and the summary."""
        if self._next is not None and self._next.image not in self._viewer.layers:
            self._tell(self._next.orphaned(len(found)))
            self.show_state()
            return
        self._take_place()
        if self.layers is None or self.review is None:
            return
        if not self.alive:
            removed = "Their layer was removed; run the same search to show them again, without recomputing them."
            self._tell(f"{len(found)} detections. {removed}")
            return
        old, self.review = self.review, self._review(found)
        self.review.take_up(old.verdicts())
        self._span(old.threshold)
        self.layers.show(self.review)
        self.layers.show_masks(self.review)
        self.table.show_review(self.review)
        self._bind()
        if len(self.review.verdicts()):
            self._keep()  # with the final positions and ids
        assert self.begun is not None
        self._tell(self.begun.summary(len(found), lines))
        self.show_state()

    def take_measures(self, measured: Detections) -> None:
        """Keep measurements with the detections that are shown."""
        if self.review is None or self.layers is None:
            return
        self.review.found = with_measures(self.review.found, measured)
        if self.layers.points is not None and self.layers.alive:
            self.layers.points.features = features(self.review.detections)
        self.table.show_review(self.review)

    def _take_place(self) -> None:
        """Show the search that was started instead of the previous one; read the verdicts in its folder."""
        if self._next is None:
            return
        from napari_connecto.workflows.cascade.detections import Detections  # the search has loaded it already

        begun, self._next = self._next, None
        self.keeper.open(begun.folder)  # the verdicts on the earlier search are written first
        kept = self.review is not None and self.review.reviewed
        self._keys.release()
        self.begun = begun
        self.layers = begun.layers(self._viewer, self.layers, reuse=not kept)
        self.review = self._review(Detections.empty())
        if self._carried is not None:
            self.review.take_up(self._carried)
            self._carried = None
        self.adding.leave()
        self.learn.forget()
        self.panel.strip.use(begun.volume, begun.image, begun.peeked.diameter_nm)
        self._tell(begun.line)
        self.count.setToolTip(
            f"How many are shown, accepted, rejected and added; verdicts are saved in {begun.folder / REVIEW}"
        )

    def carry_over(self) -> None:
        """The search that has begun takes over the verdicts of the review that is shown, if it is of the same image."""
        shown, begun = self.begun, self._next
        if self.review is not None and shown is not None and begun is not None and shown.image is begun.image:
            self._carried = self.review.verdicts()

    def _review(self, found: Detections) -> Review:
        """A review of these detections of the search that is shown."""
        assert self.begun is not None
        peeked = self.begun.peeked
        return Review(
            found,
            reach_nm=peeked.diameter_nm / 2,
            boxes=self.begun.boxes,
            unit=peeked.unit,
            reviewer=reviewer(),
        )

    def _tell(self, text: str) -> None:
        self.report.setText(text)

    def make_training(self) -> None:
        """Put the accepted and added objects into a layer for "Train from labels"."""
        if self.review is None or self.layers is None:
            return
        if not np.isin(self.review.status, OBJECTS).any():
            self.error.show_error(ConnectoError("no detection is accepted yet; press A on correct detections first"))
            return
        self.error.clear()
        self.training_made.emit(self.layers.training_layer(self.review))

    def _on_export(self) -> None:
        self.error.clear()
        if self.review is not None:
            self.exporter.ask(self.review, "" if self.begun is None else self.begun.image.name)

    def close_jobs(self) -> None:
        """Stop exporting and learning, and end the review."""
        self.exporter.close()
        self.learn.close_jobs()
        if self.layers is not None:
            self.layers.release()
        super().close_jobs()

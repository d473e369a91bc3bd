"""Reviewing the detections that are shown: verdicts, tags, added objects, their keys, table and file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.QtWidgets import QGroupBox, QVBoxLayout
from superqt.utils import qthrottled

from napari_connecto.widgets.cascade.begun import Begun
from napari_connecto.widgets.cascade.buttons import in_rows, make_buttons
from napari_connecto.widgets.cascade.keeping import Keeper
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.cascade.reviewing.adding import AddMode
from napari_connecto.widgets.cascade.reviewing.panel import ReviewPanel
from napari_connecto.widgets.cascade.reviewing.table import DetectionTable
from napari_connecto.widgets.shared.error_line import ErrorLine
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.viewer.view import RESULT, jump
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, REJECTED, Verdicts

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.layers import ResultLayers


class ReviewBox(QGroupBox):
    """One review at a time: what it shows, and what the user says.

    Verdicts are saved in the search's result folder as they are made, and read from there, see `Keeper`. The keys work
    while the search's layer "detections" exists.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__("Detections")
        self._viewer = viewer
        self.begun: Begun | None = None
        self.layers: ResultLayers | None = None
        self.review: Review | None = None
        self._keys, self._digits = Keys(self), 0
        self.error = ErrorLine()
        self.keeper = Keeper(self)
        self.table = DetectionTable(viewer)
        self.adding = AddMode(viewer, self)
        self.buttons = make_buttons(
            {
                "previous": lambda: self.step(-1),
                "accept": lambda: self.judge(ACCEPTED),
                "reject": lambda: self.judge(REJECTED),
                "next": lambda: self.step(1),
                "add": self.toggle_adding,
                "undo": self.undo,
                "table": self.table.toggle,
            }
        )
        self.panel = ReviewPanel(self.buttons)
        self.count, self.threshold = self.panel.count, self.panel.threshold
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(8, 4, 8, 6)
        self.column.setSpacing(4)
        for widget in (self.panel, self.error):
            self.column.addWidget(widget)
        self._filter = qthrottled(self._on_threshold, timeout=50)
        self._connect()
        self.show_state()

    def add_buttons(self, slots: Mapping[str, Callable[[], Any]]) -> None:
        """Add a row of buttons below the review, by their names in `buttons.BUTTONS`."""
        made = make_buttons(slots)
        self.buttons |= made
        self.column.insertLayout(self.column.indexOf(self.error), in_rows(made.values()))
        self.show_state()

    def _connect(self) -> None:
        self.keeper.found.connect(self._on_verdicts)
        self.threshold.valueChanged.connect(self._filter)
        self.panel.strip.chosen.connect(self.go_to)
        self.panel.tags.tagged.connect(self.tag)
        self.panel.tags.named.connect(self.name_tags)
        self.table.chosen.connect(self.go_to)
        self.table.docked.connect(self._on_docked)
        self.adding.placed.connect(self.add_object)
        self.adding.changed.connect(self.show_state)
        for part in (self.keeper, self.panel.tags, self.adding):
            part.failed.connect(self.error.show_error)
        self._viewer.layers.events.removed.connect(self._on_layer_removed)

    @property
    def alive(self) -> bool:
        """Whether a search is shown and its points are still in the viewer."""
        return self.layers is not None and self.layers.alive

    def step(self, by: int) -> None:
        """Jump to the next (1) or previous (-1) detection."""
        if self.review is not None and self.review.step(by) >= 0:
            self._go()

    def go_to(self, index: int) -> None:
        """Jump to a detection."""
        if self.review is not None and index < len(self.review.found):
            self.review.current = index
            self._go()

    def judge(self, status: str) -> None:
        """Accept or reject the current detection and go to the next undecided one; without a current one, to the
        first.
        """
        if not self._change(lambda review: review.judge(status)):
            return
        assert self.review is not None
        following = self.review.undecided(1)
        if len(following):
            self.review.current = int(following[0])
            self._go()

    def tag(self, index: int) -> None:
        """Give the current detection a tag, or take it away; without a current one, go to the first."""
        self._change(lambda review: review.tag(index))

    def name_tags(self, names: tuple[str, ...]) -> None:
        """Use these tags from now on; those that were given stay."""
        if self.review is not None:
            self.review.names = names
            self._bind()
            self._keep()
            self.table.show_review(self.review)
            self.show_state()

    def undo(self) -> None:
        """Undo the last verdict, tag or added object and go back to where it was made."""
        review, layers = self.review, self.layers
        if review is None or layers is None or not layers.alive:
            return
        before = len(review.found)
        if review.undo():
            self._show_change(before)
            if review.current >= 0:
                self._go()

    def toggle_adding(self) -> None:
        """Begin to add missed objects by clicks, or end it."""
        begun = self.begun
        if self.adding.on or not self.alive or begun is None or begun.image not in self._viewer.layers:
            self.adding.leave()
            self.show_state()
        else:
            self.adding.enter(begun.image, begun.volume)

    def add_object(self, centre_nm: np.ndarray) -> None:
        """An object is at this position (3,), nm; if there is a detection already, it is accepted."""
        review = self.review
        if review is None or self.layers is None or not self.layers.alive:
            return
        self.error.clear()
        before = len(review.found)
        review.add(centre_nm)
        self._show_change(before)
        self.layers.mark(review.current)

    def _change(self, act: Callable[[Review], bool]) -> bool:
        """Do something to the current detection, show and save it; without a current one, go to the first."""
        review = self.review
        if review is None or not self.alive:
            return False
        if review.current < 0:
            self.step(1)
            return False
        done = act(review)
        if done:
            self._show_change(len(review.found))
        return done

    def _show_change(self, before: int) -> None:
        """Show and save what has changed; there were ``before`` detections."""
        review, layers = self.review, self.layers
        assert review is not None
        assert layers is not None
        if len(review.found) != before:
            layers.show(review)
        elif review.current >= 0:
            layers.show_verdict(review, review.current)
        self._keep()
        self.table.show_review(review)
        self.show_state()

    def _span(self, threshold: float) -> None:
        """Set the slider to the range of the scores; ``threshold`` was its value before."""
        assert self.review is not None
        found = self.review.found
        scores, untouched = found.score[found.status != ADDED], threshold <= self.threshold.minimum()
        if len(scores):
            self.threshold.span(float(scores.min()), float(scores.max()))
        self.threshold.blockSignals(True)
        self.threshold.setValue(self.threshold.minimum() if untouched else threshold)
        self.threshold.blockSignals(False)
        self.review.threshold = self.threshold.value()

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
        self.table.show_review(self.review)
        self._bind()
        self.show_state()

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
        self.show_state()

    def _on_threshold(self, value: float) -> None:
        if self.review is not None and self.layers is not None and self.layers.alive:
            self.review.threshold = value
            self.layers.filter(self.review)
            self.show_state()

    def _on_layer_removed(self, _event: Any) -> None:
        begun = self.begun
        if begun is not None and not (self.alive and begun.image in self._viewer.layers):
            self.adding.leave()
        if self._keys and not self.alive:
            self._keys.release()
            self.show_state()

    def _on_docked(self, on: bool) -> None:
        self.buttons["table"].setChecked(on)
        self.table.show_review(self.review)

    def show_state(self, _changed: Any = None) -> None:
        """Show everything as it is now."""
        alive = self.alive and self.review is not None and len(self.review.found) > 0
        self.panel.show_review(self.review, alive, self.adding.on)
        self.table.select(-1 if self.review is None else self.review.current)
        for button in self.buttons.values():
            button.setEnabled(alive)
        self.buttons["add"].setEnabled(self.alive)

    def _bind(self) -> None:
        """Bind the keys once there are detections to review."""
        points = None if self.layers is None else self.layers.points
        if points is None or not self.alive:
            self._keys.release()
            return
        assert self.review is not None
        digits = len(self.review.names)
        if self._keys and digits == self._digits:
            return
        keys: dict[str, Callable[[], None]] = {
            "N": lambda: self.step(1),
            "P": lambda: self.step(-1),
            "A": lambda: self.judge(ACCEPTED),
            "X": lambda: self.judge(REJECTED),
            "U": self.undo,
            "M": self.toggle_adding,
        }
        keys |= {str(i + 1): partial(self.tag, i) for i in range(digits)}
        self._digits = digits
        self._keys.bind((self._viewer, points), keys)

    def close_jobs(self) -> None:
        """Finish writing the last verdict, and release the keys."""
        self.keeper.close()
        self.adding.close_jobs()
        self.panel.strip.close_jobs()
        self._keys.release()
        self._viewer.layers.events.removed.disconnect(self._on_layer_removed)
        self.table.release()

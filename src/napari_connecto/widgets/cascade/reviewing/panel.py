"""One place for the current detection: its picture and the next ones, verdicts, tags. It changes no `Review`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.widgets.cascade.buttons import in_rows
from napari_connecto.widgets.cascade.reviewing.histogram import ScoreHistogram
from napari_connecto.widgets.cascade.reviewing.strip import CropStrip
from napari_connecto.widgets.cascade.reviewing.tagging import TagRow
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.workflows.cascade.verdicts import ADDED, tags_of

if TYPE_CHECKING:
    from napari_connecto.widgets.cascade.review import Review

VERDICTS = ("previous", "accept", "reject", "next")
TOOLS = ("add", "undo", "table")
ADDING = "Click on missed objects; press Escape to finish."
BEGIN = "Press N or click a picture to begin."


class ReviewPanel(QWidget):
    """Counts, minimum score, pictures, and the buttons of a review, by the names in `buttons.BUTTONS`."""

    def __init__(self, buttons: Mapping[str, QPushButton]) -> None:
        super().__init__()
        self.count = text_line("How many are shown, accepted, rejected and added")
        self.threshold = ScoreHistogram(
            "New detections with a lower score are hidden and not exported; reviewed ones are always shown"
        )
        self.strip, self.tags = CropStrip(), TagRow()
        buttons["add"].setCheckable(True)
        buttons["table"].setCheckable(True)
        self._add = buttons["add"]
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.count)
        layout.addWidget(self.threshold)
        layout.addWidget(self.strip)
        layout.addLayout(in_rows([buttons[name] for name in VERDICTS], len(VERDICTS)))
        layout.addWidget(self.tags)
        layout.addLayout(in_rows([buttons[name] for name in TOOLS], len(TOOLS)))

    def show_review(self, review: Review | None, alive: bool, adding: bool) -> None:
        """Show the state of a review; ``alive``: its layer is in the viewer."""
        self.count.setText(line(review, adding))
        self._add.setChecked(adding)
        self.threshold.allow(alive)
        for part in (self.threshold, self.strip, self.tags):
            part.setVisible(alive)
        if review is None or not alive:
            self.strip.clear()
            return
        self.threshold.show_scores(review.found.score[review.found.status != ADDED])
        self.strip.show_review(review)
        current = review.current
        self.tags.show_tags(review.names, tags_of(review.said.tags[current]) if current >= 0 else ())


def place(review: Review) -> str:
    """Which of the shown detections the current one is, best score first: "3 of 56: "; "" if it is not shown."""
    order = review.order()
    at = np.flatnonzero(order == review.current)
    return f"{at[0] + 1} of {len(order)}: " if len(at) else ""


def line(review: Review | None, adding: bool) -> str:
    """Counts, and the current detection or what to do, in words.

    Two lines from the first detection on, so that the buttons below do not move under the mouse.
    """
    if review is None:
        return "No detections yet."
    if adding:
        return f"{review.line()}\n{ADDING}"
    i = review.current
    if i < 0:
        return f"{review.line()}\n{BEGIN}" if len(review.found) else review.line()
    status = str(review.status[i])
    score = "" if status == ADDED else f", score {review.found.score[i]:.2f}"
    return f"{review.line()}\n{place(review)}detection {review.found.id[i]}{score}, {status}"

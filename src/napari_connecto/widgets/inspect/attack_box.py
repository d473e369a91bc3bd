"""An attack by hand: what a channel answers to, put where nothing is, with the channel and without it."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from napari_connecto.core.amounts import percent
from napari_connecto.core.volume import Level
from napari_connecto.widgets.inspect.missed_jobs import Attacked, Explained, attack_job
from napari_connecto.widgets.shared.error_line import text_line
from napari_connecto.widgets.shared.job_bar import JobBar
from napari_connecto.widgets.shared.painted.bars import Bar, BarsPlot
from napari_connecto.widgets.viewer.shown import Shown
from napari_connecto.widgets.viewer.view import OKABE_ITO

FLIPPED, KEPT, PATTERN = "attack: flipped", "attack: not flipped", "attack: pattern"
OFFERED, SIZE = 10, 15
"""Channels to choose from; diameter of a mark, voxels."""
FLIPS = (
    "Places without an object at which the better run sees one after a disc of the image is put there: with the\n"
    "channel's own pattern (orange), the same with this or another channel held at its mean (blue), and controls (grey)"
)
ROWS = (
    ("pattern", "its pattern", "new"),
    ("pattern, ablated", "without the channel", "accepted"),
    ("pattern, other ablated", "without another", "accepted"),
    ("other pattern", "others' patterns", ""),
    ("random piece", "random pieces", ""),
)


class AttackBox(QWidget):
    """A channel of the ranking and a button; shares of flipped answers as bars, places as points."""

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer, self._shown = viewer, Shown(viewer)
        self._answer: Explained | None = None
        self._at: tuple[Layer, Level] | None = None
        self.channel = QComboBox()
        self.channel.setToolTip("Channel whose pattern is put elsewhere, in the order of the ranking")
        self.bar = JobBar(
            "attack",
            "Attack",
            "Cut out what this channel answers to, and put it into empty places: is something seen there, and still "
            "without the channel? Press again to cancel",
        )
        self.plot = BarsPlot(FLIPS)
        self.about = text_line("What the attack shows")
        rows, layout = QFormLayout(), QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        rows.addRow("Channel", self.channel)
        layout.addLayout(rows)
        for widget in (self.bar, self.plot, self.about):
            layout.addWidget(widget)
        self.bar.clicked.connect(self._on_attack)
        self.bar.worker.returned.connect(self._on_attacked)
        self._show(None)

    def offer(self, answer: Explained | None, at: tuple[Layer, Level] | None) -> None:
        """Attack channels of this answer, and mark places on the image layer whose level 0 is given."""
        self._answer, self._at = answer, at
        self.channel.clear()
        if answer is not None:
            self.channel.addItems([channel.name for channel in answer.found.total.carriers[:OFFERED]])
        self._show(None)
        self.bar.forget()

    def _on_attack(self) -> None:
        answer, n = self._answer, self.channel.currentIndex()
        if answer is None or n < 0:
            return
        self._show(None)
        channel = answer.found.total.carriers[n]
        self.bar.start(lambda: attack_job(answer, channel), resumable=False, abandon=True)

    def _on_attacked(self, told: Attacked) -> None:
        self._show(told)
        if self._at is None or self._at[0] not in self._viewer.layers:
            return
        for name, flipped, colour in ((FLIPPED, True, "new"), (KEPT, False, "accepted")):
            at = [place for place, flip in zip(told.places_nm, told.found.flipped, strict=True) if flip is flipped]
            if at:
                self._shown.points(at, *self._at, name, size=SIZE, border_color=OKABE_ITO[colour])
        look: dict[str, Any] = {"size": SIZE, "symbol": "square", "border_color": OKABE_ITO["rejected"]}
        self._shown.points(told.pattern_nm, *self._at, PATTERN, **look)

    def _show(self, told: Attacked | None) -> None:
        self._shown.clear()
        for widget in (self.plot, self.about):
            widget.setVisible(told is not None)
        if told is None:
            return
        runs = told.found.runs
        self.plot.show_bars([_bar(name, runs[key], colour) for key, name, colour in ROWS if key in runs])
        self.about.setText(verdict(told))


def _bar(name: str, run: Any, colour: str) -> Bar:
    low, high = run.interval
    tip = f"{name}: {run.flips} of {run.tried} answers flipped (95 % interval {percent(low)} to {percent(high)})"
    ink = OKABE_ITO[colour] if colour else "#808080"
    return Bar(name, run.flips / run.tried, ink, f"{run.flips} of {run.tried}", tip=tip)


def verdict(told: Attacked) -> str:
    """What the bars say, by whether their intervals overlap."""
    runs = told.found.runs
    own, without = runs["pattern"], runs["pattern, ablated"]
    controls = [runs[key] for key in ("other pattern", "random piece") if key in runs]
    if any(own.interval[0] <= run.interval[1] for run in controls):
        return "Its pattern flips no more answers than the controls do: no attack."
    if without.interval[1] < own.interval[0]:
        return "Its pattern flips answers, and hardly any without the channel: the channel decides them."
    return "Its pattern flips answers, with and without the channel: other channels suffice."

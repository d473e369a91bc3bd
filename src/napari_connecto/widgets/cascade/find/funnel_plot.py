"""The picture of a search: its levels as narrowing bars, and a gauge of what it may have missed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QPainter, QPen
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.amounts import percent, seconds_text, share_text
from napari_connecto.core.jobs import Progress
from napari_connecto.widgets.cascade.find.funnel import Rung, ended, planned, searched
from napari_connecto.widgets.shared.painted.gauge import Gauge, Reading
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, FILL, GOOD, fill, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.estimate import Estimate
    from napari_connecto.workflows.cascade.outlook import LevelOutlook

ROW = 22
LEAST = 2.0
"""Pixels of the narrowest bar."""
FASTER = 1.05
"""Least gain that is worth telling."""
AIM, FULL = 0.05, 0.25
"""Share missed that is called good, and the right end of the gauge."""


class FunnelPlot(Plot):
    """A bar per level, as wide as the share of the volume that is searched there: an outline as expected, filled as
    it is done. Hover a level for its numbers.
    """

    def __init__(self) -> None:
        super().__init__(ROW, "How much of the image is searched at each level, coarsest first: outline as expected")
        self.rungs: Sequence[Rung] = ()

    def show_rungs(self, rungs: Sequence[Rung]) -> None:
        """Draw these."""
        self.rungs = rungs
        self.setFixedHeight(ROW * max(1, len(rungs)) + 4)
        self.setVisible(bool(rungs))
        self.update()

    def tip_at(self, _x: float, y: float) -> str:
        """The numbers of a level."""
        row = int((y - 2) // ROW)
        return self.rungs[row].tip if 0 <= row < len(self.rungs) else ""

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """Centred bars between the names and the shares."""
        if not self.rungs:
            return
        metrics = painter.fontMetrics()
        names = [rung.name for rung in self.rungs]
        said = [rung.outcome or share_text(rung.expected if rung.share is None else rung.share) for rung in self.rungs]
        left = area.left() + max(map(metrics.horizontalAdvance, names)) + 8
        wide = area.right() - left - max(map(metrics.horizontalAdvance, said)) - 8
        for n, (rung, text) in enumerate(zip(self.rungs, said, strict=True)):
            row = QRectF(area.left(), area.top() + n * ROW, area.width(), ROW)
            painter.setPen(text_of(self))
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(row, middle | Qt.AlignmentFlag.AlignLeft, rung.name)
            painter.drawText(row, middle | Qt.AlignmentFlag.AlignRight, text)
            outline = _bar(left, wide, row, rung.expected)
            fill(painter, outline, track_of(self))
            if rung.share is not None:
                fill(painter, _bar(left, wide, row, rung.share), FILL)
            painter.setPen(QPen(text_of(self), 1, Qt.PenStyle.DotLine))
            painter.drawRect(outline)


class SearchPicture(QWidget):
    """Funnel and gauge; a `Picture` of the estimate, then of the running and of the finished search.

    ``bound_asked(float)`` asks for an audit that can show that at most this share was missed.
    """

    bound_asked = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.funnel = FunnelPlot()
        self.missed = Gauge("How much of what an exhaustive search finds may have been missed (95 % confidence)")
        self.more = QPushButton()
        self.more.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        for widget in (self.funnel, self.missed, self.more):
            column.addWidget(widget)
        self.more.clicked.connect(lambda: self.bound_asked.emit(AIM))
        self.show_estimate(None)

    def headline(self, estimate: Estimate) -> str:
        """The time, and that of the alternative."""
        gain = estimate.seconds_exhaustive / max(estimate.seconds, 1e-9)
        instead = (
            f" instead of {seconds_text(estimate.seconds_exhaustive)} ({gain:.1f}× faster)" if gain >= FASTER else ""
        )
        return f"About <b>{seconds_text(estimate.seconds)}</b>{instead}"

    def show_outlook(self, outlook: Sequence[LevelOutlook]) -> str:
        """The levels before they are timed here, and the time that was measured when the detector was made."""
        self.funnel.show_rungs(planned(outlook))
        there = sum(level.seconds for level in outlook)
        return f"About <b>{seconds_text(there)}</b> by an earlier timing; timing two tiles here…"

    def show_estimate(self, estimate: Estimate | None) -> None:
        """What is expected; nothing for None."""
        self.funnel.show_rungs([] if estimate is None else planned(estimate.levels))
        audit = None if estimate is None else estimate.audit
        self.missed.show_reading(None)
        self.more.setVisible(audit is not None and audit.bound > AIM)
        if audit is None:
            return
        text = f"The audit can show: missed at most {percent(audit.bound)}"
        self.missed.show_reading(Reading(text, 0.0, expected=audit.bound / FULL, marks=_marks(), tip=audit.sentence))
        self.more.setText(f"Audit down to {percent(AIM)} (+{seconds_text(audit.more_s)})")
        self.more.setToolTip(f"Re-examine {audit.needed} rejected chunks instead of {audit.chunks}")

    def show_progress(self, progress: Progress) -> None:
        """Fill the level that is being searched."""
        self.more.hide()
        self.funnel.show_rungs(searched(self.funnel.rungs, progress))

    def show_report(self, report: Mapping[str, Any]) -> None:
        """What was searched, and what the audit shows."""
        self.more.hide()
        if "audit" in report:
            self.funnel.show_rungs(ended(report))
            self.missed.show_reading(missed_reading(report["audit"]))


def missed_reading(audit: Mapping[str, Any]) -> Reading | None:
    """What an audit says; None if nothing was rejected."""
    if not audit["rejected"]:
        return None
    if not audit["sampled"]:
        return Reading("Missed: not measured (no audit)", 0.0, marks=_marks(), tip=audit["sentence"])
    bound = float(audit["lost_upper"])
    colour = GOOD if bound <= AIM else FAIR if bound <= FULL else BAD
    return Reading(f"Missed at most {percent(bound)}", bound / FULL, colour, _marks(), tip=audit["sentence"])


def _marks() -> tuple[tuple[float, str], ...]:
    return (AIM / FULL, f"{percent(AIM)}"), (1.0, f"{percent(FULL)}")


def _bar(left: float, wide: float, row: QRectF, share: float) -> QRectF:
    width = max(LEAST, wide * min(max(share, 0.0), 1.0))
    return QRectF(left + (wide - width) / 2, row.top() + 3, width, ROW - 6)

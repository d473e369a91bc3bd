"""How much of a translation is certain, uncertain and foreign: one bar of three colours."""

from __future__ import annotations

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QPainter

from napari_connecto.core.amounts import percent
from napari_connecto.widgets.shared.painted.ink import BAD, FAIR, FILL, fill, text_of, track_of
from napari_connecto.widgets.shared.plots import Plot
from napari_connecto.widgets.xray.crops import Shares

HEIGHT, THICK = 34, 10.0
COLOURS = {"certain": FILL, "uncertain": FAIR, "foreign": BAD}
TOOLTIP = (
    "foreign: share of sampled tiles that are out of distribution; not shown for a preview, which is not checked.\n"
    "The rest is divided in proportion to its membranes: certain (boundary probability of 0.75 or more) and uncertain "
    "(0.25 to 0.75)."
)


class StripPlot(Plot):
    """One bar, and a legend with per cent below it; hidden while there is nothing to show."""

    def __init__(self) -> None:
        super().__init__(HEIGHT, TOOLTIP)
        self.shares: Shares | None = None
        self.hide()

    def show_shares(self, shares: Shares | None) -> None:
        """Draw these; None hides the bar."""
        self.shares = shares
        self.setVisible(shares is not None)
        self.update()

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Colour and words of each part."""
        if self.shares is None:
            return []
        words = [(COLOURS[name], f"{name} {percent(getattr(self.shares, name))}") for name in COLOURS]
        return words if self.shares.checked else words[:2]

    def draw(self, painter: QPainter, area: QRectF) -> None:
        """The bar, then the legend."""
        if self.shares is None:
            return
        fill(painter, QRectF(area.left(), area.top(), area.width(), THICK), track_of(self))
        at = area.left()
        for name, colour in COLOURS.items():
            wide = area.width() * getattr(self.shares, name)
            fill(painter, QRectF(at, area.top(), wide, THICK), colour)
            at += wide
        x, metrics = area.left(), painter.fontMetrics()
        for colour, words in self.legend:
            fill(painter, QRectF(x, area.top() + THICK + 7, 8, 8), colour)
            painter.setPen(text_of(self))
            wide = metrics.horizontalAdvance(words) + 4
            box = QRectF(x + 12, area.top() + THICK + 2, wide, 18)
            painter.drawText(box, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft, words)
            x += wide + 24

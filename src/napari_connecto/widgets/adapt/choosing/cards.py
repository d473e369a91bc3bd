"""The models of the library as cards, best first: answer on the image, agreement, licence, and a button to use it."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_connecto.core.amounts import percent
from napari_connecto.widgets.adapt.choosing.pictures import SIDE, answer_picture
from napari_connecto.widgets.adapt.choosing.told import Told, ratio_text
from napari_connecto.widgets.adapt.ranks import tip
from napari_connecto.widgets.shared.frame.theme import Meaning, colour_text
from napari_connecto.widgets.shared.painted.bars import Whisker, WhiskersPlot
from napari_connecto.widgets.shared.painted.ink import BAD, FILL, GOOD

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.rank import Rank, Ranking

USE, USED = "Use this", "In use ✓"
STABLE = (
    "Share of its segmentation that stays the same if the image is flipped, noisy or blurred, with a 95 % interval.\n"
    "Left of the dashed line, the model does not fit"
)
FITS: dict[str, tuple[str, Meaning]] = {
    "yes": ("fits", "good"),
    "no": ("does not fit", "error"),
    "?": ("not compared", "warning"),
}


class ModelFrame(QFrame):
    """One model. A click anywhere on it, or on its button, chooses it."""

    chosen = Signal(str)

    def __init__(self, name: str, told: Told) -> None:
        super().__init__()
        self.name = name
        self.setObjectName("model")
        self.picture, self.title, self.fit = QLabel(), QLabel(f"<b>{name}</b>"), QLabel()
        self.about, self.bar, self.use = QLabel(told.line()), WhiskersPlot(STABLE), QPushButton(USE)
        self.picture.setFixedSize(SIDE, SIDE)
        self.picture.setToolTip("What it makes of the image: its segments, in colour")
        self.setToolTip(told.tooltip)
        self.use.setToolTip("Start from this model")
        self.use.setStyleSheet("padding: 1px 6px;")
        self.about.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 4, 4, 4)
        grid.setHorizontalSpacing(6)
        grid.setVerticalSpacing(2)
        grid.addWidget(self.picture, 0, 0, 4, 1)
        grid.addWidget(self.title, 0, 1)
        grid.addWidget(self.fit, 0, 2, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(self.bar, 1, 1, 1, 2)
        grid.addWidget(self.about, 2, 1)
        grid.addWidget(self.use, 2, 2, 2, 1, Qt.AlignmentFlag.AlignRight)
        grid.setColumnStretch(1, 1)
        self.use.clicked.connect(self._on_use)
        self.picture.hide()
        self.bar.hide()

    def show_rank(self, rank: Rank, limit: float) -> None:
        """Show what the ranking says."""
        text, meaning = FITS["yes" if rank.fits else "no" if rank.compared else "?"]
        self.fit.setText(text)
        colour_text(self.fit, meaning)
        self.setToolTip(tip(rank))
        if rank.instability is not None:
            value, low, high = (1 - v for v in (rank.instability.value, rank.instability.high, rank.instability.low))
            span = (low, high) if isfinite(low) and isfinite(high) else (value, value)
            text = f"{percent(value)} ({percent(span[0])} to {percent(span[1])})"
            self.bar.limit = 1 - limit
            colour = GOOD if rank.fits else BAD
            self.bar.show_whiskers([Whisker("stable", value, *span, f"{percent(value)}", colour, text)])
        self.bar.setVisible(rank.instability is not None)
        said = [f"{rank.consensus.value:.2f} bits from others"] if rank.consensus is not None else []
        said.append(f"{ratio_text(rank.voxel_ratio)} the voxel size")
        said.append(rank.licence or "licence unknown")
        self.about.setText(" · ".join(one.replace(" ", "\u00a0") for one in said))  # breaks between them only

    def show_picture(self, array: np.ndarray | None) -> None:
        """Show its answer, RGB uint8 (y, x, 3); None for none."""
        self.picture.setVisible(array is not None)
        if array is not None:
            array = np.ascontiguousarray(array)
            height, width, _ = array.shape
            made = QImage(array.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
            scaled = QPixmap.fromImage(made.copy()).scaled(SIDE, SIDE, Qt.AspectRatioMode.KeepAspectRatio)
            self.picture.setPixmap(scaled)

    def mark(self, on: bool) -> None:
        """Show whether it is the chosen one."""
        self.use.setText(USED if on else USE)
        edge = f"2px solid {FILL}" if on else "1px solid rgba(128, 128, 128, 90)"
        self.setStyleSheet(f"QFrame#model {{ border: {edge}; border-radius: 4px; }}")

    def _on_use(self) -> None:
        self.chosen.emit(self.name)

    def mousePressEvent(self, event: object) -> None:
        """A click on the card."""
        self.chosen.emit(self.name)


class ModelCards(QWidget):
    """All models, best first once they are ranked. ``chosen`` is emitted with the name of a clicked one."""

    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.cards: dict[str, ModelFrame] = {}
        self._chosen = ""
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)

    @property
    def names(self) -> list[str]:
        """Names in the order shown."""
        return list(self.cards)

    def show_library(self, models: Mapping[str, Told]) -> None:
        """List the models of a library, not ranked yet."""
        for card in self.cards.values():
            self._layout.removeWidget(card)
            card.deleteLater()
        self.cards = {}
        for name, told in models.items():
            card = self.cards[name] = ModelFrame(name, told)
            card.chosen.connect(self.chosen, Qt.ConnectionType.QueuedConnection)  # the choice may replace this card
            card.mark(name == self._chosen)
            self._layout.addWidget(card)

    def show_ranking(self, ranking: Ranking) -> None:
        """Order them by a ranking, with its figures and their answers at the first place."""
        self.show_library({rank.name: Told(ratio_text(rank.voxel_ratio), rank.licence) for rank in ranking.ranks})
        for rank in ranking.ranks:
            self.cards[rank.name].show_rank(rank, ranking.limit)
        self.show_place(ranking, 0)

    def show_place(self, ranking: Ranking, place: int) -> None:
        """Show their answers at a place."""
        for name, card in self.cards.items():
            card.show_picture(answer_picture(ranking, name, place))

    def mark(self, name: str) -> None:
        """Show which model is chosen."""
        self._chosen = name
        for other, card in self.cards.items():
            card.mark(other == name)

"""Choosing the detector: cards, and a line that names the chosen one, in the dock "Cascade detection"."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.volume import Volume
from napari_connecto.widgets.cascade.find.card_list import CardList
from napari_connecto.widgets.cascade.find.cards import Card, cards_job, fitting, own_job
from napari_connecto.widgets.cascade.jobs import list_job, peek
from napari_connecto.widgets.shared.choice import ChoiceBox, Words
from napari_connecto.widgets.shared.worker import Worker

WORDS = Words(
    title="Detector",
    row="Find with",
    train="",
    training="",
    folder="Folder of a cascade (with cascade.json)",
    tooltip="A shipped cascade, one from a folder or trained on your labels; or any detector, without training",
)


class CascadeBox(ChoiceBox):
    """Which detector: shipped, the user's own, from a folder, or without training; none while one is to be trained.

    Until the user chooses one, it is the one that fits the image, see `fitting`, else `free`.
    """

    def __init__(self) -> None:
        self.cards = CardList()
        self._known: dict[str, Card] = {}
        self._volume: Volume | None = None
        self._training = self._settled = False
        self._reading = True
        self.free = ""
        super().__init__(WORDS, lambda: list_job(), lambda folder: peek(folder))
        self.setTitle("")
        self.setStyleSheet("QGroupBox { border: none; margin: 0px; padding: 0px; }")
        self.layout_.setContentsMargins(0, 0, 0, 0)
        self.layout_.addRow(self.cards)
        self.about.hide()  # its text is the tooltip of the line
        self._own, self._reader = Worker("own cascades", self, quiet=True), Worker("cards", self, quiet=True)
        self._own.returned.connect(self._on_own)
        self._reader.returned.connect(self._on_cards)
        for worker in (self._lister, self._reader):
            worker.failed.connect(lambda *_: self._on_cards({}))
        self.cards.picked.connect(self._on_picked)
        self.changed.connect(self._show_chosen)

    @property
    def training(self) -> bool:
        """Whether a new one is to be trained."""
        return self._training

    @property
    def choosing(self) -> bool:
        """Whether the one to begin with is not known yet, as their voxel sizes are still being read."""
        return self._reading and not (self._settled or self._training)

    @property
    def folder(self) -> Path | None:
        """Folder of the chosen one; None while one is to be trained, or it is not made yet."""
        return None if self._training else super().folder

    def choose_training(self, on: bool = True) -> None:
        """Turn to training, or back to the chosen detector."""
        if on != self._training:
            self._training = on
            self.changed.emit()

    def list_own(self, folder: Path) -> None:
        """List the cascades in the folder of results too."""
        self._own.start(lambda: own_job(folder))

    def show_fit(self, volume: Volume | None) -> None:
        """Say which detectors fit this image."""
        if volume is not self._volume:
            self._volume = volume
            self._show_cards()
            self._suit()

    def use(self, folder: Path) -> None:
        """Choose the one in a folder; on an error, show it and keep the choice."""
        self._settled = True
        super().use(folder)

    def list_others(self, others: dict[str, str]) -> None:
        """Add entries that need more than a folder; the first needs neither training nor a voxel size."""
        self.free = next(iter(others), "")
        super().list_others(others)
        self._suit()

    def close_jobs(self) -> None:
        """Stop listing and reading."""
        super().close_jobs()
        for worker in (self._own, self._reader):
            worker.close(wait_s=0)

    def _suit(self) -> None:
        """Choose what fits the image, unless the user has chosen."""
        if self._settled or self._training or self._volume is None or not self._known:
            return
        name = fitting(self._known, self._volume) or self.free
        if name and name != self._chosen:
            self._choose(name)

    def _on_picked(self, name: str) -> None:
        self._settled = True
        self._choose(name)

    def _on_activated(self, index: int) -> None:
        self._settled = True
        super()._on_activated(index)

    def _choose(self, name: str) -> None:
        self._training = False
        super()._choose(name)

    def _fill(self, current: str) -> None:
        super()._fill(current)
        self._show_cards()
        missing = {name: folder for name, folder in self.folders.items() if name not in self._known}
        if missing:
            self._reader.start(lambda: cards_job(missing), abandon=True)

    def _on_listed(self, folders: dict[str, Path]) -> None:
        super()._on_listed(folders)
        if not self.folders:
            self._on_cards({})

    def _on_own(self, own: dict[str, Path]) -> None:
        taken = set(self.folders.values())
        self.folders |= {name: folder for name, folder in own.items() if folder not in taken}
        self._fill(self._chosen)

    def _on_cards(self, cards: dict[str, Card]) -> None:
        self._known |= cards
        self._show_cards()
        began, before = self.choosing, self._chosen
        self._reading = False
        self._suit()
        if began and self._chosen == before:
            self.changed.emit()

    def _show_cards(self) -> None:
        self.cards.show_cards(dict.fromkeys(self.folders, "") | self.others, self._known, self._volume, self._chosen)

    def _show_chosen(self) -> None:
        self.cards.choose(self._chosen)
        self.combo.setToolTip(self.about.text() or WORDS.tooltip)

"""Scalings of one volume for several models: what they share is read once."""

from __future__ import annotations

from napari_connecto.core.model import ModelCard, Normalisation, Scaling
from napari_connecto.core.volume import Volume


class Scalings:
    """Scalings of a volume, kept by normalisation: the models of a cascade mostly have the same one.

    Parameters
    ----------
    volume
        What is read; see `Normalisation.resolve`.
    damaged
        Whether chunks that cannot be read are left out.
    """

    def __init__(self, volume: Volume, *, damaged: bool = False) -> None:
        self._volume, self._damaged = volume, damaged
        self._known: dict[Normalisation, Scaling] = {}

    def of(self, card: ModelCard) -> Scaling:
        """The scaling of what a model reads; raises what `Normalisation.resolve` raises."""
        if card.normalisation not in self._known:
            self._known[card.normalisation] = card.normalisation.resolve(self._volume, damaged=self._damaged)
        return self._known[card.normalisation]

"""Which channel of an RGB layer is read."""

from __future__ import annotations

from napari.layers import Layer
from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QComboBox

CHANNELS = ("All channels", "Red", "Green", "Blue")
KEY = "connecto_channel"
"""Of ``layer.metadata``: the channel to read."""


def channel_of(layer: Layer) -> int | None:
    """The channel of an RGB layer to read, from 0; None for all."""
    found: int | None = layer.metadata.get(KEY)
    return found


class ChannelCombo(QComboBox):
    """Chooses the channel of a layer, and keeps it with the layer, so that it applies in the other docks too.

    ``chosen`` is emitted when another one is chosen here.
    """

    chosen = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layer: Layer | None = None
        self.addItems(CHANNELS)
        self.setToolTip("Channels of an RGB image to read; most shipped models take one")
        self.currentIndexChanged.connect(self._on_index)

    def show_channel(self, layer: Layer | None) -> None:
        """Show, and from now on set, the channel of this layer."""
        self._layer = layer
        chosen = channel_of(layer) if layer is not None else None
        with QSignalBlocker(self):
            self.setCurrentIndex(0 if chosen is None else chosen + 1)

    def _on_index(self, index: int) -> None:
        if self._layer is not None:
            self._layer.metadata[KEY] = index - 1 if index > 0 else None
            self.chosen.emit()

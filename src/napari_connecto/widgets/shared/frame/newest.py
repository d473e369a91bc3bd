"""An image that is opened while a dock is open: the dock follows it, or offers it where the user may not want that."""

from __future__ import annotations

from typing import Any

from napari.layers import Image, Layer
from qtpy.QtWidgets import QPushButton, QSizePolicy

from napari_connecto.widgets.viewer.view import RESULT, LayerCombo

TEXT = "Use '{}'"


class NewestImage(QPushButton):
    """Chooses an image layer when it is opened from a file or sample; or shows itself, and a click chooses it.

    It asks where the chosen image was chosen by hand or is being worked on (`keep`), and where there are layers that
    somebody has painted or marked. Layers that programs add, hidden ones, and further layers of one file are neither
    chosen nor offered.
    """

    def __init__(self, viewer: Any, layers: LayerCombo) -> None:
        super().__init__()
        self.setToolTip("An image that was opened after the chosen one")
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long name does not widen the dock
        self.hide()
        self._viewer, self._layers = viewer, layers
        self._kept: Layer | None = None
        self._offered: Layer | None = None
        self.clicked.connect(self._on_clicked)
        layers.activated.connect(self.keep)
        layers.chosen.connect(self._show)
        self._events = viewer.layers.events
        self._events.inserted.connect(self._on_inserted)
        self._events.removed.connect(self._show)
        self._events.renamed.connect(self._show)

    def keep(self, *_: Any) -> None:
        """The chosen image stays: it was chosen by hand, something about it was entered, or a job runs on it."""
        self._kept = self._layers.layer

    def follow(self, *signals: Any) -> None:
        """Signals after which the chosen image stays."""
        for signal in signals:
            signal.connect(self.keep)

    def release(self) -> None:
        """Stop following the viewer."""
        self._events.inserted.disconnect(self._on_inserted)
        self._events.removed.disconnect(self._show)
        self._events.renamed.disconnect(self._show)

    def _on_inserted(self, event: Any) -> None:
        new, chosen = event.value, self._layers.layer
        if chosen is None or new is chosen or not _opened(new):
            return
        if any(_origin(new) == _origin(layer) for layer in (chosen, self._offered) if layer is not None):
            return
        if chosen is self._kept or any(_handmade(layer) for layer in self._viewer.layers):
            self._offered = new
            self._show()
        else:
            self._layers.choose(new)

    def _on_clicked(self) -> None:
        if self._offered is not None:
            self._layers.choose(self._offered)
            self.keep()

    def _show(self, _event: Any = None) -> None:
        """Show the offer while it is one; forget layers that are gone."""
        if self._kept not in self._viewer.layers:
            self._kept = None
        if self._offered is not None and (
            self._offered is self._layers.layer or self._offered not in self._viewer.layers
        ):
            self._offered = None
        self.setVisible(self._offered is not None)
        if self._offered is not None:
            self.setText(TEXT.format(self._offered.name).replace("&", "&&"))  # else the next letter is underlined


def _opened(layer: Layer) -> bool:
    """Whether a visible image comes from a file or a sample."""
    return isinstance(layer, Image) and layer.visible and RESULT not in layer.metadata and any(_origin(layer))


def _origin(layer: Layer) -> tuple[Any, ...]:
    return layer.source.path, layer.source.sample


def _handmade(layer: Layer) -> bool:
    return not isinstance(layer, Image) and RESULT not in layer.metadata and not any(_origin(layer))

"""Layers of two segmentations, of the X-ray and of the EM-like image: shown, moved aside, masked by certainty."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_connecto.core.volume import Volume
from napari_connecto.widgets.viewer.layers import SOURCE
from napari_connecto.widgets.viewer.show import GAP, store_layer
from napari_connecto.widgets.viewer.shown import remove
from napari_connecto.widgets.viewer.view import RESULT, selection_kept
from napari_connecto.widgets.xray.trust import TrustBox

if TYPE_CHECKING:
    from napari_connecto.widgets.xray.segment_jobs import Source

NAMES = ("segments of X-ray", "segments of EM-like")
COUNTED = 2**24
"""Largest number of voxels in which segments are counted."""
NONE_LEFT = "No EM-like segment is certain enough: raise 'Certain to sd'"


class SegmentLayers:
    """Labels layers by name; ``labels`` are the volumes they show."""

    def __init__(self, viewer: Any, trust: TrustBox) -> None:
        self._viewer, self._trust = viewer, trust
        self.source: Source | None = None
        self.labels: dict[str, Volume] = {}
        self.layers: dict[str, Labels] = {}

    def forget(self) -> None:
        """What is shown belongs to an earlier translation; it stays in the viewer."""
        self.labels, self.layers = {}, {}

    def clear(self) -> None:
        """Remove what is shown."""
        gone = list(self.layers.values())
        self.layers.clear()
        remove(self._viewer, gone)

    def show(self, name: str, *, visible: bool = True) -> None:
        """Show a segmentation over its image."""
        source = self.source
        if source is None:
            return
        arrays, keywords = store_layer(self.labels[name], source.image, source.finest)
        old = self.layers.pop(name, None)
        if old is not None and old in self._viewer.layers:
            self._viewer.layers.remove(old)
        data = arrays if len(arrays) > 1 else arrays[0]
        told = {RESULT: True, SOURCE: self.labels[name].source}
        look: dict[str, Any] = {"name": name, "opacity": 0.5, "metadata": told, "visible": visible}
        with selection_kept(self._viewer, source.image):
            layer = self._viewer.add_labels(data, **keywords, **look)
        layer.editable = False
        self.layers[name] = layer

    def aside(self, on: bool) -> None:
        """Move the layers of the EM-like image to the right of the X-ray, or back over it."""
        source, trust = self.source, self._trust.layers
        if source is None or trust is None or not trust.images:
            return
        step = source.finest.shape[2] * (1 + GAP) * float(source.image.scale[-1]) if on else 0.0
        moved = [*trust.images[:1], trust.worst, self.layers.get(NAMES[1])]
        homes = [trust.volumes["mean"], trust.volumes["mean"], self.labels.get(NAMES[1])]
        for layer, volume in zip(moved, homes, strict=True):
            if layer is not None and layer in self._viewer.layers and volume is not None:
                home = store_layer(volume, source.image, source.finest)[1]["translate"]
                layer.translate = np.add(home, [*[0.0] * (layer.ndim - 1), step])

    def show_raw(self, visible: bool) -> None:
        """Show or hide the X-ray's segments."""
        raw = self.layers.get(NAMES[0])
        if raw is not None and raw in self._viewer.layers:
            raw.visible = visible

    def mask(self, limit: float | None) -> str:
        """Show the EM-like image's segments where the total sd is at most ``limit``, None: everywhere; what is left."""
        layer, trust = self.layers.get(NAMES[1]), self._trust.layers
        if layer is None or layer not in self._viewer.layers or trust is None or self.source is None:
            return ""
        labels = self.labels[NAMES[1]]
        if limit is not None:
            from napari_connecto.workflows.shared.on_grid import kept_where
            from napari_connecto.workflows.xray.trust import certain

            labels = kept_where(labels, certain(trust.volumes["aleatoric"], trust.volumes["epistemic"], limit))
        arrays, _ = store_layer(labels, self.source.image, self.source.finest)
        layer.data = arrays if len(arrays) > 1 else arrays[0]
        return left_line(arrays[-1]) if limit is not None else ""


def left_line(labels: Any) -> str:
    """How many segments a mask leaves, counted on their coarsest level; "" if that is too large to read at once."""
    if prod(labels.shape) > COUNTED:
        return ""
    left = np.unique(labels[(slice(None),) * len(labels.shape)])
    n = int((left > 0).sum())
    return f"{n} EM-like segments are at least partly certain" if n else NONE_LEFT

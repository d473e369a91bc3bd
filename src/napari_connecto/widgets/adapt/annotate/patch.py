"""A patch to paint on in the viewer of the dock "Adapt to my data"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.utils.color import ColorArray
from napari.utils.colormaps import CyclicLabelColormap, label_colormap

from napari_connecto.core.volume import Level
from napari_connecto.widgets.adapt.layers import Canvas, View
from napari_connecto.widgets.viewer.show import placed_at
from napari_connecto.widgets.viewer.view import OKABE_ITO

if TYPE_CHECKING:
    from napari_connecto.workflows.adapt.annotate.session import Draft

MEMBRANE, INSIDE = OKABE_ITO["rejected"], OKABE_ITO["accepted"]
"""Colours of the labels 1 and 2."""


class PatchLayers:
    """One patch to paint on: image, labels and a box around it. Opening another patch replaces it."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._image: Any = None
        self._frame: Any = None
        self._view: View | None = None
        self.labels: Any = None
        self._draft: Any = None
        self.opacity = 0.4

    @property
    def replaced(self) -> np.ndarray | None:
        """The labels array, if someone replaced the array of the layer; None while strokes go to the draft."""
        if self.labels is None or self.labels.data is self._draft:
            return None
        return np.asarray(self.labels.data)

    @property
    def alive(self) -> bool:
        """Whether the labels are still in the viewer."""
        return self.labels is not None and self.labels in self.canvas.viewer.layers

    def show(self, id: int, draft: Draft) -> Any:
        """Show a patch, centre it, and activate the brush; strokes are written through to the draft.

        The layers of the patch before are refilled, because removing a layer blocks napari for a while.
        """
        level, canvas = Level(draft.image, draft.voxel_nm, draft.origin_nm), self.canvas
        self._view = self._view or canvas.view()
        self._show_image(id, level)
        labels = self._show_labels(f"patch {id} labels", draft.labels, level)
        self._draft = labels.data
        labels.selected_label, labels.mode = 1, "paint"
        canvas.viewer.layers.selection.active = labels
        canvas.look_at(labels, draft.image.shape)
        return labels

    def take(self, value: int) -> None:
        """Activate the brush with a label; -1: the next free neurite number."""
        if self.labels is None or not self.labels.editable:
            return
        if value < 0:
            value = max(2, int(np.asarray(self.labels.data).max(initial=0))) + 1
        self.canvas.viewer.layers.selection.active = self.labels
        self.labels.selected_label, self.labels.mode = value, "paint"

    def show_through(self, opacity: float) -> None:
        """Set the opacity of the labels, 0 to 1, of this patch and the next ones."""
        self.opacity = opacity
        if self.labels is not None:
            self.labels.opacity = opacity

    def lock(self, on: bool) -> None:
        """Disable painting while the labels are read, or enable it again."""
        if self.labels is not None and self.labels.editable == on:
            self.labels.editable = not on
            self.labels.mode = "pan_zoom" if on else "paint"

    def close(self) -> None:
        """Remove the patch from the viewer and restore the previous view; the draft is on disk."""
        labels, self.labels = self.labels, None
        self.canvas.remove([labels, self._image, self._frame])
        if self._view is not None:
            self.canvas.go_back(self._view)
        self._image = self._frame = self._view = None

    def _show_labels(self, name: str, data: Any, level: Level) -> Any:
        canvas = self.canvas
        if self.alive:
            labels = self.labels
            labels.editable = False  # napari forgets the strokes of the patch before, which could be undone in this one
            labels.data, labels.name = data, name
            labels.translate = placed_at(level, canvas.image, canvas.finest)["translate"]
            labels.visible = labels.editable = True
            return labels
        self.labels = labels = canvas.add("add_labels", data, level, name=name, opacity=self.opacity)
        labels.colormap, labels.brush_size = label_colours(), 5
        return labels

    def _show_image(self, id: int, level: Level) -> None:
        canvas, image = self.canvas, np.asarray(level.array)
        low, high = (float(v) for v in np.percentile(image, [1, 99]))
        limits, names = (low, high if high > low else low + 1), (f"patch {id}", f"patch {id} box")
        layers = (self._image, self._frame)
        if all(layer is not None and layer in canvas.viewer.layers for layer in layers):
            place = placed_at(level, canvas.image, canvas.finest)
            for layer, data, name in zip(layers, (image, [_frame(image.shape)]), names, strict=True):
                layer.data, layer.translate, layer.name, layer.visible = data, place["translate"], name, True
            self._image.contrast_limits_range = self._image.contrast_limits = limits
            return
        canvas.remove([*layers, self.labels])  # the image would cover labels that are there already
        self._image = canvas.add("add_image", image, level, name=names[0], contrast_limits=limits)
        look = {"shape_type": "polygon", "face_color": "transparent", "edge_color": OKABE_ITO["new"], "edge_width": 1}
        self._frame = canvas.add("add_shapes", [_frame(image.shape)], level, name=names[1], **look)


def label_colours() -> CyclicLabelColormap:
    """napari's colours, except for membranes (1) and insides (2)."""
    found = label_colormap(50)
    colours = np.array(found.colors)
    for value, name in ((1, MEMBRANE), (2, INSIDE)):
        colours[value] = np.asarray(ColorArray([name]))[0]
    return CyclicLabelColormap(colors=colours, name="membrane, inside, neurites")


def _frame(shape: Sequence[int]) -> np.ndarray:
    """Corners (4, 3) of the middle section's outline."""
    z, y, x = (shape[0] - 1) // 2, shape[1] - 0.5, shape[2] - 0.5
    return np.array([[z, -0.5, -0.5], [z, -0.5, x], [z, y, x], [z, y, -0.5]])

"""Layers of the dock "Adapt to my data": patches to paint, side-by-side images, segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from napari.layers import Layer

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import SOURCE, world_factor
from napari_connecto.widgets.viewer.show import GAP, placed_at, store_layer
from napari_connecto.widgets.viewer.shown import remove
from napari_connecto.widgets.viewer.view import RESULT, view_box

ALL = "Everywhere"
"""The choice to segment all of an image."""
MARGIN = 1.1
PREVIEW = 192
"""Side length of the preview patch, in voxels of the image's finest level."""


class View(NamedTuple):
    """The user's view, as napari stores it."""

    point: tuple[float, ...]
    ndisplay: int
    center: tuple[float, ...]
    zoom: float


class Canvas:
    """The viewer, the image layer on which everything is placed, and that layer's level 0."""

    def __init__(self, viewer: Any, image: Layer, finest: Level) -> None:
        self.viewer, self.image, self.finest = viewer, image, finest

    def add(self, how: str, data: Any, level: Level, **keywords: Any) -> Layer:
        """Add a layer on the grid of ``level``; it is never offered as input."""
        place = placed_at(level, self.image, self.finest)
        offset = keywords.pop("offset", 0.0)
        place["translate"] = place["translate"] + offset
        layer: Layer = getattr(self.viewer, how)(data, metadata={RESULT: True}, **place, **keywords)
        return layer

    def remove(self, layers: Sequence[Layer | None]) -> None:
        """Remove layers that the user has not removed; if none is active then, activate the image."""
        there = self.viewer.layers
        remove(self.viewer, layers)
        if not there.selection and self.image in there:
            there.selection.active = self.image

    def view(self) -> View:
        """The current view."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        return View(tuple(dims.point), dims.ndisplay, tuple(camera.center), float(camera.zoom))

    def go_back(self, view: View) -> None:
        """Restore a view."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        dims.ndisplay = view.ndisplay
        if len(view.point) == dims.ndim:
            dims.set_point(range(dims.ndim), view.point)
        camera.center, camera.zoom = view.center, view.zoom

    def look_at(self, layer: Layer, shape: Sequence[int], count: tuple[int, int] = (1, 1)) -> None:
        """Centre on the middle section of a (z, y, x) array of this shape; fit ``count`` (rows, columns) of it."""
        viewer = self.viewer
        factor = world_factor(layer, viewer.layers.units)
        step = 1 + GAP
        wanted = [shape[0], shape[1] * (count[0] * step - GAP), shape[2] * (count[1] * step - GAP)]
        centre = [(shape[0] - 1) // 2, wanted[1] / 2 - 0.5, wanted[2] / 2 - 0.5]
        world = np.asarray(layer.data_to_world(centre), float) * factor
        first = viewer.dims.ndim - len(world)
        viewer.dims.set_point(range(first, viewer.dims.ndim), [float(w) for w in world])
        viewer.dims.ndisplay = 2
        viewer.scene.camera.center = tuple(float(w) for w in world[1:])
        extent = np.array(wanted[1:]) * np.asarray(layer.scale)[1:] * factor[1:] * MARGIN
        viewer.scene.camera.zoom = float(min(np.array(viewer.canvas.size, float) / extent))


def show_segments(canvas: Canvas, volume: Volume, name: str) -> Layer:
    """Show a segmentation's store over the image, as a pyramid."""
    arrays, keywords = store_layer(volume, canvas.image, canvas.finest)
    data = arrays if len(arrays) > 1 else arrays[0]
    told = {RESULT: True, SOURCE: volume.source}
    layer: Layer = canvas.viewer.add_labels(data, **keywords, name=name, opacity=0.5, metadata=told)
    layer.editable = False
    return layer


def shapes_box(shapes: Layer, canvas: Canvas) -> Box:
    """The bounding box of a layer's shapes, in voxels of the image's level 0; not clipped.

    For flat shapes it spans their section.
    """
    image = canvas.image
    corners = np.concatenate([np.asarray(shape, float) for shape in shapes.data])
    world = np.array([shapes.data_to_world(c) for c in corners], float) * world_factor(shapes, image.units)
    n = min(image.ndim, 3)
    lead = [0.0] * max(0, image.ndim - world.shape[1])
    data = np.array([image.world_to_data([*lead, *w])[-n:] for w in world])
    low, high = np.floor(data.min(axis=0) + 0.5 + 1e-6), np.ceil(data.max(axis=0) + 0.5 - 1e-6)
    high = np.maximum(high, low + 1)
    start, stop = ([0] * (3 - n) + low.astype(int).tolist(), [1] * (3 - n) + high.astype(int).tolist())
    return Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def part_of(volume: Volume, canvas: Canvas, shapes: Layer | None, *, in_view: bool) -> Box:
    """What is in view, or the box around shapes, in voxels of the volume's finest level.

    Raises
    ------
    InputError
        If there are no shapes, or that part does not touch the image.
    """
    finest = volume.levels[0]
    if in_view:
        box = view_box(canvas.viewer, canvas.image, canvas.finest)
    elif shapes is None or not len(shapes.data):
        raise InputError("the Shapes layer is empty; draw a rectangle around the part to segment")
    else:
        box = shapes_box(shapes, canvas)
    found = canvas.finest.box_in(box, finest).clip(finest.shape)
    if found.size == 0:
        raise InputError(f"that part does not touch '{canvas.image.name}'; press Home in the viewer, or choose {ALL}")
    return found


def patch_in_view(canvas: Canvas, volume: Volume) -> Box:
    """A square of one section at the centre of the view, else of the image; voxels of the volume's finest level."""
    finest = volume.levels[0]
    view = canvas.finest.box_in(view_box(canvas.viewer, canvas.image, canvas.finest, 1), finest).clip(finest.shape)
    seen = view if view.size else finest.box
    middle = [int(c) for c in seen.centre]
    sides = [1, *(min(PREVIEW, n) for n in finest.shape[1:])]
    start = [max(0, min(m - s // 2, n - s)) for m, s, n in zip(middle, sides, finest.shape, strict=True)]
    return Box((start[0], start[1], start[2]), (start[0] + 1, start[1] + sides[1], start[2] + sides[2]))

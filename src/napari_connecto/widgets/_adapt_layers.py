"""What the dock "Adapt to my data" shows in the viewer: patches to paint, pictures side by side, segments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from napari.layers import Layer
from napari.utils.color import ColorArray
from napari.utils.colormaps import CyclicLabelColormap, label_colormap

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets._layers import world_factor
from napari_connecto.widgets._show import placed_at, store_layer
from napari_connecto.widgets._view import OKABE_ITO, RESULT

if TYPE_CHECKING:
    from napari_connecto.widgets._adapt_jobs import Picture
    from napari_connecto.workflows.session import Draft

GAP = 0.14
"""Between pictures, as a share of their width; titles are written there."""
MEMBRANE, INSIDE = OKABE_ITO["rejected"], OKABE_ITO["accepted"]
"""Colours of the labels 1 and 2."""
MARGIN = 1.1


class View(NamedTuple):
    """Where the user looks, as napari has it."""

    point: tuple[float, ...]
    ndisplay: int
    center: tuple[float, ...]
    zoom: float


class Canvas:
    """The viewer, the image layer everything is placed on, and that layer's level 0."""

    def __init__(self, viewer: Any, image: Layer, finest: Level) -> None:
        self.viewer, self.image, self.finest = viewer, image, finest

    def add(self, how: str, data: Any, level: Level, **keywords: Any) -> Layer:
        """A layer on the grid of ``level``; never offered as input."""
        place = placed_at(level, self.image, self.finest)
        offset = keywords.pop("offset", 0.0)
        place["translate"] = place["translate"] + offset
        layer: Layer = getattr(self.viewer, how)(data, metadata={RESULT: True}, **place, **keywords)
        return layer

    def remove(self, layers: Sequence[Layer | None]) -> None:
        """Take layers out, where the user has not."""
        for layer in layers:
            if layer is not None and layer in self.viewer.layers:
                self.viewer.layers.remove(layer)

    def view(self) -> View:
        """Where the user looks now."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        return View(tuple(dims.point), dims.ndisplay, tuple(camera.center), float(camera.zoom))

    def go_back(self, view: View) -> None:
        """Look there again."""
        camera, dims = self.viewer.scene.camera, self.viewer.dims
        dims.ndisplay = view.ndisplay
        if len(view.point) == dims.ndim:
            dims.set_point(range(dims.ndim), view.point)
        camera.center, camera.zoom = view.center, view.zoom

    def look_at(self, layer: Layer, shape: Sequence[int], count: tuple[int, int] = (1, 1)) -> None:
        """Move to the middle section of a (z, y, x) array of this shape; fit ``count`` of it (rows, columns)."""
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


class PatchLayers:
    """One patch to paint on: its image, its labels, and a box around it. Another patch takes its place."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._image: Any = None
        self._frame: Any = None
        self._view: View | None = None
        self.labels: Any = None

    @property
    def alive(self) -> bool:
        """Whether the labels are still in the viewer."""
        return self.labels is not None and self.labels in self.canvas.viewer.layers

    def show(self, id: int, draft: Draft) -> Any:
        """Show a patch, go there, and take up the brush; strokes write through to the draft.

        The labels are a new layer each time, for napari keeps a layer's undo history; the others are filled again,
        for each layer that goes stops napari for a while.
        """
        level, canvas = Level(draft.image, draft.voxel_nm, draft.origin_nm), self.canvas
        self._view = self._view or canvas.view()
        self._remove_labels()
        self._show_image(id, level)
        self.labels = labels = canvas.add("add_labels", draft.labels, level, name=f"patch {id} labels", opacity=0.4)
        labels.colormap = label_colours()
        labels.brush_size, labels.selected_label, labels.mode = 5, 1, "paint"
        canvas.viewer.layers.selection.active = labels
        canvas.look_at(labels, draft.image.shape)
        return labels

    def close(self) -> None:
        """Take the patch out of the viewer and look where one looked before; what was painted is on disk."""
        self._remove_labels()
        self.canvas.remove([self._image, self._frame])
        if self._view is not None:
            self.canvas.go_back(self._view)
        self._image = self._frame = self._view = None

    def _remove_labels(self) -> None:
        labels, self.labels = self.labels, None
        self.canvas.remove([labels])

    def _show_image(self, id: int, level: Level) -> None:
        canvas, image = self.canvas, np.asarray(level.array)
        low, high = (float(v) for v in np.percentile(image, [1, 99]))
        limits, names = (low, high if high > low else low + 1), (f"patch {id}", f"patch {id} box")
        layers = (self._image, self._frame)
        if all(layer is not None and layer in canvas.viewer.layers for layer in layers):
            place = placed_at(level, canvas.image, canvas.finest)
            for layer, data, name in zip(layers, (image, [_frame(image.shape)]), names, strict=True):
                layer.data, layer.translate, layer.name = data, place["translate"], name
            self._image.contrast_limits_range = self._image.contrast_limits = limits
            return
        canvas.remove(layers)
        self._image = canvas.add("add_image", image, level, name=names[0], contrast_limits=limits)
        look = {"shape_type": "polygon", "face_color": "transparent", "edge_color": OKABE_ITO["new"], "edge_width": 1}
        self._frame = canvas.add("add_shapes", [_frame(image.shape)], level, name=names[1], **look)


def label_colours() -> CyclicLabelColormap:
    """napari's colours, but for membranes (1) and insides (2)."""
    found = label_colormap(50)
    colours = np.array(found.colors)
    for value, name in ((1, MEMBRANE), (2, INSIDE)):
        colours[value] = np.asarray(ColorArray([name]))[0]
    return CyclicLabelColormap(colors=colours, name="membrane, inside, neurites")


class Panels:
    """Pictures side by side, in rows, at one place of the volume; everything else is hidden meanwhile."""

    def __init__(self, canvas: Canvas) -> None:
        self.canvas = canvas
        self._layers: list[Layer] = []
        self._hidden: list[Layer] = []
        self._view: View | None = None

    @property
    def layers(self) -> list[Layer]:
        """Those of the pictures, row by row, and the titles."""
        return list(self._layers)

    def show(self, rows: Sequence[Sequence[Picture | None]]) -> None:
        """Show them; earlier ones go."""
        self.close()
        viewer, self._view = self.canvas.viewer, self.canvas.view()
        self._hidden = [layer for layer in viewer.layers if layer.visible]
        for layer in self._hidden:
            layer.visible = False
        titles, corners, first = [], [], None
        for i, row in enumerate(rows):
            for j, picture in enumerate(row):
                if picture is None:
                    continue
                first = first or picture
                offset = self._offset(first, i, j)
                self._layers.append(self._add(picture, offset))
                titles.append(picture.name)
                shape = first.level.shape
                corners.append([(shape[0] - 1) // 2, i * shape[1] * (1 + GAP), j * shape[2] * (1 + GAP)])
        if first is None:
            return
        text = {"string": "{title}", "anchor": "upper_left", "color": "yellow", "size": 11}
        look = {
            "name": "titles",
            "size": 1,
            "face_color": "transparent",
            "border_width": 0,
            "border_color": "transparent",
        }
        features = {"title": titles}
        points = self.canvas.add("add_points", np.array(corners), first.level, features=features, text=text, **look)
        self._layers.append(points)
        shape = first.level.shape
        self.canvas.look_at(self._layers[0], shape, (len(rows), max(len(row) for row in rows)))

    def close(self) -> None:
        """Take them out and show again what was hidden."""
        self.canvas.remove(self._layers)
        for layer in self._hidden:
            if layer in self.canvas.viewer.layers:
                layer.visible = True
        if self._layers and self._view is not None:
            self.canvas.go_back(self._view)
        self._layers, self._hidden = [], []

    def _offset(self, first: Picture, i: int, j: int) -> np.ndarray:
        scale = placed_at(first.level, self.canvas.image, self.canvas.finest)["scale"]
        return np.array([0, i, j]) * np.array(first.level.shape) * (1 + GAP) * scale

    def _add(self, picture: Picture, offset: np.ndarray) -> Layer:
        array = np.asarray(picture.level.array)
        if picture.kind == "labels":
            labels = array.astype(np.uint32)
            return self.canvas.add("add_labels", labels, picture.level, name=picture.name, offset=offset, opacity=1.0)
        if picture.kind == "map":
            look: dict[str, Any] = {"colormap": "inferno", "contrast_limits": (0.0, 1.0)}
        else:
            low, high = (float(v) for v in np.percentile(array, [0.5, 99.5]))
            look = {"contrast_limits": (low, high if high > low else low + 1)}
        return self.canvas.add("add_image", array, picture.level, name=picture.name, offset=offset, **look)


def show_segments(canvas: Canvas, volume: Volume, name: str) -> Layer:
    """A segmentation's store over the image, as a pyramid."""
    arrays, keywords = store_layer(volume, canvas.image, canvas.finest)
    data = arrays if len(arrays) > 1 else arrays[0]
    layer: Layer = canvas.viewer.add_labels(data, **keywords, name=name, opacity=0.5, metadata={RESULT: True})
    layer.editable = False
    return layer


def shapes_box(shapes: Layer, canvas: Canvas) -> Box:
    """What the shapes of a layer span, in voxels of the image's level 0; not clipped.

    A flat shape spans its section.
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


def _frame(shape: Sequence[int]) -> np.ndarray:
    """Corners (4, 3) of the middle section's edge."""
    z, y, x = (shape[0] - 1) // 2, shape[1] - 0.5, shape[2] - 0.5
    return np.array([[z, -0.5, -0.5], [z, -0.5, x], [z, y, x], [z, y, -0.5]])

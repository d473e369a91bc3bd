"""Layers of a search: points as they are found, the map as it fills, masks at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer, Points

from napari_connecto.core.volume import Level
from napari_connecto.widgets.cascade.depth import InDepth
from napari_connecto.widgets.cascade.jobs import live_map
from napari_connecto.widgets.cascade.markers import BORDER, SYMBOLS, extents, features, sizes, unit, verdict_colours
from napari_connecto.widgets.cascade.review import Review
from napari_connecto.widgets.viewer.layers import GRID
from napari_connecto.widgets.viewer.lazy import Relabelled
from napari_connecto.widgets.viewer.show import placed_on, store_layer, to_data
from napari_connecto.widgets.viewer.shown import remove
from napari_connecto.widgets.viewer.view import OKABE_ITO, RESULT, selection_kept
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, OBJECTS, REJECTED

REVIEWED = "connecto_review"
"""Key of a training layer's ``metadata``: `Places` with a verdict or without, see `training_layer`."""
POINTS, MASKS, MAP, TRAINING = "detections", "objects", "probability", "training"


def named(kind: str, by: str) -> str:
    """Name of a result layer: its content and the cascade."""
    return f"{kind} ({by})" if by else kind


class ResultLayers:
    """The layers of one search, on the grid of its image layer; created when something is found.

    Parameters
    ----------
    viewer
        Where they are shown.
    image, level
        The image layer, and its level 0, in whose voxels positions are given; see `unit` for those of points.
    box_nm
        Voxel size of the level that `Detections.box` is in.
    by
        Distinguishes them from those of other searches: the cascade.
    diameter_nm
        Of a typical object; while a search runs, the boxes of detections may be cut by tiles.
    before, reuse
        The search shown before. With ``reuse`` its layers are refilled if they belong to the same image and cascade,
        because removing a layer blocks napari for half a second; otherwise they are hidden.
    """

    def __init__(
        self,
        viewer: Any,
        image: Layer,
        level: Level,
        box_nm: Sequence[float],
        *,
        by: str = "",
        diameter_nm: float = 0.0,
        before: ResultLayers | None = None,
        reuse: bool = True,
    ) -> None:
        self._viewer, self._image, self._level, self._by = viewer, image, level, by
        self._box_factor = np.array(box_nm, float) / level.voxel_nm
        self._typical = diameter_nm / np.array(level.voxel_nm, float)
        self._unit = np.ones(min(image.ndim, 3))
        self._map: Layer | None = None
        self._map_is_live = False
        self._masks: list[Relabelled] = []
        self._mask_layer: Layer | None = None
        self._next_refresh = 0.0
        self._depth, self._in_depth = np.empty(0), InDepth(viewer)
        self.points: Points | None = None
        if before is not None:
            self._follow(before, reuse)

    @property
    def shown(self) -> list[Layer]:
        """The layers that are still in the viewer."""
        mine = (self._map, self._mask_layer, self.points)
        return [layer for layer in mine if layer is not None and layer in self._viewer.layers]

    @property
    def alive(self) -> bool:
        """Whether the points layer is still in the viewer."""
        return self.points is None or self.points in self._viewer.layers

    def show(self, review: Review, *, live: bool = False) -> None:
        """Show all detections with their verdicts; ``live`` skips slow updates of what has not changed."""
        found = review.found
        if not len(found):
            self._drop()
            return
        if self.points is None:
            self.points = self._add_points()
        layer, extent = self.points, extents(found, self._box_factor)
        least = self._typical if live else np.zeros(3)
        self._count_in(unit(extent, least, layer.ndim))
        self._depth = np.maximum(np.maximum(extent[:, 0], least[0]), 1.0) / self._unit[0]
        size = sizes(extent) / self._unit[-1]
        if live:
            layer.current_size = float(np.median(size))
        layer.data = self.place(found.centre_nm)
        layer.features = features(review.detections)
        if not live or review.reviewed or not review.shown.all():
            layer.size = size
            layer.border_color = verdict_colours(review.status)
            layer.symbol = [SYMBOLS[s] for s in review.status]
        self._in_depth.show(layer, review.shown, self._depth)

    def place(self, centre_nm: np.ndarray) -> np.ndarray:
        """Positions in nm (n, 3) as data of the points layer."""
        return to_data(centre_nm, self._level, len(self._unit)) / self._unit

    def _count_in(self, units: np.ndarray) -> None:
        assert self.points is not None
        if not np.array_equal(units, self._unit):
            self._unit = units
            self.points.scale = placed_on(self._image)["scale"] * units

    def show_live(self, review: Review, *, force: bool = False) -> None:
        """Like `show`, but for at most a tenth of the time; also refreshes the map."""
        now = time.perf_counter()
        if now < self._next_refresh and not force:
            return
        self.show(review, live=not force)
        if self._map is not None and self._map_is_live and self._map in self._viewer.layers:
            self._map.refresh(extent=False)
        self._next_refresh = time.perf_counter() + max(0.2, 9 * (time.perf_counter() - now))

    def show_verdict(self, review: Review, index: int) -> None:
        """Show a changed verdict or tag."""
        layer = self.points
        if layer is None:
            return
        symbol = SYMBOLS[str(review.status[index])]
        if str(layer.symbol[index]) != symbol:  # each takes napari a while where there are very many points
            colours, symbols = np.array(layer.border_color), np.array(layer.symbol)
            colours[index] = verdict_colours(review.status[index : index + 1])[0]
            symbols[index] = symbol
            layer.border_color, layer.symbol = colours, symbols
        for name in ("status", "tags"):
            layer.features.loc[index, name] = getattr(review.said, name)[index]
        self.filter(review)

    def mark(self, index: int) -> None:
        """Highlight the current detection."""
        if self.points is not None:
            widths = np.full(len(self.points.data), BORDER)
            widths[index] = 2 * BORDER
            self.points.border_width = widths

    def filter(self, review: Review) -> None:
        """Hide detections below the threshold (and rejected masks)."""
        if self.points is not None and len(review.found) == len(self.points.data):
            self._in_depth.show(self.points, review.shown, self._depth)
        if self._mask_layer is not None and self._mask_layer in self._viewer.layers:
            table = review.label_table()
            for array in self._masks:
                array.table = table
            self._mask_layer.refresh(extent=False)

    def show_map(self, out: Path) -> None:
        """Show the probability map of a running search once something is found."""
        if self._map_is_live or self.points is None or not self.alive:
            return
        volume = live_map(out)
        if volume is None:
            return
        arrays, keywords = store_layer(volume, self._image, self._level)
        self._map_is_live = True
        if self._refill(self._map, arrays, keywords):
            return
        look = {"colormap": "inferno", "blending": "additive", "opacity": 0.6, "contrast_limits": (0, 255)}
        self._map = self._add("add_image", arrays, **keywords, **look, name=named(MAP, self._by))
        self._raise_points()

    def show_masks(self, review: Review) -> None:
        """Show the objects' masks, and hide the map."""
        if self._map is not None and self._map in self._viewer.layers:
            self._map.visible = False
        self._map_is_live = False
        if review.found.labels is None or not len(review.found):
            return
        table = review.label_table()
        arrays, keywords = store_layer(review.found.labels, self._image, self._level)
        self._masks = [Relabelled(array, table) for array in arrays]
        if self._refill(self._mask_layer, self._masks, keywords):
            return
        layer = self._add("add_labels", self._masks, **keywords, name=named(MASKS, self._by), opacity=0.5)
        layer.editable = False
        self._mask_layer = layer
        self._raise_points()

    def training_layer(self, review: Review) -> Layer:
        """Accepted and added objects as a training layer: masks if there are any, else centres.

        Its metadata keep the rejected ones, which are background, those not reviewed, which are unknown, and, with
        masks, the added ones, which training draws as balls.
        """
        masks = review.found.labels is not None
        accepted = np.isin(review.status, (ACCEPTED,) if masks else OBJECTS)
        metadata = {REVIEWED: review.places(NEW, REJECTED, *([ADDED] if masks else []))}
        name = f"{TRAINING} {review.found.report.get('cascade', '')}".strip()
        if name in self._viewer.layers:
            self._viewer.layers.remove(name)
        if review.found.labels is not None:
            table = review.label_table(accepted)
            arrays, keywords = store_layer(review.found.labels, self._image, self._level)
            return self._viewer.add_labels(
                _one_or_many([Relabelled(a, table) for a in arrays]),
                **keywords,
                name=name,
                visible=False,
                metadata=metadata,
            )
        data = to_data(review.found.centre_nm[accepted], self._level, min(self._image.ndim, 3))
        look = {
            "symbol": "star",
            "face_color": OKABE_ITO["good"],
            "border_color": "white",
            "size": float(np.median(sizes(extents(review.found, self._box_factor)))),
        }
        return self._viewer.add_points(data, **placed_on(self._image), **look, name=name, metadata=metadata)

    def release(self) -> None:
        """Stop following the viewer."""
        self._in_depth.release()

    def _follow(self, before: ResultLayers, reuse: bool) -> None:
        same = (
            before._image is self._image and before._by == self._by and before._level.voxel_nm == self._level.voxel_nm
        )
        before.release()
        for layer in before.shown:
            layer.visible = False
        if reuse and same and before.points is not None and before.alive:
            self.points, self._map, self._mask_layer = before.points, before._map, before._mask_layer
            self.points.visible = True
            for name, value in placed_on(self._image).items():
                setattr(self.points, name, value)  # in voxels again, see `_unit`

    def _drop(self) -> None:
        """Nothing is found (any more): remove the empty layers."""
        remove(self._viewer, self.shown)
        self.points = self._map = self._mask_layer = None

    def _refill(self, layer: Layer | None, arrays: list[Any], keywords: dict[str, Any]) -> bool:
        """Show new arrays in an existing layer of the same kind, if there is one."""
        if layer is None or layer not in self._viewer.layers or layer.multiscale != (len(arrays) > 1):
            return False
        layer.data = _one_or_many(arrays)
        for name, value in keywords.items():
            setattr(layer, name, value)
        layer.visible = True
        return True

    def _add_points(self) -> Points:
        n = min(self._image.ndim, 3)
        return self._add(
            "add_points",
            np.empty((0, n)),
            **placed_on(self._image),
            ndim=n,
            name=named(POINTS, self._by),
            size=10,
            face_color="transparent",
            border_color=OKABE_ITO[NEW],
            border_width=BORDER,
            projection_mode="none",
            metadata={RESULT: True, GRID: (self._level.voxel_nm, self._level.origin_nm)},
        )

    def _add(self, how: str, data: Any, **keywords: Any) -> Any:
        data = _one_or_many(data) if isinstance(data, list) else data
        with selection_kept(self._viewer, self._image):
            return getattr(self._viewer, how)(data, **{"metadata": {RESULT: True}, **keywords})

    def _raise_points(self) -> None:
        layers = self._viewer.layers
        if self.points is not None and self.points in layers:
            layers.move(layers.index(self.points), len(layers))


def _one_or_many(arrays: list[Any]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]

"""What a search shows in the viewer: points while they are found, the map while it fills, masks at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points
from napari.utils.color import ColorArray

from napari_connecto.core.volume import Level
from napari_connecto.widgets._cascade_jobs import live_map
from napari_connecto.widgets._cascade_review import Review
from napari_connecto.widgets._show import Relabelled, placed_on, store_layer, to_data
from napari_connecto.widgets._view import OKABE_ITO, RESULT
from napari_connecto.workflows.verdicts import ACCEPTED, NEW, REJECTED

if TYPE_CHECKING:
    from napari_connecto.workflows.detections import Detections

POINTS, MASKS, MAP, TRAINING = "detections", "objects", "probability", "training"
SYMBOLS = {NEW: "disc", ACCEPTED: "square", REJECTED: "cross"}
BORDER = 0.12
"""Width of a point's ring, as a share of its diameter."""


class ResultLayers:
    """The layers of one search, on the grid of the image layer it was made from.

    Parameters
    ----------
    viewer
        Where they are shown.
    image, level
        The image layer, and its level 0 (points are in its voxels, so that napari shows each in its own section).
    box_nm
        Voxel size of the level that `Detections.box` is in.
    reuse
        An earlier search whose layers may be emptied and filled again; removing a layer stops napari for half a second.
    """

    def __init__(
        self, viewer: Any, image: Layer, level: Level, box_nm: Sequence[float], reuse: ResultLayers | None = None
    ) -> None:
        self._viewer, self._image, self._level = viewer, image, level
        self._box_factor = np.array(box_nm, float) / level.voxel_nm
        self._map: Layer | None = None
        self._map_is_live = False
        self._masks: list[Relabelled] = []
        self._mask_layer: Layer | None = None
        self._next_refresh = 0.0
        self.points: Points
        if reuse is not None and reuse.alive and reuse.points.ndim == min(image.ndim, 3):
            self._take_over(reuse)
        else:
            self.points = self._add_points()

    @property
    def alive(self) -> bool:
        """Whether the user has not removed the points."""
        return self.points in self._viewer.layers

    def show(self, review: Review, *, live: bool = False) -> None:
        """Show all detections with their verdicts; ``live`` leaves out what costs time and has not changed."""
        found, layer = review.found, self.points
        if live and len(found):
            layer.current_size = self._typical(review)
        layer.data = to_data(found.centre_nm, self._level, layer.ndim)
        if not len(found):
            return
        layer.features = features(found, review.status)
        if not live or review.reviewed or not review.shown.all():
            layer.size = self._sizes(found)
            layer.border_color = verdict_colours(review.status)
            layer.symbol = [SYMBOLS[s] for s in review.status]
            layer.shown = review.shown
        self._show_sections(found)

    def show_live(self, review: Review, *, force: bool = False) -> None:
        """As `show`, but never for more than a tenth of the time; also shows what the map holds by now."""
        now = time.perf_counter()
        if now < self._next_refresh and not force:
            return
        self.show(review, live=not force)
        if self._map is not None and self._map_is_live and self._map in self._viewer.layers:
            self._map.refresh(extent=False)
        self._next_refresh = time.perf_counter() + max(0.2, 9 * (time.perf_counter() - now))

    def show_verdict(self, review: Review, index: int) -> None:
        """Show a changed verdict."""
        layer = self.points
        colours, symbols = np.array(layer.border_color), list(layer.symbol)
        colours[index] = verdict_colours(review.status[index : index + 1])[0]
        symbols[index] = SYMBOLS[str(review.status[index])]
        layer.border_color, layer.symbol = colours, symbols
        features = layer.features.copy()
        features["status"] = review.status
        layer.features = features
        self.filter(review)

    def mark(self, index: int) -> None:
        """Make the current detection stand out, and the points the active layer, so that the keys are theirs."""
        widths = np.full(len(self.points.data), BORDER)
        widths[index] = 2 * BORDER
        self.points.border_width = widths
        self._viewer.layers.selection.active = self.points

    def filter(self, review: Review) -> None:
        """Hide what is below the threshold (and rejected masks)."""
        if len(review.found) == len(self.points.data):
            self.points.shown = review.shown
        if self._mask_layer is not None and self._mask_layer in self._viewer.layers:
            table = review.label_table()
            for array in self._masks:
                array.table = table
            self._mask_layer.refresh(extent=False)

    def show_map(self, out: Path) -> None:
        """Show the probability map of a running search, as soon as there is one; without points nothing is shown."""
        if self._map_is_live or not self.alive:
            return
        volume = live_map(out)
        if volume is None:
            return
        arrays, keywords = store_layer(volume, self._image, self._level)
        self._map_is_live = True
        if self._refill(self._map, arrays, keywords):
            return
        look = {"colormap": "inferno", "blending": "additive", "opacity": 0.6, "contrast_limits": (0, 255)}
        self._map = self._add("add_image", arrays, **keywords, **look, name=MAP)
        self._raise_points()

    def show_masks(self, review: Review) -> None:
        """Show the objects' masks, and hide the map they were read from."""
        if self._map is not None and self._map in self._viewer.layers:
            self._map.visible = False
        self._map_is_live = False
        if review.found.labels is None:
            return
        table = review.label_table()
        arrays, keywords = store_layer(review.found.labels, self._image, self._level)
        self._masks = [Relabelled(array, table) for array in arrays]
        if self._refill(self._mask_layer, self._masks, keywords):
            return
        layer = self._add("add_labels", self._masks, **keywords, name=MASKS, opacity=0.5)
        layer.editable = False
        self._mask_layer = layer
        self._raise_points()

    def training_layer(self, review: Review) -> Layer:
        """Accepted detections as a layer to train from: their masks where there are masks, else their centres."""
        accepted = review.status == ACCEPTED
        name = f"{TRAINING} {review.found.report.get('cascade', '')}".strip()
        if name in self._viewer.layers:
            self._viewer.layers.remove(name)
        if review.found.labels is not None:
            table = review.label_table(accepted)
            arrays, keywords = store_layer(review.found.labels, self._image, self._level)
            return self._viewer.add_labels(
                _one_or_many([Relabelled(a, table) for a in arrays]), **keywords, name=name, visible=False
            )
        data = to_data(review.found.centre_nm[accepted], self._level, self.points.ndim)
        look = {
            "symbol": "star",
            "face_color": OKABE_ITO["good"],
            "border_color": "white",
            "size": self._typical(review),
        }
        return self._viewer.add_points(data, **placed_on(self._image), **look, name=name)

    def _take_over(self, old: ResultLayers) -> None:
        """Empty the points of an earlier search and hide what else it showed."""
        self.points, self._map, self._mask_layer = old.points, old._map, old._mask_layer
        self.points.data = np.empty((0, self.points.ndim))
        for name, value in placed_on(self._image).items():
            setattr(self.points, name, value)
        for layer in (self._map, self._mask_layer):
            if layer is not None and layer in self._viewer.layers:
                layer.visible = False

    def _refill(self, layer: Layer | None, arrays: list[Any], keywords: dict[str, Any]) -> bool:
        """Show other arrays in a layer, where there is one of the same kind still."""
        if layer is None or layer not in self._viewer.layers or layer.multiscale != (len(arrays) > 1):
            return False
        layer.data = _one_or_many(arrays)
        for name, value in keywords.items():
            setattr(layer, name, value)
        layer.visible = True
        return True

    def _typical(self, review: Review) -> float:
        sizes = self._sizes(review.found)
        return float(np.median(sizes)) if len(sizes) else 10.0

    def _sizes(self, found: Detections) -> np.ndarray:
        """Point diameters in level 0 voxels: the longer side of the box across the usual view, at least 6."""
        extent = (found.box[:, 3:] - found.box[:, :3]) * self._box_factor
        return np.maximum(6.0, extent[:, 1:].max(axis=1) * 1.2)

    def _show_sections(self, found: Detections) -> None:
        """Show points also in sections near theirs: half the median object, unless the user chose a slice thickness."""
        dims = self._viewer.dims
        if any(dims.margin_left) or any(dims.margin_right):
            return
        extent = (found.box[:, 3:] - found.box[:, :3]) * self._box_factor
        n = min(self.points.ndim, 3)
        reach = np.median(extent[:, -n:], axis=0) / 2 * self._image.scale[-n:]
        margin = [0.0] * (dims.ndim - n) + [float(r) for r in reach]
        dims.margin_left = dims.margin_right = tuple(margin)

    def _add_points(self) -> Points:
        n = min(self._image.ndim, 3)
        return self._add(
            "add_points",
            np.empty((0, n)),
            **placed_on(self._image),
            ndim=n,
            name=POINTS,
            size=10,
            face_color="transparent",
            border_color=OKABE_ITO[NEW],
            border_width=BORDER,
            projection_mode="all",
        )

    def _add(self, how: str, data: Any, **keywords: Any) -> Any:
        data = _one_or_many(data) if isinstance(data, list) else data
        layer = getattr(self._viewer, how)(data, metadata={RESULT: True}, **keywords)
        self._viewer.layers.selection.active = getattr(self, "points", layer)
        return layer

    def _raise_points(self) -> None:
        layers = self._viewer.layers
        if self.points in layers:
            layers.move(layers.index(self.points), len(layers))


def features(found: Detections, status: np.ndarray) -> dict[str, np.ndarray]:
    """What napari shows of a point under the mouse."""
    return {
        "id": found.id,
        "score": np.round(found.score, 4),
        **{f"{axis}_nm": np.round(found.centre_nm[:, i], 1) for i, axis in enumerate("zyx")},
        "status": status,
    }


def verdict_colours(status: np.ndarray) -> np.ndarray:
    """RGBA (n, 4) of statuses (n,)."""
    colours = {s: np.asarray(ColorArray([OKABE_ITO[s]]))[0] for s in SYMBOLS}
    return np.stack([colours[str(s)] for s in status]) if len(status) else np.empty((0, 4))


def _one_or_many(arrays: list[Any]) -> Any:
    return arrays if len(arrays) > 1 else arrays[0]

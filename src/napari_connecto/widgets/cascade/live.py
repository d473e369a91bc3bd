"""Live search: scores of every level over what is in view, and objects where the finest level has looked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer, Points

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.widgets.cascade.depth import InDepth
from napari_connecto.widgets.cascade.jobs import Searching, load
from napari_connecto.widgets.cascade.layers import named
from napari_connecto.widgets.cascade.markers import BORDER, extents, sizes, unit
from napari_connecto.widgets.shared.commands import HERE
from napari_connecto.widgets.shared.live.held import held
from napari_connecto.widgets.shared.live.live import OPEN_IMAGE, LiveButton
from napari_connecto.widgets.shared.live.request import Look, Request
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.viewer.show import placed_on, to_data
from napari_connecto.widgets.viewer.view import OKABE_ITO, RESULT, selection_kept

if TYPE_CHECKING:
    from napari_connecto.compute.live.job import Asked, Seen
    from napari_connecto.compute.live.mosaic import Blocks
    from napari_connecto.core.volume import Level
    from napari_connecto.widgets.cascade.dock import CascadeWidget
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.live import Found

HEAT, OBJECTS, CENTRES = "live scores", "live objects", "live detections"


def live_button(dock: CascadeWidget) -> LiveButton:
    """The button *Live* of the dock."""
    changes, objects = (dock.image.changed, dock.cascade.changed, dock.options.changed), LiveObjects(dock._viewer)
    make, missing = lambda: _request(dock, objects), lambda: _missing(dock)
    button = LiveButton(dock._viewer, dock.bar, [dock.bar], make, changes, missing)
    button.closed.connect(objects.release)
    return button


def _missing(dock: CascadeWidget) -> str:
    if dock.image.layer is None:
        return OPEN_IMAGE
    return "" if dock.cascade.peeked is not None else "choose a detector"


def live_search_job(search: Searching, asked: Asked, blocks: Blocks) -> Job[None]:
    """Search what is asked for, into the folder of the search; here, or on the cluster at the chosen address."""
    yield from torch_job()
    from napari_connecto.compute.live.job import live_job
    from napari_connecto.workflows.cascade.live import LiveSearch

    yield Progress(0, 0, "loading the detector")
    cascade = load(search.model)

    def make(client: Any) -> Job[None]:
        with held(search.out):
            yield from live_job(LiveSearch(search.volume, cascade, search.params, search.out, blocks, client), asked)

    search = replace(search, run_on=search.run_on if search.run_on.scheduler else HERE)
    yield from search.job(make)


def _request(dock: CascadeWidget, objects: LiveObjects) -> Request:
    dock.image.settle()
    search, image, full, peeked = dock.search(), dock.image.layer, dock.image.full, dock.cascade.peeked
    if image is None or full is None or peeked is None:
        raise InputError("no image or cascade is chosen; choose both")
    level, by = full.levels[0], search.model.name
    objects.begin(image, level, np.array(peeked.voxel_nm) / level.voxel_nm, by)
    heat = {"colormap": "inferno", "blending": "additive", "opacity": 0.7, "contrast_limits": (0.0, 1.0)}
    return Request(
        image,
        level,
        search.volume,
        (search.out, search.model),
        lambda asked, blocks: live_search_job(search, asked, blocks),
        {"scores": Look(named(HEAT, by), heat), "objects": Look(named(OBJECTS, by), {"opacity": 0.6})},
        depth=peeked.diameter_nm / level.voxel_nm[0],
        watch=objects.show,
        shown=lambda: objects.shown,
    )


class LiveObjects:
    """The points layer of a live search for centres; objects of chunks that left the view stay."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._image: Layer | None = None
        self._level: Level | None = None
        self._factor, self._by = np.ones(3), ""
        self._points: Points | None = None
        self._found: Detections | None = None
        self._in_depth = InDepth(viewer)

    @property
    def shown(self) -> list[Layer]:
        """The layer, if there is one."""
        return [] if self._points is None or self._points not in self._viewer.layers else [self._points]

    def release(self) -> None:
        """Stop following the viewer."""
        self._in_depth.release()

    def begin(self, image: Layer, level: Level, factor: np.ndarray, by: str) -> None:
        """Objects on this image layer, whose level 0 is ``level``; their boxes are in voxels ``factor`` times as large.

        Another image or cascade gets a layer of its own. Thresholds may have changed, so objects are asked for anew.
        """
        if (image, by) != (self._image, self._by):
            self._points = None
        self._image, self._level, self._factor, self._by = image, level, factor, by
        self._found = None

    def show(self, seen: Seen) -> None:
        """Show what a live search has found, unless that is masks."""
        found: Found | None = seen.derived
        if found is None or seen.work.masks:  # type: ignore[attr-defined]  # a `LiveSearch`
            return
        from napari_connecto.workflows.cascade.detections import join

        new, old = found.objects, self._found
        if old is not None and len(old):
            new = join([old.where(found.outside(old.centre_nm)), new])
        self._found = new
        if old is None or not (_same(old.centre_nm, new.centre_nm) and _same(old.score, new.score)):
            self._show(new)

    def _show(self, found: Detections) -> None:
        if not self.shown and not len(found):
            return
        assert self._image is not None
        assert self._level is not None
        n, extent = min(self._image.ndim, 3), extents(found, self._factor)
        place = placed_on(self._image)
        units = unit(extent, 0.0, n) if len(found) else np.ones(n)
        data = to_data(found.centre_nm, self._level, n) / units
        if not self.shown:
            look = {"face_color": "transparent", "border_color": OKABE_ITO["new"], "border_width": BORDER}
            look |= {"name": named(CENTRES, self._by), "projection_mode": "none", "metadata": {RESULT: True}}
            with selection_kept(self._viewer, self._image):
                self._points = self._viewer.add_points(np.empty((0, n)), ndim=n, **place, **look)
        layer = self._points
        assert layer is not None
        if not _same(layer.scale, place["scale"] * units):
            layer.scale = place["scale"] * units
        if len(found):  # of all points: setting it of each would redraw them before napari has sliced fewer ones
            layer.current_size = float(np.median(sizes(extent))) / units[-1]
        layer.data = data
        layer.features = {"score": np.round(found.score, 4)}
        if len(found):
            self._in_depth.show(layer, np.ones(len(found), bool), np.maximum(extent[:, 0], 1.0) / units[0])


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether nothing has to be drawn anew, which takes napari a while."""
    return np.array_equal(one, other)

"""Adding missed objects by clicks in the viewer."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QObject, Signal

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.shared.clicks import still_clicks
from napari_connecto.widgets.shared.frame.keys import Keys
from napari_connecto.widgets.shared.worker import Worker
from napari_connecto.widgets.viewer.layers import world_factor

if TYPE_CHECKING:
    from napari.layers import Image
    from qtpy.QtWidgets import QWidget

MOST_VOXELS = 2**27


class AddMode(QObject):
    """While it is on, a click in the image is a missed object; Escape ends it.

    In a 3-D view the object is taken where the image is brightest along the line of sight (darkest, if the layer is
    rendered that way), on the coarsest level. Signals: ``placed(position in nm, (3,))``, ``changed(bool)`` when the
    mode begins or ends, ``failed(error, traceback text)``.
    """

    placed = Signal(object)
    changed = Signal(bool)
    failed = Signal(object, str)

    def __init__(self, viewer: Any, parent: QWidget) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._image: Image | None = None
        self._volume: Volume | None = None
        self._keys = Keys(parent)
        self._on_mouse = still_clicks(self._on_click)
        self._worker = Worker("line of sight", self, quiet=True)
        self._worker.returned.connect(self.placed)
        self._worker.failed.connect(self.failed)

    @property
    def on(self) -> bool:
        """Whether clicks are objects."""
        return self._image is not None

    def enter(self, image: Image, volume: Volume) -> None:
        """From now on a click in this image, which is open as ``volume``, is an object."""
        self.leave()
        self._image, self._volume = image, volume
        self._viewer.layers.selection.active = image  # a layer being edited would take the click, too
        self._viewer.mouse_drag_callbacks.append(self._on_mouse)
        self._keys.bind((self._viewer, image), {"Escape": self.leave})
        self._viewer.cursor.style = "crosshair"
        self.changed.emit(True)

    def leave(self) -> None:
        """End the mode."""
        if self._image is None:
            return
        self._image = self._volume = None
        with suppress(ValueError):
            self._viewer.mouse_drag_callbacks.remove(self._on_mouse)
        self._keys.release()
        self._viewer.cursor.style = "standard"
        self.changed.emit(False)

    def close_jobs(self) -> None:
        """End the mode, and any look along a line of sight."""
        self.leave()
        self._worker.close()

    def _on_click(self, event: Any) -> None:
        image, volume = self._image, self._volume
        if image is None or volume is None:
            return
        factor = world_factor(image, self._viewer.layers.units)
        position = np.asarray(event.position, float)[-image.ndim :] / factor
        if len(event.dims_displayed) < 3:
            place = _place(image.world_to_data(position), volume.levels[0])
            if place is None:
                self.failed.emit(InputError(f"that point is outside '{image.name}'; click inside it"), "")
            else:
                self.placed.emit(place)
            return
        shown = [axis - (self._viewer.dims.ndim - image.ndim) for axis in event.dims_displayed]
        direction = np.asarray(event.view_direction, float)[-image.ndim :] / factor
        near, far = image.get_ray_intersections(position, direction, shown, world=True)
        if near is None or far is None:
            self.failed.emit(InputError(f"that line of sight misses '{image.name}'; click inside it"), "")
            return
        ends = np.array([near, far], float)[:, -3:]
        dark = str(getattr(image, "rendering", "")) == "minip"
        self._worker.start(lambda: sight_job(volume, ends, dark))


def _place(data: Any, level: Level) -> np.ndarray | None:
    """The position in nm of data coordinates of an image layer with two or more axes; None outside."""
    at = np.concatenate([np.zeros(3), np.asarray(data, float)])[-3:] if len(data) < 3 else np.asarray(data, float)[-3:]
    voxels = at + 0.5
    inside = ((voxels >= 0) & (voxels < level.shape)).all()
    return np.asarray(level.to_nm(voxels)) if inside else None


def sight_job(volume: Volume, ends: np.ndarray, dark: bool) -> Job[np.ndarray]:
    """The position in nm of the brightest (or darkest) voxel between two points (2, 3), in voxels of level 0.

    Raises
    ------
    InputError
        If the line of sight crosses more of the coarsest level than should be read for a click.
    """
    yield Progress(0, 1, "reading the line of sight")
    level = volume.levels[-1]
    line = level.to_voxels(volume.levels[0].to_nm(np.linspace(ends[0] + 0.5, ends[1] + 0.5, 512)))
    at = np.clip(np.floor(line), 0, np.array(level.shape) - 1).astype(int)
    box = Box(vec3(at.min(axis=0).tolist()), vec3((at.max(axis=0) + 1).tolist()))
    if box.size > MOST_VOXELS:
        raise InputError("the image has no level coarse enough for a click in 3-D; add missed objects in the 2-D view")
    block = level.read(box)
    block = block if block.ndim == 3 else block[0]
    values = np.nan_to_num(block[tuple((at - box.start).T)].astype(float), nan=np.inf if dark else -np.inf)
    return np.asarray(level.to_nm(line[np.argmin(values) if dark else np.argmax(values)]))

"""Read around damaged chunks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.views.wrapped import Wrapped
from napari_connecto.core.volume import Level

LEAST = 16
"""Side in voxels below which a box is no longer divided to find readable parts."""


def readable(level: Level, box: Box) -> np.ndarray:
    """The values (n,) in ``box``, in any order, without those in or near a damaged chunk."""
    try:
        return level.read(box).ravel()
    except ChunkError:
        side = max(box.shape)
        if side <= LEAST:
            return np.empty(0, level.dtype)
    axis = box.shape.index(side)
    start, stop = list(box.start), list(box.stop)
    start[axis] = stop[axis] = box.start[axis] + side // 2
    return np.concatenate([readable(level, Box(box.start, vec3(stop))), readable(level, Box(vec3(start), box.stop))])


def holed(level: Level) -> Level:
    """The level as floats, with NaN for every read that touches a damaged chunk."""
    return replace(level, array=_Holed(level.array))


class _Holed(Wrapped):
    @property
    def dtype(self) -> np.dtype:
        """The float type that holds every value of the array, so that NaN can be stored."""
        return np.result_type(self.array.dtype, np.float32)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        try:
            return np.asarray(self.array[index], self.dtype)
        except ChunkError:
            space = [part.stop - part.start for part in index[-3:]]
            return np.full((*self.shape[:-3], *space), np.nan, self.dtype)

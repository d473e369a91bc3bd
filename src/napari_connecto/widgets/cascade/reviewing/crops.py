"""Sections around detections, read lazily: no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from napari_connecto.core.errors import ConnectoError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Level, Volume

WIDTH = 3.0
"""Width of a crop, in diameters of an object."""
MOST = 128
"""Voxels across a crop at most: larger ones are read from a coarser level, if there is one."""


def crop(volume: Volume, centre_nm: np.ndarray, diameter_nm: float) -> np.ndarray:
    """The section through a position, (y, x), or (y, x, channel) of images with channels; edges are repeated.

    Parameters
    ----------
    volume
        Its finest level on which the crop has at most `MOST` voxels across is read.
    centre_nm
        (3,) position in nm, (z, y, x).
    diameter_nm
        Of an object; the crop is `WIDTH` times as wide, at least 9 voxels.
    """
    across = WIDTH * diameter_nm
    fits = (level for level in volume.levels if across <= MOST * max(level.voxel_nm[1:]))
    level = next(fits, volume.levels[-1])
    block = level.read_padded(_window(level, centre_nm, min(across, MOST * max(level.voxel_nm[1:]))))
    return block[0] if block.ndim == 3 else np.moveaxis(block[:, 0], 0, -1)


def _window(level: Level, centre_nm: np.ndarray, across: float) -> Box:
    at = np.clip(np.floor(level.to_voxels(centre_nm)), 0, np.array(level.shape) - 1)
    half = np.maximum(np.round(across / 2 / np.array(level.voxel_nm)), 4) * [0, 1, 1]
    return Box(vec3((at - half).tolist()), vec3((at + half + 1).tolist()))


def crops_job(volume: Volume, centres_nm: np.ndarray, keys: Sequence[Any], diameter_nm: float) -> Job[None]:
    """Read the crop at each position (n, 3); reports ``(key, crop)`` as each is read.

    A crop that cannot be read is one black voxel: the search has told of damaged data.
    """
    for i, (key, centre) in enumerate(zip(keys, centres_nm, strict=True)):
        picture = np.zeros((1, 1))
        with suppress(ConnectoError, OSError):
            picture = crop(volume, centre, diameter_nm)
        yield Progress(i, len(keys), "reading", (key, picture))

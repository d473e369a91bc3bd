"""Values of a level that is too large to be read for a histogram."""

from __future__ import annotations

from itertools import pairwise, product
from math import prod
from typing import Any

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.views.holes import readable
from napari_connecto.core.volume import Level

PLACES = (4, 2)
"""Places along each axis: the first that takes little decoding."""


def sampled(level: Level, max_voxels: int, *, spread: bool = False, damaged: bool = False) -> np.ndarray:
    """At most about ``max_voxels`` values, or all there are.

    Parameters
    ----------
    level
        Of any size.
    max_voxels
        To read; of large chunks a few times as many are decoded.
    spread
        From places spread over the level; else from its middle.
    damaged
        Leave out chunks that cannot be read, instead of raising.
    """
    chunks = getattr(level.array, "chunks", None)
    parts = _spread(level.box, max_voxels, chunks) if spread else [level.box]
    parts = [_central_part(part, max(8, max_voxels // len(parts)), chunks) for part in parts]
    read = [readable(level, part) if damaged else level.read(part) for part in parts]
    return read[0] if len(read) == 1 else np.concatenate([values.ravel() for values in read])


def _spread(box: Box, max_voxels: int, chunks: Any) -> list[Box]:
    """A box in parts, of each of which the middle is to be read; few where chunks are large, one to read it all."""
    sizes = list(chunks)[-3:] if chunks else []
    decoded = prod(sizes) if len(sizes) == 3 and all(isinstance(c, int) for c in sizes) else 1
    fitting = (n for n in PLACES if prod(min(n, side) for side in box.shape) * decoded <= 4 * max_voxels)
    each = 1 if box.size <= max_voxels else next(fitting, 1)
    ends = [np.linspace(0, n, min(each, n) + 1).astype(int).tolist() for n in box.shape]
    spans = product(*(pairwise(along) for along in ends))
    return [Box(vec3([a for a, _ in part]), vec3([b for _, b in part])) for part in spans]


def _central_part(box: Box, max_voxels: int, chunks: Any = None) -> Box:
    """The middle of a box; where chunks are large, so little that few of them have to be decoded for it."""
    while box.size > max_voxels:
        box = box.grow([-max(1, n // 8) if n > 2 else 0 for n in box.shape])
    sizes = list(chunks)[-3:] if chunks else []
    if len(sizes) < 3 or not all(isinstance(c, int) for c in sizes):
        return box
    while True:
        touched = [-(-b // c) - a // c for a, b, c in zip(box.start, box.stop, sizes, strict=True)]
        if prod(touched) * prod(sizes) <= 4 * max_voxels or max(touched) == 1:
            return box
        axis = touched.index(max(touched))
        start, stop = list(box.start), list(box.stop)
        if box.stop[axis] % sizes[axis] and box.stop[axis] // sizes[axis] * sizes[axis] > start[axis]:
            stop[axis] = box.stop[axis] // sizes[axis] * sizes[axis]
        else:
            start[axis] = min(stop[axis] - 1, (start[axis] // sizes[axis] + 1) * sizes[axis])
        box = Box(vec3(start), vec3(stop))

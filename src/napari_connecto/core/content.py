"""A digest of voxels, which identifies volumes in memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box, vec3

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_connecto.core.volume import Level

WHOLE_BYTES = 64 * 2**20
"""Largest level that is read as a whole."""
BLOCKS, SIDE = 4, 16
"""For a larger one: blocks along each axis, and their side length in voxels."""


def content_digest(levels: Sequence[Level], whole_bytes: int = WHOLE_BYTES) -> str:
    """What voxels are, 32 hexadecimal digits; the same for the same voxels, however they are stored or chunked.

    Parameters
    ----------
    levels
        Finest first. A chunk that cannot be read counts as such.
    whole_bytes
        The finest level is read whole up to this size; else 64 blocks of 16 x 16 x 16 voxels, spread evenly from
        corner to corner, and the coarsest level where that is small: a change between these is not seen.
    """
    finest, coarsest = levels[0], levels[-1]
    if finest.nbytes <= whole_bytes:
        parts = [(finest, _slabs(finest))]
    else:
        small = coarsest.nbytes <= whole_bytes
        parts = [(finest, _spread(finest)), *([(coarsest, _slabs(coarsest))] if small else [])]
    digest = hashlib.blake2b(digest_size=16)
    for level, boxes in parts:
        for box in boxes:
            digest.update(repr((level.shape, box)).encode())
            digest.update(_bytes(level, box))
    return digest.hexdigest()


def _bytes(level: Level, box: Box) -> bytes:
    try:
        return np.ascontiguousarray(level.read(box)).tobytes()
    except ChunkError:
        return b"unreadable"


def _slabs(level: Level) -> Iterator[Box]:
    """A level in slabs of 16 sections, so that a damaged chunk affects only its neighbours."""
    depth, *plane = level.shape
    for z in range(0, depth, SIDE):
        yield Box((z, 0, 0), vec3([min(z + SIDE, depth), *plane]))


def _spread(level: Level) -> Iterator[Box]:
    starts = [sorted(set(np.linspace(0, max(0, n - SIDE), BLOCKS).astype(int).tolist())) for n in level.shape]
    for start in product(*starts):
        yield Box(vec3(start), vec3([a + SIDE for a in start])).clip(level.shape)

"""The array of a layer with the axes of a volume's level."""

from __future__ import annotations

import weakref
from itertools import count
from typing import Any

import numpy as np

from napari_connecto.core.geometry import Vec3, vec3

_serials: dict[int, tuple[weakref.ref[Any], int]] = {}
_counter = count(1)


def serial(thing: Any) -> int:
    """A number that, unlike an id, is never reused while Python runs; negative if only the id is known."""
    try:
        reference = weakref.ref(thing)
    except TypeError:
        return -id(thing)
    known = _serials.get(id(thing))
    if known is None or known[0]() is not thing:
        known = _serials[id(thing)] = (reference, next(_counter))
    return known[1]


class Spatial:
    """An array with any axes as (z, y, x), or (c, z, y, x) for RGB; reads only what is requested.

    Of RGB all colours without opacity, or only ``channel``.
    """

    def __init__(self, array: Any, leading: tuple[int, ...], flat: bool, rgb: bool, channel: int | None = None) -> None:
        self.array, self.leading, self.flat, self.rgb, self.channel = array, leading, flat, rgb, channel
        self.dtype = np.dtype(array.dtype)
        space = tuple(int(n) for n in array.shape[len(leading) : len(leading) + (2 if flat else 3)])
        colours = (min(3, int(array.shape[-1])),) if rgb and channel is None else ()
        self.shape = colours + ((1,) if flat else ()) + space
        chunks = getattr(array, "chunks", None)
        if chunks is not None and not rgb:
            sizes = [max(c) if isinstance(c, tuple) else int(c) for c in chunks[len(leading) :]]
            self.chunks: Vec3 = vec3(([1] if flat else []) + sizes)

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for the same part of the same array."""
        return serial(self.array), self.leading, self.channel

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        space = (y, x) if self.flat else (z, y, x)
        colours = () if not self.rgb else (slice(0, 3) if self.channel is None else self.channel,)
        block = np.asarray(self.array[(*self.leading, *space, *colours)])
        block = block[None][z] if self.flat else block
        return np.moveaxis(block, -1, 0) if self.rgb and self.channel is None else block

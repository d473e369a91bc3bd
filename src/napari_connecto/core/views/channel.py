"""One channel of an image, read as an image without channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.views.wrapped import Wrapped
from napari_connecto.core.volume import Volume


def one_channel(volume: Volume, channel: int) -> Volume:
    """The volume's channel of this number, from 0, lazily; of a volume without channels, the volume itself."""
    if volume.levels[0].channels is None:
        return volume
    levels = tuple(replace(level, array=_Channel(level.array, channel)) for level in volume.levels)
    revision = f"{volume.metadata.get('revision', '')} channel {channel}".strip()
    return replace(volume, levels=levels, metadata={**volume.metadata, "revision": revision})


@dataclass(frozen=True)
class _Channel(Wrapped):
    """(z, y, x) of an array (c, z, y, x)."""

    channel: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        return tuple(self.array.shape[1:])

    def __getitem__(self, key: Any) -> np.ndarray:
        """Voxels of a slice ``array[z, y, x]``."""
        key = key if isinstance(key, tuple) else (key,)
        rest = key[1:] if key and key[0] is Ellipsis else key
        return np.asarray(self.array[(slice(self.channel, self.channel + 1), *rest)])[0]

"""Labels with some ids removed, lazily: nothing is copied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.views.wrapped import Wrapped
from napari_connecto.core.volume import Volume


@dataclass(frozen=True)
class _Without(Wrapped):
    ids: np.ndarray

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        block = np.asarray(self.array[index])
        return np.where(np.isin(block, self.ids), 0, block).astype(block.dtype, copy=False)


def without(volume: Volume, ids: Iterable[int]) -> Volume:
    """A volume of labels in which these ids are background, on every level."""
    left_out = np.unique(np.fromiter(ids, np.int64))
    return replace(volume, levels=tuple(replace(x, array=_Without(x.array, left_out)) for x in volume.levels))

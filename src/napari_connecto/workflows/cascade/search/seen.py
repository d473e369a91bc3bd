"""A map restricted to the chunks of this search, without those that an earlier search of the folder computed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.views.wrapped import Wrapped
from napari_connecto.core.volume import Level


@dataclass(frozen=True)
class _OnlyTiles(Wrapped):
    """An array that reads as 0 outside of some tiles of its plan."""

    plan: TilePlan
    tiles: np.ndarray

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        z, y, x = index[-3:]
        box = Box((z.start, y.start, x.start), (z.stop, y.stop, x.stop))
        block = np.array(self.array[index])
        there = self.plan.touching([box])
        for tile in self.plan.tiles(there[~np.isin(there, self.tiles)]):
            block[tile.write.clip(box).shift([-v for v in box.start]).slices] = 0
        return block


def only(level: Level, plan: TilePlan, tiles: np.ndarray) -> Level:
    """``level`` (z, y, x), 0 outside of ``tiles`` (indices in ``plan``)."""
    return replace(level, array=_OnlyTiles(level.array, plan, tiles))

"""Painted pixels: the tiles that hold them, and their weights in the margin."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Output, Predictor
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.nets.nets import divisor

SMALL = 128
"""Extent of a tile along y and x where the network takes any: painted pixels lie close together."""


@dataclass(frozen=True)
class Painted:
    """Pixels painted in one tile, (z, y, x) of what it owns.

    Parameters
    ----------
    missed, background
        Bool.
    """

    tile: Tile
    missed: np.ndarray
    background: np.ndarray

    def weight(self, output: Output, n_missed: int, n_background: int) -> np.ndarray:
        """What the tile's logits (z, y, x) weigh in mean(missed) - mean(background) over all tiles."""
        whole = np.zeros(self.tile.read.shape)
        inside = self.tile.write.shift(tuple(-a for a in self.tile.read.start)).slices
        whole[inside] = self.missed / n_missed - self.background / n_background
        left = tuple(slice(t, n - t) for t, n in zip(output.trimmed, whole.shape, strict=True))
        whole, (sz, sy, sx) = whole[left], output.stride
        z, y, x = whole.shape
        return whole.reshape(z // sz, sz, y // sy, sy, x // sx, sx).sum((1, 3, 5))


def tile_plan(model: Predictor, shape: Sequence[int]) -> TilePlan:
    """Small tiles with the card's halo where the network takes them, else the card's."""
    card = model.card
    inner = getattr(model, "model", model)
    return TilePlan(vec3(shape), _small(card) if getattr(inner, "any_tile", False) else card.tile, card.halo)


def _small(card: ModelCard) -> Vec3:
    step = divisor(card.network)
    wanted = (card.tile[0], *(min(SMALL, t) for t in card.tile[1:]))
    return vec3([max(s, n // s * s) for n, s in zip(wanted, step, strict=True)])


def label_of(labels: Volume, value: int) -> Volume:
    """1 where labels have this value, 0 elsewhere, read lazily."""
    levels = tuple(replace(level, array=_Is(level.array, value)) for level in labels.levels)
    return replace(labels, levels=levels, source="")


@dataclass(frozen=True)
class _Is(ChunkWise):
    value: int

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> np.ndarray:
        return (np.asarray(self.array[key]) == self.value).astype(np.uint8)


def painted_job(missed: Level, background: Level, plan: TilePlan, most: int, region: Box | None) -> Job[list[Painted]]:
    """The tiles with most painted pixels, at most ``most`` (one more if those have no background).

    Raises
    ------
    InputError
        If nothing is painted as missed, or as background.
    """
    counts: list[tuple[int, int, Tile]] = []
    for n, tile in enumerate(plan):
        if n % 64 == 0:
            yield Progress(n, len(plan), "looking for painted pixels")
        here = _painted(missed, background, tile, region)
        if here is not None and (here.missed.any() or here.background.any()):
            counts.append((int(here.missed.sum()), int(here.background.sum()), tile))
    for name, of in (("missed", 0), ("background", 1)):
        if not any(count[of] for count in counts):
            where = "" if region is None else " in the region"
            raise InputError(f"got no pixel painted as {name}{where}; paint some, any label but 0")
    best = sorted(counts, key=lambda c: (-min(c[0], 1), -c[0] - c[1]))[:most]
    if not any(count[1] for count in best):
        best.append(max(counts, key=lambda c: c[1]))
    found = [_painted(missed, background, tile, region) for _, _, tile in best]
    return [painted for painted in found if painted is not None]


def _painted(missed: Level, background: Level, tile: Tile, region: Box | None) -> Painted | None:
    box = tile.write
    common = box if region is None else _common(box, region)
    if common.size == 0:
        return None
    masks = []
    for level in (missed, background):
        mask = np.zeros(box.shape, bool)
        mask[common.shift(tuple(-a for a in box.start)).slices] = level.read(common) != 0
        masks.append(mask)
    return Painted(tile, masks[0], masks[1] & ~masks[0])


def _common(a: Box, b: Box) -> Box:
    start = [max(i, j) for i, j in zip(a.start, b.start, strict=True)]
    stop = [max(i, min(j, k)) for i, j, k in zip(start, a.stop, b.stop, strict=True)]
    return Box(vec3(start), vec3(stop))

"""Places of a volume that every model segments, on one grid, so that their segmentations can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level, is_flat
from napari_connecto.core.geometry import Box, fvec3, vec3
from napari_connecto.core.model import ModelCard
from napari_connecto.core.shown import shown
from napari_connecto.core.views.resample import resampled
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.patches import candidates

LEAST = 32
"""Smallest extent of a place along y and x in a model's own voxels: a network sees little in a smaller one."""
CONTEXT = 16
"""Voxels of the model read around a place in plane, at most; farther out, edges are repeated."""


@shown
@dataclass(frozen=True)
class Places:
    """Single sections of tissue that are segmented.

    Parameters
    ----------
    grid
        Level on whose voxels segmentations are compared: the image's, or those of the model with the smallest voxels
        if the image's are smaller still.
    boxes
        In voxels of the grid, one section each.
    skipped
        Places that were read and discarded as empty.
    """

    grid: Level
    boxes: tuple[Box, ...]
    skipped: int

    def image(self, n: int) -> np.ndarray:
        """Place number ``n``, (y, x), as stored (the first channel)."""
        block = self.grid.read(self.boxes[n])
        return np.asarray(block[0, 0] if block.ndim == 4 else block[0])

    def level(self, n: int, array: np.ndarray) -> Level:
        """An array (y, x) on the voxels of place ``n``, at its position in the volume."""
        origin = self.grid.to_nm(self.boxes[n].start)
        return Level(array[None], self.grid.voxel_nm, fvec3(origin.tolist()))


def draw_places(volume: Volume, cards: Sequence[ModelCard], count: int, size: int, seed: int = 0) -> Places:
    """Draw places that hold tissue.

    Parameters
    ----------
    volume
        Image with a voxel size.
    cards
        Of the models that are to segment them.
    count, size
        Number of places, and their extent along y and x in voxels of the grid; less if the volume is smaller.
    seed
        Random seed of their positions.

    Raises
    ------
    InputError
        If no place holds tissue.
    """
    grid = common_grid(volume, cards)
    extent = vec3((1, *(min(size, n) for n in grid.shape[1:])))
    found = candidates(grid, extent, count, seed)
    if not found.boxes:
        raise InputError(
            f"'{volume.name}' has no places of tissue of {extent[1]} x {extent[2]} voxels ({found.skipped_empty} were "
            "empty): choose another part of the image, or smaller places (--place)"
        )
    return Places(grid, found.boxes, found.skipped_empty)


def common_grid(volume: Volume, cards: Sequence[ModelCard]) -> Level:
    """See `Places`."""
    finest = volume.levels[0]
    least = min((card.voxel_nm[2] for card in cards), default=finest.voxel_nm[2])
    wanted = fvec3((finest.voxel_nm[0], *(max(v, least) for v in finest.voxel_nm[1:])))
    fine = [level for level in volume.levels if _serves(level, finest, wanted[2])]
    return resampled(fine[-1], wanted)


def _serves(level: Level, finest: Level, voxel: float) -> bool:
    return level.shape[0] == finest.shape[0] and (level is finest or max(level.voxel_nm[1:]) <= voxel * 1.02)


@dataclass(frozen=True)
class View:
    """What one model reads at a place: an array (z, y, x) with context around it, of a level, from ``start`` on."""

    image: np.ndarray
    level: Level
    start: tuple[int, int, int]

    def on_grid(self, answer: np.ndarray, places: Places, n: int) -> np.ndarray:
        """A map of the model (z, y, x) on the voxels of place ``n``, (y, x): linear interpolation between centres."""
        box = places.boxes[n]
        centre = places.grid.to_nm(np.asarray(box.start) + 0.5)
        z = int(np.clip(self.level.to_voxels(centre)[0] - self.start[0], 0, len(answer) - 1))
        plane = answer[z]
        for axis in (0, 1):
            own = np.zeros((box.shape[axis + 1], 3))
            own[:, axis + 1] = np.arange(box.start[axis + 1], box.stop[axis + 1]) + 0.5
            at = self.level.to_voxels(places.grid.to_nm(own))[:, axis + 1] - self.start[axis + 1] - 0.5
            plane = np.moveaxis(_interpolated(np.moveaxis(plane, axis, 0), at), 0, axis)
        return np.clip(plane, 0.0, 1.0).astype(np.float32)


def view(volume: Volume, card: ModelCard, places: Places, n: int) -> View:
    """What a model reads at place ``n``, not yet scaled.

    Raises
    ------
    InputError
        If the place has too few of the model's voxels.
    VoxelSizeError
        As `fitting_level`.
    """
    level = fitting_level(volume, card)
    own = places.grid.box_in(places.boxes[n], level).clip(level.shape)
    if min(own.shape[1:]) < LEAST:
        side = max(ceil(LEAST * v / w) for v, w in zip(card.voxel_nm[1:], places.grid.voxel_nm[1:], strict=True))
        room = min(places.grid.shape[1:])
        advice = f"choose places of {side} voxels or more (--place)"
        if side > room:
            advice = f"places would need {side} voxels, and the image has {room}: use a larger image or another model"
        raise InputError(
            f"a place has {own.shape[1]} x {own.shape[2]} voxels of this model, at least {LEAST} are needed: {advice}"
        )
    depth = card.halo[0] if is_flat(card) else max(card.halo[0], card.tile[0] // 2)
    read = own.grow((depth, *(min(CONTEXT, n) for n in card.halo[1:]))).clip(level.shape)
    return View(np.asarray(level.read(read)), level, read.start)


def _interpolated(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of ``values`` at fractional indices; edge rows are repeated outside."""
    low = np.clip(np.floor(at).astype(int), 0, len(values) - 1)
    high = np.minimum(low + 1, len(values) - 1)
    share = np.clip(at - low, 0.0, 1.0)[:, None]
    return values[low] * (1 - share) + values[high] * share

"""Windows of an image around places, what a network answers in the disc in their middle, and discs put there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.predict import check_channels, owned, read_tile
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inspect.patching import answers_with
from napari_connecto.models.inspect.taps import Change, Network, network
from napari_connecto.models.nets.nets import divisor
from napari_connecto.workflows.inspect.missed.painted import tile_plan

FEATHER = 2.0
"""Voxels over which a disc fades into its surroundings."""
MARGIN = 3
"""Voxels between a disc in an empty place and the nearest object."""


@dataclass(frozen=True)
class Windows:
    """A model and the image it reads.

    Parameters
    ----------
    opened, level, scaling
        Network and image.
    plan
        Tiles of the image.
    tile
        Extent of a window without its halo.
    side
        Diameter of a disc, odd.
    """

    opened: Network
    level: Level
    scaling: Scaling
    plan: TilePlan
    tile: Vec3
    side: int
    output: int = 0

    @classmethod
    def of(cls, model: Predictor, image: Volume, side: int) -> Windows:
        """Opened; the smallest window that holds a disc."""
        card = model.card
        if side < 3 or card.outputs[0].stride != (1, 1, 1):
            raise InputError(
                f"got a disc of {side} voxels and an output of stride {card.outputs[0].stride}; need >= 3, 1"
            )
        level = card.level_in(image)
        check_channels(level, card)
        plan, side = tile_plan(model, level.shape), side // 2 * 2 + 1
        tile = card.tile
        if plan.tile != card.tile or getattr(getattr(model, "model", model), "any_tile", False):
            step = divisor(card.network)
            tile = vec3([card.tile[0], *(-(-side // s) * s for s in step[1:])])
        return cls(network(model), level, card.normalisation.resolve(image), plan, tile, side)

    def tiles(self, source: Box) -> Iterator[tuple[Tile, np.ndarray]]:
        """Tiles that touch a box, and what they read, (c, z, y, x), scaled."""
        for index in self.plan.touching([source]):
            tile = self.plan[int(index)]
            yield tile, self._read(tile)

    def around(self, at: Sequence[int]) -> np.ndarray:
        """The window with this voxel in its middle, (c, z, y, x), scaled."""
        return self._read(self._window(at))

    def disc(self, at: Sequence[int]) -> np.ndarray:
        """A square (c, side, side) of one section, scaled."""
        start = [at[0], *(c - self.side // 2 for c in at[1:])]
        box = Box(vec3(start), vec3([start[0] + 1, *(s + self.side for s in start[1:])]))
        return self._read(Tile(0, box, box))[:, 0]

    def called(self, windows: np.ndarray, changes: Mapping[str, Change]) -> list[tuple[float, float]]:
        """Of windows (n, c, z, y, x): share of the disc in their middle with a logit above 0, and its mean logit."""
        logits = answers_with(self.opened, windows, changes, self.output)
        z, y, x = (n // 2 for n in logits.shape[1:])
        half = self.side // 2
        inside = fading(self.side) > 0
        discs = logits[:, z, y - half : y + half + 1, x - half : x + half + 1][:, inside]
        return [(float((d > 0).mean()), float(d.mean())) for d in discs]

    def kept(self, source: Box, changes: Mapping[str, Change]) -> float:
        """Share of the pixels called an object around ``source`` that still are with these changes."""
        before = after = 0
        for tile, patch in self.tiles(source):
            plain, changed = self._owned(tile, patch, {}) > 0, self._owned(tile, patch, changes) > 0
            before, after = before + int(plain.sum()), after + int((plain & changed).sum())
        return after / before if before else 1.0

    def logits(self, tile: Tile) -> np.ndarray:
        """Of what a tile owns, (z, y, x)."""
        return self._owned(tile, self._read(tile), {})

    def _owned(self, tile: Tile, patch: np.ndarray, changes: Mapping[str, Change]) -> np.ndarray:
        [logits] = answers_with(self.opened, patch[None], changes, self.output)
        return owned(tile, logits, self.opened.card.outputs[self.output])

    def _window(self, at: Sequence[int]) -> Tile:
        start = [c - t // 2 for c, t in zip(at, self.tile, strict=True)]
        box = Box(vec3(start), vec3([s + t for s, t in zip(start, self.tile, strict=True)]))
        halo = self.plan.halo
        read = [
            [s - h for s, h in zip(box.start, halo, strict=True)],
            [s + h for s, h in zip(box.stop, halo, strict=True)],
        ]
        return Tile(0, box, Box(vec3(read[0]), vec3(read[1])))

    def _read(self, tile: Tile) -> np.ndarray:
        block: Any = read_tile(self.level, tile)
        return self.scaling(block)


def fading(side: int) -> np.ndarray:
    """Weight (side, side) of a disc: 1 inside, 0 outside, falling over `FEATHER` voxels."""
    y, x = np.indices((side, side)) - side // 2
    return np.clip((side / 2 - np.hypot(y, x)) / FEATHER, 0, 1)


def planted(window: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """A window (c, z, y, x) with a disc (c, side, side) in the middle of its middle section."""
    new = window.copy()
    z, y, x = (n // 2 for n in window.shape[1:])
    half, weight = disc.shape[-1] // 2, fading(disc.shape[-1])
    here = new[:, z, y - half : y + half + 1, x - half : x + half + 1]
    here[:] = weight * disc + (1 - weight) * here
    return new


def quiet_job(windows: Windows, source: Box, most: int) -> Job[np.ndarray]:
    """Voxels (n, 3) farthest from all that the model calls an object, in the sections of ``source`` and near it.

    A disc fits around each, with `MARGIN` voxels to spare, and discs do not overlap.
    """
    found: list[Vec3] = []
    rows = Box(vec3([source.start[0], 0, 0]), vec3([source.stop[0], *windows.level.shape[1:]]))
    tiles = [windows.plan[int(i)] for i in windows.plan.touching([rows])]
    tiles.sort(key=lambda tile: float(np.abs(np.subtract(tile.write.centre, source.centre)).sum()))
    for n, tile in enumerate(tiles):
        yield Progress(n, len(tiles), "looking for empty places")
        z = tile.write.shape[0] // 2
        depth = ndimage.distance_transform_edt(np.pad(windows.logits(tile)[z] <= 0, 1))[1:-1, 1:-1]
        while len(found) < most and depth.max() > windows.side // 2 + MARGIN:
            y, x = (int(i) for i in np.unravel_index(depth.argmax(), depth.shape))
            found.append(vec3([a + b for a, b in zip(tile.write.start, (z, y, x), strict=True)]))
            depth[max(0, y - windows.side) : y + windows.side, max(0, x - windows.side) : x + windows.side] = 0
        if len(found) >= most:
            break
    if not found:
        raise InputError(
            f"got no place for a disc of {windows.side} voxels that the model leaves empty; take a smaller one"
        )
    return np.array(found)

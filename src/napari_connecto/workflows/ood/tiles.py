"""Tiles for the out-of-distribution check: their shape, where they are drawn, and the blocks they are grouped into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from napari_connecto.compute.cache import touched_bytes
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.model import ModelCard, Scaling
from napari_connecto.core.volume import Level
from napari_connecto.models.nets.nets import dimensions, divisor
from napari_connecto.workflows.ood.gate import FOLDS

SIDE, SIDE_3D = 96, 48
"""Largest side of a tile in y and x (in 3-D, of any axis): large enough for texture, small enough for many tiles."""
PLACES = 3
"""Fewest tiles across y and x that a check is based on."""
SLABS = 10
"""Blocks into which the tiles of a source volume are grouped."""


def tile_shape(card: ModelCard) -> Vec3:
    """Shape of a tile: what the model reads, halo included, but at most 96 x 96 or 48 x 48 x 48.

    In 3-D a tile has at least 8 voxels beside the halo.
    """
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    step = divisor(card.network)
    if dimensions(card.network) == 3:
        least = [max(SIDE_3D, 2 * h + 8) for h in card.halo]
        return vec3([min(r, max(s, n // s * s)) for r, s, n in zip(read, step, least, strict=True)])
    return vec3(
        [1 + 2 * card.halo[0], *(min(r, max(s, SIDE // s * s)) for r, s in zip(read[1:], step[1:], strict=True))]
    )


def own_shape(card: ModelCard, shape: Vec3) -> Vec3:
    """The part of a tile that is drawn: in 3-D without the halo, in 2-D one section without its neighbours."""
    margin = card.halo if dimensions(card.network) == 3 else (card.halo[0], 0, 0)
    return vec3([max(1, s - 2 * m) for s, m in zip(shape, margin, strict=True)])


def surroundings(part: Box, tile: Vec3, bounds: Box) -> Box:
    """Widen a part that holds fewer than `PLACES` tiles in the plane, within ``bounds``.

    Sections of a single place are no sample: what is unusual there is unusual in all of them.
    """
    across = list(zip(part.shape[1:], tile[1:], strict=True))
    if prod(n // t for n, t in across) >= PLACES:
        return part
    return part.grow([0, *(max(0, -(-(PLACES * t - n) // 2)) for n, t in across)]).clip(bounds)


def holding(places: np.ndarray, shape: Vec3, within: Box, n: int, seed: int) -> list[Box]:
    """Boxes in ``within`` around up to ``n`` of the places (m, 3), each at a random position in its box."""
    rng, size = np.random.default_rng(seed), np.array(shape)
    chosen = rng.permutation(np.asarray(places, float))[:n]
    start = np.floor(chosen - rng.uniform(0, 1, chosen.shape) * size).astype(int)
    low, high = np.array(within.start), np.array(within.stop) - size
    start = np.maximum(low, np.minimum(start, high))
    return [Box(vec3(a.tolist()), vec3((a + size).tolist())).clip(within) for a in start]


def read_tiles(level: Level, scaling: Scaling, shape: Vec3, drawn: Sequence[Box]) -> Iterator[tuple[Box, np.ndarray]]:
    """Tiles of ``shape`` around the boxes that were drawn.

    Yields
    ------
    box, tile
        Box read, in voxels of the level, and (c, z, y, x) float32, scaled; tiles with NaN are left out.
    """
    for part in drawn:
        box = around(part, shape)
        block = level.read_padded(box)
        if block.dtype.kind != "f" or np.isfinite(block).all():
            yield box, scaling(block if block.ndim == 4 else block[None])


def around(part: Box, shape: Vec3) -> Box:
    """The box of ``shape`` centred on ``part``."""
    start = [a - (s - m) // 2 for a, s, m in zip(part.start, shape, part.shape, strict=True)]
    return Box(vec3(start), vec3([a + s for a, s in zip(start, shape, strict=True)]))


def affordable(level: Level, shape: Vec3, drawn: Sequence[Box], most_bytes: int) -> list[Box]:
    """The first of the drawn boxes, as many as can be read by decoding ``most_bytes``."""
    few: list[Box] = []
    for part in drawn:
        if touched_bytes(level, [around(p, shape) for p in (*few, part)]) > most_bytes:
            break
        few.append(part)
    return few


def slabs(starts: Sequence[Vec3]) -> np.ndarray:
    """Block (n,) of each tile: up to ten slabs along one axis.

    The axis is z where tiles come from five sections or more, for these may be images of five animals; otherwise the
    axis with the most distinct tile positions.
    """
    places = [np.unique(column, return_inverse=True) for column in np.array(starts).T]
    distinct, rank = places[0] if len(places[0][0]) >= FOLDS else max(places, key=lambda place: len(place[0]))
    return rank * min(SLABS, len(distinct)) // len(distinct)

"""Seconds to store a chunk that holds an object, and to extract and draw its objects.

Timed on chunks of the volume that were read for timing, where they hold something; else on a made-up object.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from math import ceil

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.job_folder import SCRATCH
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.own_grid import drawing_level, is_coarser, own_plan, refined
from napari_connecto.workflows.cascade.search.rule import ObjectRule

MAP, OBJECTS = "map", "objects"
TIMED = 5
"""Repeats."""


def keeping_seconds(
    volume: Volume, level: Level, plan: TilePlan, rule: ObjectRule, maps: Sequence[np.ndarray] = ()
) -> tuple[float, float]:
    """Seconds per chunk with an object: to store its map (two chunks at a time), and to extract and draw its objects.

    Parameters
    ----------
    volume, level, plan, rule
        Image, the finest level in use, its chunks, and how objects are extracted.
    maps
        uint8 maps of some chunks; those that hold nothing, or lie at the volume's end and are smaller, are left out.
    """
    least = max(1, ceil(rule.threshold * 255))
    holding = [one for one in maps if one.shape == plan.tile and one.max() >= least] or [_ball(level, plan, rule)]
    block, own = np.concatenate(holding, axis=2), drawing_level(volume, level)
    chunk, there = Level(block, level.voxel_nm), TilePlan(vec3(block.shape), plan.tile)
    everything, n = np.arange(len(there)), len(holding)
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        store = TileStore.open(f"{scratch}/map", chunk, plan.tile, {MAP: np.dtype("uint8")})
        write_s = _timed(lambda: store.write_blocks(there[0], {MAP: holding[0]})) / 2
        if rule.head == "centres":
            return write_s, _timed(lambda: find_objects(chunk, there, everything, rule)) / n
        factor = [max(1, round(a / b)) for a, b in zip(level.voxel_nm, own.voxel_nm, strict=True)]
        shape = [n * f for n, f in zip(block.shape, factor, strict=True)]
        fine = Level(np.broadcast_to(np.uint8(0), shape), own.voxel_nm)
        fine_plan = own_plan(chunk, fine, plan.tile)
        labels = TileStore.open(f"{scratch}/labels", chunk, plan.tile, {OBJECTS: np.dtype("uint32")})
        drawn = TileStore.open(f"{scratch}/own", fine, fine_plan.tile, {OBJECTS: np.dtype("uint32")})

        def draw() -> None:
            finder = MaskFinder(chunk, there, rule)
            boxes = map(Box.from_row, finder.find(everything).box)
            for tile, ids in finder.relabelled(everything):
                labels.write_blocks(tile, {OBJECTS: ids})
            if is_coarser(level, own):
                coarse = labels.volume(OBJECTS).levels[0]
                for tile, ids in refined(chunk, coarse, fine, fine_plan, boxes, rule.threshold):
                    drawn.write_blocks(tile, {OBJECTS: ids})

        return write_s, _timed(draw) / n


def _ball(level: Level, plan: TilePlan, rule: ObjectRule) -> np.ndarray:
    """A map of one chunk, uint8, with one object of typical size in its middle."""
    shape = vec3([min(a, b) for a, b in zip(plan.tile, plan.shape, strict=True)])
    radius = np.maximum(rule.diameter_nm / 2 / np.array(level.voxel_nm), 1.0)
    grid = np.indices(shape) + 0.5
    far = sum(((g - n / 2) / r) ** 2 for g, n, r in zip(grid, shape, radius, strict=True))
    return np.where(np.asarray(far) <= 1, max(1, ceil(rule.threshold * 255)) | 128, 20).astype(np.uint8)


def _timed(work: Callable[[], object]) -> float:
    """Seconds, the first time left out."""
    work()
    started = time.perf_counter()
    for _ in range(TIMED):
        work()
    return (time.perf_counter() - started) / TIMED

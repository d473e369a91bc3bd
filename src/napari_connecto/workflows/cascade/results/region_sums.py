"""Regions of labels out of core: which lie at points, and how large they are inside a box."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.predict import OnBadChunk, read_tile
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.results.visits import plan_of, visits


def regions_at_job(level: Level, points_nm: np.ndarray, on_bad: OnBadChunk, *, flat: bool) -> Job[np.ndarray]:
    """The labels (n,) at points (n, 3) in nm; 0 outside. ``flat``: the one section holds for all z."""
    voxels = np.floor(level.to_voxels(points_nm)).astype(np.int64)
    if flat:
        voxels[:, 0] = 0
    found, plan = np.zeros(len(voxels), np.int64), plan_of(level)
    tiles, rows = visits(plan, np.concatenate([voxels, voxels + 1], axis=1))
    indices, first = np.unique(tiles, return_index=True)
    for done, here in enumerate(np.split(rows, first)[1:]):
        yield Progress(done, len(indices), "regions of the detections")
        block, start = _read(level, voxels[here].min(axis=0), voxels[here].max(axis=0) + 1, on_bad)
        if block is not None:
            found[here] = block[tuple((voxels[here] - start).T)]
    return found


def sizes_job(level: Level, searched: np.ndarray | None, on_bad: OnBadChunk, *, flat: bool) -> Job[dict[int, float]]:
    """Volume in nm^3 (area in nm^2 if ``flat``) of each label inside a box (2, 3) in nm; 0 has the rest of the box.

    Voxels that the box cuts count for the part inside. Without a box, all of the labels count.
    """
    box = level.to_nm([(0, 0, 0), level.shape]) if searched is None else searched
    widths = [_widths(level, box, axis) for axis in range(3)]
    if flat:
        widths[0] = np.ones(1)
    some = [np.flatnonzero(w) for w in widths]
    sizes: dict[int, float] = {}
    if all(len(s) for s in some):
        plan = plan_of(level)
        bounds = np.array([[*(s[0] for s in some), *(s[-1] + 1 for s in some)]])
        tiles = visits(plan, bounds)[0]
        for done, tile in enumerate(plan.tiles(tiles)):
            yield Progress(done, len(tiles), "volumes of the regions")
            part = tile.write.clip(Box.from_row(bounds[0]))
            block, _ = _read(level, np.array(part.start), np.array(part.stop), on_bad)
            if block is not None:
                z, y, x = (w[a:b] for w, a, b in zip(widths, part.start, part.stop, strict=True))
                _add(sizes, block, z, y, x)
    whole = float(np.prod((box[1] - box[0])[int(flat) :]))
    rest = whole - sum(size for label, size in sizes.items() if label)
    sizes[0] = rest if rest > 1e-9 * whole else 0.0
    return {label: size for label, size in sizes.items() if size > 0}


def _widths(level: Level, box: np.ndarray, axis: int) -> np.ndarray:
    """How many nm of each voxel along an axis lie inside a box."""
    edges = level.origin_nm[axis] + np.arange(level.shape[axis] + 1) * level.voxel_nm[axis]
    return np.clip(np.minimum(edges[1:], box[1, axis]) - np.maximum(edges[:-1], box[0, axis]), 0, None)


def _read(
    level: Level, start: np.ndarray, stop: np.ndarray, on_bad: OnBadChunk
) -> tuple[np.ndarray | None, np.ndarray]:
    box = Box(vec3(start.tolist()), vec3(stop.tolist()))
    block = read_tile(level, Tile(0, box, box), on_bad)
    return (None if block is None else block[0]), start


def _add(sizes: dict[int, float], block: np.ndarray, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> None:
    """Add a block's voxels, run by run along x, because regions are large; widths per axis in nm."""
    rows = block.reshape(-1, block.shape[2])
    new = np.ones(rows.shape, bool)
    new[:, 1:] = rows[:, 1:] != rows[:, :-1]
    firsts = np.flatnonzero(new)
    length = np.add.reduceat(np.broadcast_to(x, rows.shape).ravel(), firsts)
    area = (z[:, None] * y).ravel()[firsts // rows.shape[1]]
    labels, which = np.unique(rows.ravel()[firsts], return_inverse=True)
    for label, size in zip(labels.tolist(), np.bincount(which, length * area), strict=True):
        sizes[label] = sizes.get(label, 0.0) + float(size)

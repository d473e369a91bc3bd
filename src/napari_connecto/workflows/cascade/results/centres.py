"""Measure intensities around centres, which have no shape: in a ball around each, tile by tile."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.predict import OnBadChunk, read_tile
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.masks import STAGE, Columns, lights
from napari_connecto.workflows.cascade.results.moments import Intensities
from napari_connecto.workflows.cascade.results.params import MeasureParams
from napari_connecto.workflows.cascade.results.place import borders, boxes_in, searched_nm
from napari_connecto.workflows.cascade.results.visits import plan_of, visits
from napari_connecto.workflows.cascade.search.coarser import with_levels_at

BUFFER = 2**20
"""Voxels of balls that are added up at once."""


def centres_job(found: Detections, volume: Volume, params: MeasureParams) -> Job[Columns]:
    """Intensities in a ball around each centre, at the voxel size at which the search found it."""
    size = found.box_voxel_nm
    level = volume.levels[0] if size is None else with_levels_at(volume, [size]).level_at(size)
    radius = (params.diameter_nm or typical_diameter_nm(found)) / 2
    if radius <= 0:
        raise InputError("the result does not state the diameter of its objects; give diameter_nm (--diameter-nm)")
    light = Intensities.of(len(found), level.channels or 1)
    plan = plan_of(level)
    boxes = boxes_in(np.tile(found.centre_nm, 2), level, (radius, radius, radius))
    tiles, rows = visits(plan, boxes)
    indices, first = np.unique(tiles, return_index=True)
    for done, (index, these) in enumerate(zip(indices, np.split(rows, first)[1:], strict=True)):
        yield Progress(done, len(indices), STAGE)
        _add_balls(light, level, plan[int(index)].write, found.centre_nm, boxes, these, radius, params.on_bad_chunk)
    yield Progress(len(indices), len(indices), STAGE)
    low, high = found.centre_nm - radius, found.centre_nm + radius
    searched = searched_nm(found, volume)
    away, touches = borders(low, high, searched, level.voxel_nm, flat=level.shape[0] == 1)
    columns = lights(light, named=level.channels is not None)
    return columns | {"border_nm": away, "touches_border": touches}


def typical_diameter_nm(found: Detections) -> float:
    """Of the objects that a search for centres looked for; older results tell it by their boxes. 0 if unknown."""
    told, voxel = found.report.get("diameter_nm"), found.box_voxel_nm
    if isinstance(told, int | float) and 0 < told < np.inf:
        return float(told)
    if voxel is None or not len(found):
        return 0.0
    return float(np.median(found.box[:, 5] - found.box[:, 2]) * voxel[2])


def _add_balls(
    light: Intensities,
    level: Level,
    tile: Box,
    centre_nm: np.ndarray,
    boxes: np.ndarray,
    rows: np.ndarray,
    radius: float,
    on_bad: OnBadChunk,
) -> None:
    """Add the voxels of a tile whose middles lie within ``radius`` nm of a centre."""
    parts = [Box.from_row(boxes[row]).clip(tile) for row in rows]
    corners = np.array([[part.start, part.stop] for part in parts])
    read = Box(vec3(corners[:, 0].min(axis=0).tolist()), vec3(corners[:, 1].max(axis=0).tolist()))
    block = read_tile(level, Tile(0, read, read), on_bad)
    if block is None:
        return
    held: list[tuple[int, np.ndarray]] = []
    for row, part in zip(rows.tolist(), parts, strict=True):
        inside = _ball(level, part, centre_nm[row], radius)
        held.append((row, block[(slice(None), *part.shift([-s for s in read.start]).slices)][:, inside]))
        if len(held) * inside.size > BUFFER:
            _flush(light, held)
    _flush(light, held)


def _ball(level: Level, box: Box, centre_nm: np.ndarray, radius: float) -> np.ndarray:
    """Boolean (z, y, x): which voxels of a box have their middles within ``radius`` nm of a centre."""
    squares = []
    for first, stop, voxel, origin, centre in zip(
        box.start, box.stop, level.voxel_nm, level.origin_nm, centre_nm, strict=True
    ):
        squares.append((origin + (np.arange(first, stop) + 0.5) * voxel - centre) ** 2)
    z, y, x = squares
    return np.asarray(z[:, None, None] + y[:, None] + x <= radius**2)


def _flush(light: Intensities, held: list[tuple[int, np.ndarray]]) -> None:
    """Add what is held of each object, (row, values (c, m)), and forget it."""
    some = [(row, values) for row, values in held if values.shape[1]]
    if some:
        which = np.repeat(np.arange(len(some)), [values.shape[1] for _, values in some])
        light.add(np.array([row for row, _ in some]), which, np.concatenate([values for _, values in some], axis=1))
    held.clear()

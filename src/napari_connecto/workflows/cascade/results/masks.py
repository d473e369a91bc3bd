"""Measure masks on their labels, tile by tile, only where there are objects."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.predict import OnBadChunk, read_tile
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.moments import Intensities, Shapes
from napari_connecto.workflows.cascade.results.place import borders, boxes_in, boxes_nm, in_pixels, searched_nm
from napari_connecto.workflows.cascade.results.visits import plan_of, visits

STAGE = "measuring objects"
Columns = dict[str, np.ndarray]


def masks_job(found: Detections, level: Level, image: Level | None, on_bad: OnBadChunk) -> Job[Columns]:
    """Columns of measurements of masks.

    Parameters
    ----------
    found
        With the ids of the labels.
    level
        The labels.
    image
        On the same grid; None to leave intensities out.
    on_bad
        What to do with damaged chunks.
    """
    order = np.argsort(found.id, kind="stable")
    ids, n = found.id[order], len(found)
    shapes, light = Shapes.of(n), Intensities.of(n, 0 if image is None else image.channels or 1)
    plan = plan_of(level)
    rim = found.box_voxel_nm or level.voxel_nm  # masks drawn on a finer grid may be so much wider
    tiles = np.unique(visits(plan, boxes_in(boxes_nm(found), level, rim))[0])
    for done, tile in enumerate(plan.tiles(tiles)):
        yield Progress(done, len(tiles), STAGE)
        block = read_tile(level, Tile(tile.index, tile.write, tile.write), on_bad)
        if block is None:
            continue
        places = np.stack(np.nonzero(block[0]))
        rows, which, here = _known(block[0][tuple(places)], ids)
        if not len(rows):
            continue
        places, rows = places[:, here], order[rows]
        shapes.add(rows, which, places, tile.write.start)
        if image is not None:
            _add_light(light, image, rows, which, places + np.array(tile.write.start)[:, None], on_bad)
    yield Progress(len(tiles), len(tiles), STAGE)
    flat = level.shape[0] == 1 or bool(found.report.get("flat"))
    columns = _sizes(shapes, level, flat=flat, pixels=in_pixels(found))
    columns |= lights(light, named=image is not None and image.channels is not None)
    return columns | _borders(found, shapes, level, flat=flat)


def _known(labels: np.ndarray, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of labels (m,): which of the sorted ``ids`` are among them, the index there of each voxel, and which voxels."""
    numbers, which = np.unique(labels, return_inverse=True)
    at = np.searchsorted(ids, numbers)
    known = (at < len(ids)) & (ids[np.minimum(at, len(ids) - 1)] == numbers) if len(ids) else np.zeros(len(at), bool)
    here = known[which]
    return at[known], (np.cumsum(known) - 1)[which[here]], here


def _add_light(
    light: Intensities, image: Level, rows: np.ndarray, which: np.ndarray, places: np.ndarray, on_bad: OnBadChunk
) -> None:
    """Add the intensities of voxels at ``places`` (3, m) of the image."""
    box = Box(vec3(places.min(axis=1).tolist()), vec3((places.max(axis=1) + 1).tolist()))
    block = read_tile(image, Tile(0, box, box), on_bad)
    if block is not None:
        z, y, x = places - np.array(box.start)[:, None]
        light.add(rows, which, block[:, z, y, x])


def _sizes(shapes: Shapes, level: Level, *, flat: bool, pixels: bool) -> Columns:
    axes = shapes.axes_nm(level.voxel_nm, flat=flat)
    columns = {"voxels": shapes.voxels}
    if not pixels:
        z, y, x = (v / 1000 for v in level.voxel_nm)
        size = np.where(shapes.voxels > 0, shapes.voxels, np.nan)  # an added object has no mask
        columns |= {"area_um2": size * (y * x)} if flat else {"volume_um3": size * (z * y * x)}
    names = ("major_nm", "minor_nm") if flat else ("major_nm", "middle_nm", "minor_nm")
    columns |= {name: axes[:, i] for i, name in enumerate(names)}
    sections = np.maximum(shapes.high[:, 0] - shapes.low[:, 0], 0)
    return columns | {"elongation": 1 - axes[:, -1] / axes[:, 0], "sections": sections}


def lights(light: Intensities, *, named: bool) -> Columns:
    """Columns of intensities, with the number of the channel if ``named``."""
    columns: Columns = {}
    for channel in range(len(light.total)):
        end = f"_{channel}" if named else ""
        columns[f"mean{end}"], columns[f"sd{end}"] = light.mean_sd(channel)
    return columns


def _borders(found: Detections, shapes: Shapes, level: Level, *, flat: bool) -> Columns:
    seen, searched = shapes.voxels > 0, searched_nm(found)
    low, high = (level.to_nm(np.where(seen[:, None], corner, 0)) for corner in (shapes.low, shapes.high))
    away, touches = borders(low, high, searched, level.voxel_nm, flat=flat)
    return {"border_nm": np.where(seen, away, np.nan), "touches_border": touches & seen}

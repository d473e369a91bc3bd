"""Where a result lies: the part of the world that was searched, the boxes of objects, the image on the labels' grid."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, fvec3
from napari_connecto.core.volume import PIXEL, UNIT, Level, Volume
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.coarser import with_levels_at

SAME = 1e-3
"""Largest difference of two grids that count as one, in voxels."""


def in_pixels(found: Detections) -> bool:
    """Whether its "nm" are the pixels of an unknown size."""
    return found.report.get(UNIT) == PIXEL


def searched_nm(found: Detections, volume: Volume | None = None) -> np.ndarray | None:
    """The part of the world that was searched: its corners (2, 3) in nm, (z, y, x); None if nothing tells.

    Results of older versions do not tell what was searched: for them it is the whole of the volume, or of the labels.

    Raises
    ------
    InputError
        If the result's report is damaged.
    """
    told = found.report.get("image") or {}
    try:
        if "shape" in told:
            voxel, origin = np.array(fvec3(told["voxel_nm"])), np.array(fvec3(told["origin_nm"]))
            box = Box.from_row(found.report.get("region") or [0, 0, 0, *told["shape"]])
            return origin + np.array([box.start, box.stop]) * voxel
    except (TypeError, ValueError, LookupError) as error:
        raise InputError(f"the result's report.json is damaged ({error!r:.80}); search again") from error
    whole = volume or found.labels
    return None if whole is None else whole.levels[0].to_nm([(0, 0, 0), whole.levels[0].shape])


def boxes_nm(found: Detections) -> np.ndarray:
    """Boxes of objects (n, 6): start z, y, x, stop z, y, x in nm.

    Raises
    ------
    InputError
        If the voxel size of the boxes is not known.
    """
    grid = found.box_grid()
    if grid is None:
        raise InputError("a table alone does not state the voxel size of its boxes; give the search's result folder")
    return np.concatenate([grid.to_nm(found.box[:, :3]), grid.to_nm(found.box[:, 3:])], axis=1)


def boxes_in(boxes_nm: np.ndarray, level: Level, rim_nm: FVec3) -> np.ndarray:
    """Boxes (n, 6) in nm as voxels of a level, ``rim_nm`` wider on each side."""
    low = np.floor(level.to_voxels(boxes_nm[:, :3] - rim_nm) + SAME)
    high = np.ceil(level.to_voxels(boxes_nm[:, 3:] + rim_nm) - SAME)
    return np.concatenate([low, high], axis=1).astype(np.int64)


def image_on(volume: Volume, grid: Level) -> Level:
    """The image with the voxels of a grid, averaged from finer ones where no such level is stored.

    Raises
    ------
    InputError
        If the grid is none of this image.
    """
    for level in with_levels_at(volume, [grid.voxel_nm]).levels:
        off = np.abs(level.to_voxels([grid.origin_nm])).max()
        if level.shape == grid.shape and np.allclose(level.voxel_nm, grid.voxel_nm, rtol=SAME) and off < 0.5:
            return level
    raise InputError(
        f"the labels have {' x '.join(map(str, grid.shape))} voxels of {' x '.join(f'{v:.4g}' for v in grid.voxel_nm)} "
        f"nm, which fits no level of '{volume.name}'; give the image that was searched, with its voxel size and origin"
    )


def borders(
    low_nm: np.ndarray, high_nm: np.ndarray, searched: np.ndarray | None, voxel_nm: FVec3, *, flat: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of boxes (n, 3) to the border of what was searched, in nm, and which of them touch it.

    They touch it within half a voxel. ``flat``: z does not count. NaN and False if it is not known what was searched.
    """
    if searched is None:
        return np.full(len(low_nm), np.nan), np.zeros(len(low_nm), bool)
    away = np.stack([low_nm - searched[0], searched[1] - high_nm])[:, :, int(flat) :]
    touches = np.any(away < np.array(voxel_nm[int(flat) :]) / 2, axis=(0, 2))
    return np.maximum(away, 0).min(axis=(0, 2)), touches

"""From core volumes and positions to napari layers: scale, unit and grid. The inverse is `layers`."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Layer

from napari_connecto.compute.live.mosaic import Grid
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.widgets.viewer.layers import SOURCE, world_factor, world_grid
from napari_connecto.widgets.viewer.lazy import Flat, cut_first

GAP = 0.14
"""Gap between images side by side, as a share of their width; titles go there."""


def to_data(centre_nm: np.ndarray, level: Level, ndim: int) -> np.ndarray:
    """Positions in nm (n, 3) as data coordinates of a layer of ``level`` with 2 or 3 axes. Inverse: `to_nm`."""
    data = level.to_voxels(np.asarray(centre_nm, float).reshape(-1, 3)) - 0.5
    return data[:, 1:] if ndim == 2 else data


def to_nm(points: np.ndarray, layer: Layer, image: Layer, level: Level) -> np.ndarray:
    """A Points layer's positions in nm (n, 3), through the world into the image layer's voxels. Inverse: `to_data`."""
    world = np.array([layer.data_to_world(p) for p in np.atleast_2d(points)], float).reshape(len(points), layer.ndim)
    world = world * world_factor(layer, image.units)
    keep = min(image.ndim, 3)
    data = np.array([image.world_to_data([0.0] * (image.ndim - layer.ndim) + list(w))[-keep:] for w in world], float)
    data = data.reshape(len(world), keep)
    voxels = np.concatenate([np.zeros((len(data), 3 - keep)), data], axis=1)
    return level.to_nm(voxels + 0.5)


def placed_on(image: Layer) -> dict[str, Any]:
    """Keyword arguments that place a new layer of the same grid (points in voxels, labels) exactly on an image.
    layer."""
    n = min(image.ndim, 3)
    scale, translate = world_grid(image)
    return {"scale": scale[-n:], "translate": translate[-n:], "units": image.units[-n:]}


def placed_at(grid: Level | Grid, image: Layer, level: Level) -> dict[str, Any]:
    """Keyword arguments, three axes, that place a layer of ``grid`` on an image layer whose level 0 is ``level``."""
    n = min(image.ndim, 3)
    steps, start = world_grid(image)
    scale = np.concatenate([np.ones(3 - n), steps[-n:]])
    translate = np.concatenate([np.zeros(3 - n), start[-n:]])
    ratio = np.array(grid.voxel_nm) / level.voxel_nm
    offset = level.to_voxels(grid.origin_nm) + ratio / 2 - 0.5
    units = (image.units[-1],) * (3 - n) + tuple(image.units[-n:])
    return {"scale": scale * ratio, "translate": translate + scale * offset, "units": units}


def store_layer(volume: Volume, image: Layer, level: Level) -> tuple[list[Any], dict[str, Any]]:
    """Arrays and keyword arguments that show a result store on the image layer it was made from.

    The arrays read from the store itself (zarr), never through dask, whose cache in napari would show old voxels while
    the store fills.
    ``level`` is the image's level 0.
    """
    n = min(image.ndim, 3)
    keywords = {key: values[-n:] for key, values in placed_at(volume.levels[0], image, level).items()}
    arrays = [level.array if n == 3 else Flat(level.array) for level in volume.levels]
    return cut_first(arrays), keywords


def layer_data(volume: Volume, **keywords: Any) -> tuple[Any, dict[str, Any], str]:
    """A volume as napari LayerData: every level, lazily, in nm; contrast from the coarsest level."""
    fine, coarse = volume.levels[0], volume.levels[-1]
    arrays = cut_first([level.array for level in volume.levels])
    scale = np.array(fine.voxel_nm)
    keywords = {"name": volume.name, "metadata": {SOURCE: volume.source}, **keywords}
    keywords |= {"scale": scale, "translate": np.array(fine.origin_nm) + scale / 2, "multiscale": len(arrays) > 1}
    keywords["axis_labels"] = ("z", "y", "x")
    if volume.calibrated:
        keywords["units"] = "nm"
    if volume.kind == "image":
        sample = coarse.read(_middle(coarse.box))
        low, high = (float(v) for v in np.percentile(sample, [0.5, 99.8]))
        keywords.setdefault("contrast_limits", (low, high if high > low else low + 1))
    return (arrays if len(arrays) > 1 else arrays[0]), keywords, volume.kind


def _middle(box: Box, most: int = 2**24) -> Box:
    """The central part of a box, of at most this many voxels: a single level may exceed the memory."""
    while box.size > most:
        box = box.grow([-max(1, n // 8) if n > 2 else 0 for n in box.shape])
    return box

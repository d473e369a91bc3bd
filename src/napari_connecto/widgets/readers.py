"""napari's File > Open for detections and HDF5. Other volumes are left to napari-ome-zarr and other readers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.widgets.cascade.layers import MASKS, POINTS, named
from napari_connecto.widgets.cascade.markers import BORDER, SYMBOLS, features, verdict_colours
from napari_connecto.widgets.viewer.layers import GRID
from napari_connecto.widgets.viewer.show import layer_data

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections

LayerData = tuple[Any, dict[str, Any], str]


def get_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Reader for one table of detections; None for a stack of files."""
    return read_detections if isinstance(path, str) else None


def get_volume_reader(path: str | list[str]) -> Callable[[str], list[LayerData]] | None:
    """Reader for one HDF5 file; None for a stack of files."""
    return read_volume if isinstance(path, str) else None


def read_volume(path: str) -> list[LayerData]:
    """The only image of an HDF5 file, lazily.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    from napari_connecto.io.volumes.read import open_volume

    try:
        return [layer_data(open_volume(path))]
    except ChoiceError as error:
        one = f"nc.save_volume(nc.open_volume({path!r}, array=NAME), 'one.ome.zarr')"
        told = f"{error}. File > Open takes HDF5 files with one image; write one of these by {one}"
        raise InputError(told) from error


def read_detections(path: str) -> list[LayerData]:
    """A table of detections as points; from a result folder also verdicts and, if there are any, masks.

    Raises
    ------
    InputError
        If it is not such a table.
    """
    from napari_connecto.workflows.cascade.detections import Detections

    table = Path(path)
    of_a_folder = table.name == "detections.csv" and (table.parent / "report.json").is_file()
    found = Detections.load(table.parent if of_a_folder else table)
    points, by = (*_points(found), "points"), str(found.report.get("cascade", ""))
    return [points] if found.labels is None else [layer_data(found.labels, name=named(MASKS, by), opacity=0.5), points]


def _points(found: Detections) -> tuple[np.ndarray, dict[str, Any]]:
    """Position in the world. napari shows a point within half a unit of its layer: one object thick here."""
    unit, size_nm = _sizes(found)
    look = {"size": size_nm / unit[2], "face_color": "transparent", "border_width": BORDER, "projection_mode": "none"}
    if len(found):
        look |= {"symbol": [SYMBOLS[s] for s in found.status], "border_color": verdict_colours(found.status)}
    place = {"scale": unit, "units": "nm", "axis_labels": ("z", "y", "x"), "ndim": 3}
    name, grid = named(POINTS, str(found.report.get("cascade", ""))), found.grid()
    metadata = {GRID: None if grid is None else (grid.voxel_nm, grid.origin_nm)}
    told = {"name": name, "features": features(found), "metadata": metadata}
    return found.centre_nm / unit, {**told, **place, **look}


def _sizes(found: Detections) -> tuple[np.ndarray, np.ndarray]:
    """Median object size in nm (z; y and x equal), and diameters (n,) of points; a guess if boxes have no scale."""
    voxel_nm = found.box_voxel_nm
    if voxel_nm is None:
        span = float(np.ptp(found.centre_nm, axis=0).max()) if len(found) else 0.0
        span = span or 1000.0
        return np.full(3, span / 100), np.full(len(found), span / 50)
    extent = (found.box[:, 3:] - found.box[:, :3]) * np.array(voxel_nm)
    across = extent[:, 1:].max(axis=1)
    depth, width = (np.median(extent[:, 0]), np.median(across)) if len(found) else voxel_nm[:2]
    return np.maximum([depth, width, width], voxel_nm), across * 1.2

"""napari's File > Save: layers in the formats of this package.

napari waits for a writer, so large layers are refused here; docks and shell commands write those in the background.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Layer, Points
from napari.utils import progress

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import fvec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.volume import Kind, Level
from napari_connecto.widgets.viewer.layers import GRID, describe, nm_per_unit, world_grid

MOST_BYTES = 2**30
PRECOMPUTED = ".precomputed"


def write_labels(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Labels layer as an OME-Zarr pyramid, or as neuroglancer precomputed by the suffix ``.precomputed``."""
    return _write_volume(path, data, attributes, "labels")


def write_image(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save an Image layer as an OME-Zarr pyramid."""
    return _write_volume(path, data, attributes, "image")


def write_points(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Points layer as a table in nm (.csv, .parquet), or in voxels: cellfinder (.xml), QuPath (.geojson)."""
    from napari_connecto.workflows.cascade.training.points import write_points as write

    layer = Layer.create(data, attributes, "points")
    assert isinstance(layer, Points)
    table = Path(path).suffix.lower() in (".csv", ".parquet")
    level = _grid(layer, needs_nm=table)
    voxels = np.concatenate([np.zeros((len(layer.data), 3)), layer.data], axis=1)[:, -3:]
    write(path, level.to_nm(voxels + 0.5), level if table else _voxels(layer, level))
    return [path]


def _voxels(layer: Points, level: Level) -> Level:
    """The voxels that cell positions count: those of the searched volume, for points opened by this package.
    package."""
    known = layer.metadata.get(GRID, (level.voxel_nm, level.origin_nm))
    if known is None:
        raise InputError(
            f"the voxel size behind the layer '{layer.name}' is unknown, so positions cannot be given in voxels; "
            "save as .csv, or open detections.csv in its result folder and save again"
        )
    return Level(level.array, *known)


def _grid(layer: Points, needs_nm: bool) -> Level:
    """The voxel size that a Points layer's coordinates refer to; 1 nm if an axis has no unit and none is needed."""
    unit = nm_per_unit(layer)
    if unit is None and needs_nm:
        raise InputError(
            f"the layer '{layer.name}' states no unit of length, so positions in nm are unknown; "
            "set layer.units and layer.scale, or save as .xml, in voxels"
        )
    scale, shift = (
        np.concatenate([np.full(3, fill), values])[-3:] * (1.0 if unit is None else unit)
        for fill, values in zip((1.0, 0.0), world_grid(layer), strict=True)
    )
    return Level(np.empty((1, 1, 1), bool), fvec3(scale.tolist()), fvec3((shift - scale / 2).tolist()))


def _write_volume(path: str, data: Any, attributes: dict[str, Any], kind: Kind) -> list[str]:
    from napari_connecto.io.volumes.precomputed import save_precomputed_job
    from napari_connecto.io.volumes.write import save_volume_job

    volume = describe(Layer.create(data, attributes, kind)).volume()
    size = sum(level.nbytes for level in volume.levels)
    if size > MOST_BYTES:
        raise InputError(
            f"the layer '{volume.name}' has {size / 1e9:.1f} GB; saving more than "
            f"{MOST_BYTES / 1e9:.1f} GB would freeze napari: use `napari-connecto convert` or "
            "`napari-connecto export labels`"
        )
    if Path(path).suffix == PRECOMPUTED:
        _drive(save_precomputed_job(volume, path, kind=kind), volume.name)
    else:
        _drive(save_volume_job(volume, path, kind=kind), volume.name)
    return [path]


def _drive(job: Job[Any], name: str) -> None:
    with progress(total=0, desc=f"saving {name}") as bar:

        def report(step: Any) -> None:
            bar.total = step.total
            bar.update(step.done - bar.n)

        run(job, report)

"""Write one OME-TIFF: the finest level, uncompressed, section by section, for programs that read nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Kind, Level, Volume
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing
from napari_connecto.io.volumes.ngff import check_labels

_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_SLAB_BYTES = 2**25


def save_tiff_job(
    volume: Volume, path: str | os.PathLike[str], *, kind: Kind | None = None, overwrite: bool = False
) -> Job[bool]:
    """Write the finest level of a volume as an OME-TIFF, about 32 MB at a time; returns whether its origin is 0.

    A TIFF does not say where a crop starts. Labels of 64 bits become 32, which other programs read, where all ids fit.

    Raises
    ------
    InputError
        If labels are not integers, ids do not fit, or an image is of a type that OME-TIFF does not have.
    StoreError
        If something is at ``path`` that is not to be replaced, or it cannot be written.
    """
    target, level = Path(path).expanduser().absolute(), volume.levels[0]
    if (kind or volume.kind) == "labels":
        check_labels(level.dtype)
    if target.exists() and not (overwrite and target.is_file()):
        raise StoreError(f"'{target}' exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
    slabs = _slabs(level)
    dtype = yield from _stored(level, slabs)
    with storing(target), whole_file(target) as partial:
        pages = _pages(partial, volume, dtype)
        for k, slab in enumerate(slabs):
            pages[(..., slice(slab.start[0], slab.stop[0]), slice(None), slice(None))] = level.read(slab)
            yield Progress(k + 1, len(slabs), "writing")
        pages.flush()
    return not any(level.origin_nm)


def _slabs(level: Level) -> list[Box]:
    depth = max(1, _SLAB_BYTES // max(1, level.nbytes // level.shape[0]))
    starts = range(0, level.shape[0], depth)
    return [Box((z, 0, 0), _stop(level.shape, z + depth)) for z in starts]


def _stop(shape: Vec3, z: int) -> Vec3:
    return min(z, shape[0]), shape[1], shape[2]


def _stored(level: Level, slabs: list[Box]) -> Job[np.dtype]:
    if level.dtype.kind == "b":
        return np.dtype("uint8")
    if level.dtype.name in _TYPES:
        return level.dtype.newbyteorder("=")
    if level.dtype.kind not in "iu":
        raise InputError(f"got an image of type {level.dtype}; TIFF holds {', '.join(_TYPES)}: write a .zarr")
    for k, slab in enumerate(slabs):
        block = level.read(slab)
        low, high = block.min(), block.max()
        if low < 0 or high >= 2**32:
            raise InputError(f"got the value {low if low < 0 else high}; TIFF holds 0 to {2**32 - 1}: write a .zarr")
        yield Progress(k + 1, len(slabs), "reading")
    return np.dtype("uint32")


def _pages(path: Path, volume: Volume, dtype: np.dtype) -> Any:
    level = volume.levels[0]
    sizes = {f"PhysicalSize{a}": size for a, size in zip("ZYX", level.voxel_nm, strict=True)}
    units = {f"PhysicalSize{a}Unit": "nm" for a in "ZYX"}
    axes = "ZYX" if level.channels is None else "CZYX"
    return tifffile.memmap(
        path,
        shape=tuple(level.array.shape),
        dtype=dtype,
        photometric="minisblack",
        ome=True,
        bigtiff=level.nbytes > 2**31,
        metadata={"axes": axes, "Name": volume.name, **(sizes | units if volume.calibrated else {})},
    )

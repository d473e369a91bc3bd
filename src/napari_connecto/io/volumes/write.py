"""Write OME-Zarr pyramids block by block, so that a file with the final name is complete."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
from zarr.abc.store import Store
from zarr.storage import LocalStore

from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.volume import Kind, Level, Volume
from napari_connecto.io.disk import storing
from napari_connecto.io.files import ZARR_FILES, check_path, is_url
from napari_connecto.io.place import check_zarr_name, whole_folder
from napari_connecto.io.volumes.label_groups import check_parent, register
from napari_connecto.io.volumes.ngff import Image, Version, create_group, create_level, finish_group
from napari_connecto.io.volumes.pyramid import Grid, downsample, grids
from napari_connecto.io.volumes.zarr_arrays import open_store

_BLOCK_BYTES = 2**25
_SHARD_BYTES = 2**26


def save_volume(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    version: Version = "0.5",
    kind: Kind | None = None,
    overwrite: bool = False,
) -> None:
    """Write a volume as an OME-Zarr pyramid.

    Parameters
    ----------
    volume
        Read block by block, about 32 MB at a time, whatever its size. Levels that it has are written as they are;
        coarser ones are made from its coarsest: the finer axes first until voxels are isotropic, then all; images by
        mean, labels by mode.
    path
        Local path or fsspec URL; by convention it ends in ``.zarr``. Labels at ``image.zarr/labels/<name>`` are
        listed there, so that readers show them with the image.
    levels
        How many in all. None keeps those of a pyramid; over a single level, as many as bring each axis to 64 voxels.
    version
        "0.5" (zarr 3, levels above 64 MB sharded) or "0.4" (zarr 2).
    kind
        "image" or "labels"; the volume's by default. Of an image as labels, coarser levels are made anew.
    overwrite
        Replace what is at ``path``, once the new one is complete (at a URL: before it is written).

    Raises
    ------
    InputError
        If an option is not allowed, labels are not integers, or ``path`` ends like another format (.zip, .tif).
    StoreError
        If something is at ``path`` already or it cannot be written; what is there is left alone.

    Examples
    --------
    >>> cells = nc.phantom("cells", (16, 64, 64))
    >>> nc.save_volume(cells.image, "cells.ome.zarr", levels=2)
    >>> [level.shape for level in nc.open_volume("cells.ome.zarr").levels]
    [(16, 64, 64), (16, 32, 32)]
    """
    run(save_volume_job(volume, path, levels=levels, version=version, kind=kind, overwrite=overwrite))


def save_volume_job(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    version: Version = "0.5",
    kind: Kind | None = None,
    overwrite: bool = False,
) -> Job[None]:
    """`save_volume` as a job; closing it leaves nothing behind."""
    volume, first = of_kind(volume, kind), volume.levels[0]
    kind = volume.kind
    if levels is not None and levels < 1:
        raise InputError(f"got levels={levels}; allowed: 1 or more")
    image = Image(
        volume.name,
        pyramid_of(volume, levels),
        first.dtype,
        kind,
        first.channels,
        volume.calibrated,
        version,
        volume.metadata,
    )
    path = check_path(path).removeprefix("file://")
    check_zarr_name(path)
    target = None if is_url(path) else Path(path).expanduser().absolute()
    if target is None and overwrite and path.rstrip("/") == volume.source.rstrip("/"):
        raise InputError(f"got '{path}', which the volume is read from; at an address that cannot be overwritten")
    beside_image = target is not None and check_parent(target, image)
    with _remote_place(path, overwrite) if target is None else _local_place(target, overwrite) as store:
        yield from _write(volume, image, store, path)
    if beside_image and target is not None:
        register(target, image)


def of_kind(volume: Volume, kind: Kind | None) -> Volume:
    """The volume as an image or labels; labels of what was an image keep level 0, as coarser ones hold means of ids.

    Raises
    ------
    InputError
        If ``kind`` is neither.
    """
    kind = kind or volume.kind
    if kind not in ("image", "labels"):
        raise InputError(f"got kind='{kind}'; allowed: image, labels")
    averaged = kind == "labels" and volume.kind == "image"
    return replace(volume, kind=kind, levels=volume.levels[:1] if averaged else volume.levels)


def pyramid_of(volume: Volume, levels: int | None) -> tuple[Grid, ...]:
    """The levels that are written: a volume's own, and those made from its coarsest; see `save_volume`."""
    own = [Grid(level.shape, level.voxel_nm, level.origin_nm) for level in volume.levels][:levels]
    more = levels - len(own) + 1 if levels is not None else (None if len(own) == 1 else 1)
    return (*own[:-1], *grids(own[-1], more))


def _write(volume: Volume, image: Image, store: Store, path: str) -> Job[None]:
    with storing(path):
        create_group(store, image)
    chunks = [chunk_shape(grid) for grid in image.grids]
    shards = [_shard_shape(image, grid, chunk) for grid, chunk in zip(image.grids, chunks, strict=True)]
    units = [shard or chunk for shard, chunk in zip(shards, chunks, strict=True)]
    yield from fill_levels(volume, image, units, lambda k: create_level(store, image, k, chunks[k], shards[k]), path)
    with storing(path):
        finish_group(store, image)


def fill_levels(
    volume: Volume, image: Image, units: Sequence[Vec3], create: Callable[[int], Any], path: str
) -> Job[None]:
    """Write every level block by block, about 32 MB at a time.

    Parameters
    ----------
    volume, image
        What is read, and what is made of it.
    units
        Per level, what is written at once: blocks are whole multiples of it.
    create
        Makes the empty array of a level, (z, y, x) or (c, z, y, x), which is sliced to be written and read.
    path
        What is written, for messages.
    """
    plans = [
        list(_blocks(grid.shape, unit, _voxels_per_block(image))) for grid, unit in zip(image.grids, units, strict=True)
    ]
    done, total, finer = 0, sum(map(len, plans)), None
    for k, grid in enumerate(image.grids):
        with storing(path):
            array = create(k)
        for box in plans[k]:
            block = _block(volume, image, finer, k, box)
            with storing(path):
                array[(..., *box.slices)] = block
            done += 1
            yield Progress(done, total, f"level {k} of {len(image.grids)}")
        finer = Level(array, grid.voxel_nm, grid.origin_nm)


def _block(volume: Volume, image: Image, finer: Level | None, k: int, box: Box) -> np.ndarray:
    """Voxels of ``box`` of level k: the volume's own, or made from the level before, which has been written."""
    if k < len(volume.levels) or finer is None:
        return volume.levels[k].read(box)
    factor = image.grids[k].factor
    lead = () if image.channels is None else (image.channels,)
    merged = np.empty((*lead, *box.shape), image.dtype)
    for part in _blocks(box.shape, chunk_shape(image.grids[k]), _voxels_per_block(image, prod(factor))):
        wide = part.shift(box.start).rescale(factor).clip(finer.shape)
        merged[(..., *part.slices)] = downsample(finer.read(wide), factor, image.kind)
    return merged


def chunk_shape(grid: Grid) -> Vec3:
    """2^18 voxels: a cube, flatter where sections are thicker than twice a voxel, one section in 2-D."""
    if grid.shape[0] == 1:
        best = (1, 512, 512)
    else:
        flat = grid.voxel_nm[0] > 2 * min(grid.voxel_nm[1:])
        best = (16, 128, 128) if flat else (64, 64, 64)
    return vec3([min(a, n) for a, n in zip(best, grid.shape, strict=True)])


def _shard_shape(image: Image, grid: Grid, chunk: Vec3) -> Vec3 | None:
    if image.version == "0.4" or prod(grid.shape) * image.dtype.itemsize <= _SHARD_BYTES:
        return None
    return vec3([c * min(4, -(-n // c)) for c, n in zip(chunk, grid.shape, strict=True)])


def _voxels_per_block(image: Image, read: int = 1) -> int:
    """Where ``read`` voxels are read for each."""
    return _BLOCK_BYTES // (image.dtype.itemsize * (image.channels or 1) * read)


def _blocks(shape: Vec3, unit: Vec3, voxels: int) -> Iterator[Box]:
    """Boxes of whole units, as long along x, then y, then z as ``voxels`` allows, so that pages are decoded seldom."""
    size = list(unit)
    for axis in (2, 1, 0):
        units = max(1, min(voxels // prod(size), -(-shape[axis] // unit[axis])))
        size[axis] = unit[axis] * units
    for z, y, x in product(*(range(0, n, step) for n, step in zip(shape, size, strict=True))):
        yield Box((z, y, x), vec3([a + b for a, b in zip((z, y, x), size, strict=True)])).clip(shape)


@contextmanager
def _local_place(target: Path, overwrite: bool) -> Iterator[Store]:
    with whole_folder(
        target, overwrite, "zarr store", lambda at: any((at / m).is_file() for m in ZARR_FILES)
    ) as folder:
        yield LocalStore(folder)


@contextmanager
def _remote_place(path: str, overwrite: bool) -> Iterator[Store]:
    """Nothing can be renamed there: the metadata that make it an image come last."""
    store = open_store(path, read_only=False)
    system, inner = fsspec.core.url_to_fs(path)
    if path.startswith(("http://", "https://")):
        raise StoreError(f"cannot write '{path}': http is read-only; choose a local path or an object store")
    with storing(path):
        if system.exists(inner):
            if not overwrite:
                raise StoreError(f"'{path}' exists; choose another name, or overwrite it (overwrite=True, --overwrite)")
            if not any(system.isfile(f"{inner.rstrip('/')}/{mark}") for mark in ZARR_FILES):
                raise StoreError(f"'{path}' is not a zarr store and will not be overwritten; choose another name")
            system.rm(inner, recursive=True)
    try:
        yield store
    except BaseException:
        if system.exists(inner):
            system.rm(inner, recursive=True)
        raise

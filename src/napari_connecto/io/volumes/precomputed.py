"""Neuroglancer's format "precomputed", written by tensorstore block by block.

tensorstore is kept by the makers of neuroglancer, needs numpy alone, and writes one block without knowing the rest;
cloud-volume does too, but brings thirty packages.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import ConnectoError, InputError, StoreError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.volume import Kind, Volume
from napari_connecto.io.files import check_path, is_url
from napari_connecto.io.place import whole_folder
from napari_connecto.io.volumes.ngff import Image
from napari_connecto.io.volumes.pyramid import Grid
from napari_connecto.io.volumes.write import chunk_shape, fill_levels, of_kind, pyramid_of

_IMAGES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32")


def save_precomputed(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    kind: Kind | None = None,
    overwrite: bool = False,
) -> None:
    """Write a volume as a neuroglancer precomputed pyramid, a folder with ``info``.

    Parameters
    ----------
    volume
        Read block by block, about 32 MB at a time, whatever its size; see `save_volume`.
    path
        Local folder; it gets its name when it is whole.
    levels
        How many in all. None keeps those of a pyramid; over a single level, as many as bring each axis to 64 voxels.
    kind
        "image" (raw voxels) or "labels" (a segmentation, compressed, uint32 or uint64); the volume's by default.
    overwrite
        Replace a precomputed folder at ``path``, once the new one is complete.

    Raises
    ------
    InputError
        If an option is not allowed, a label is negative, the volume states no voxel size, or tensorstore is absent.
    StoreError
        If something is at ``path`` already or it cannot be written.

    Notes
    -----
    A precomputed level starts at a whole number of its own voxels. Where an origin is none on every level, all levels
    start at 0: see `places_origin`.

    Examples
    --------
    >>> cells = nc.phantom("cells", (16, 64, 64))
    >>> nc.save_precomputed(cells.truth["cells"], "cells.precomputed")
    >>> import os
    >>> "info" in os.listdir("cells.precomputed")
    True
    """
    run(save_precomputed_job(volume, path, levels=levels, kind=kind, overwrite=overwrite))


def save_precomputed_job(
    volume: Volume,
    path: str | os.PathLike[str],
    *,
    levels: int | None = None,
    kind: Kind | None = None,
    overwrite: bool = False,
) -> Job[bool]:
    """`save_precomputed` as a job; returns whether the origin is kept. Closing it leaves nothing behind."""
    volume = of_kind(volume, kind)
    ts, kind = _tensorstore(), volume.kind
    if levels is not None and levels < 1:
        raise InputError(f"got levels={levels}; allowed: 1 or more")
    if not volume.calibrated:
        raise InputError(f"'{volume.name}' states no voxel size; give it in nm (voxel_nm=, --voxel-nm Z Y X)")
    first = volume.levels[0]
    if kind == "labels" and first.channels is not None:
        raise InputError(f"got labels with {first.channels} channels; choose one: channel=0 (--channel 0)")
    image = Image(volume.name, pyramid_of(volume, levels), first.dtype, kind, first.channels)
    dtype = _stored(image)
    kept = places_origin(image.grids)
    if is_url(check_path(path)):
        raise InputError(f"got '{path}'; precomputed is written to a local folder: copy it from there to the address")
    target = Path(path).expanduser().absolute()
    with whole_folder(target, overwrite, "precomputed volume", _is_precomputed) as folder:

        def create(k: int) -> _Scale:
            grid = image.grids[k]
            offset = _offset(grid) if kept else (0, 0, 0)
            spec = _spec(folder, image, grid, dtype, offset)
            return _Scale(ts, ts.open(spec, create=True, open=True).result(), dtype, image)

        yield from fill_levels(volume, image, [chunk_shape(grid) for grid in image.grids], create, str(target))
    return kept


def _is_precomputed(folder: Path) -> bool:
    """Whether it holds a volume of that format and nothing else: it is deleted as a whole."""
    try:
        info = parse_json((folder / "info").read_bytes(), "info")
        keys = {str(scale["key"]).split("/")[0] for scale in info["scales"]}
    except (OSError, ConnectoError, KeyError, TypeError):
        return False
    return {entry.name for entry in folder.iterdir()} <= {"info", *keys}


def places_origin(grids: Sequence[Grid]) -> bool:
    """Whether the format can say where these levels start: at a whole number of voxels on each of them."""
    starts = [np.divide(grid.origin_nm, grid.voxel_nm) for grid in grids]
    return all(bool(np.allclose(start, np.rint(start), atol=1e-3)) for start in starts)


def _offset(grid: Grid) -> Vec3:
    z, y, x = (round(o / v) for o, v in zip(grid.origin_nm, grid.voxel_nm, strict=True))
    return z, y, x


def _stored(image: Image) -> np.dtype:
    """The type of voxels on disk: neuroglancer shows labels of 32 and 64 bits without a sign."""
    if image.kind == "labels":
        return np.dtype("uint64" if image.dtype.itemsize > 4 else "uint32")
    if image.dtype.name in _IMAGES:
        return image.dtype
    if image.dtype.kind == "f":
        return np.dtype("float32")
    raise InputError(f"got an image of type {image.dtype}; precomputed holds {', '.join(_IMAGES)}: convert it")


def _spec(folder: Path, image: Image, grid: Grid, dtype: np.dtype, offset: Vec3) -> dict[str, Any]:
    """What tensorstore makes a level from; the format counts (x, y, z)."""
    labels = image.kind == "labels"
    scale: dict[str, Any] = {
        "size": grid.shape[::-1],
        "resolution": grid.voxel_nm[::-1],
        "voxel_offset": offset[::-1],
        "chunk_size": chunk_shape(grid)[::-1],
        "encoding": "compressed_segmentation" if labels else "raw",
    }
    if labels:
        scale["compressed_segmentation_block_size"] = [8, 8, 8]
    return {
        "driver": "neuroglancer_precomputed",
        "kvstore": {"driver": "file", "path": f"{folder}/"},
        "multiscale_metadata": {
            "type": "segmentation" if labels else "image",
            "data_type": dtype.name,
            "num_channels": image.channels or 1,
        },
        "scale_metadata": scale,
    }


class _Scale:
    """A level in tensorstore, sliced from 0 as (z, y, x) or (c, z, y, x)."""

    def __init__(self, ts: ModuleType, store: Any, dtype: np.dtype, image: Image) -> None:
        view = store[ts.d["channel", "z", "y", "x"].transpose[:]][ts.d["z", "y", "x"].translate_to[0]]
        self._view = view if image.channels is not None else view[0]
        self._labels = image.kind == "labels"
        self.dtype, self.shape = dtype, tuple(int(n) for n in self._view.shape)

    def __getitem__(self, index: tuple[Any, ...]) -> np.ndarray:
        return self._view[index].read().result()

    def __setitem__(self, index: tuple[Any, ...], block: np.ndarray) -> None:
        if self._labels and block.dtype.kind == "i" and block.min() < 0:
            raise InputError(f"got the label {block.min()}; labels are 0 or more: relabel them")
        try:
            self._view[index].write(np.asarray(block, self.dtype)).result()
        except ValueError as error:  # what tensorstore makes of a full or read-only disk
            raise StoreError(
                f"cannot write a chunk: {str(error)[:200]}; choose another place or make room there"
            ) from error


def _tensorstore() -> ModuleType:
    try:
        import tensorstore
    except ImportError as error:
        raise InputError(
            "precomputed needs tensorstore; install napari-connecto[neuroglancer], or write OME-Zarr, which "
            "neuroglancer reads too: a name that ends in .zarr (--to ome-zarr)"
        ) from error
    return tensorstore

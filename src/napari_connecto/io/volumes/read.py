"""Open a volume in any supported format."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.files import ZARR_FILES, check_path, is_url
from napari_connecto.io.volumes.axis_names import check_axes
from napari_connecto.io.volumes.hdf5.read import open_hdf5
from napari_connecto.io.volumes.images import PICTURES, open_folder, open_image
from napari_connecto.io.volumes.levels import Request, check_origin, check_voxel_size
from napari_connecto.io.volumes.ome_zarr import open_zarr
from napari_connecto.io.volumes.tiff.read import open_tiff
from napari_connecto.io.volumes.views import ChannelChoice

_BY_SUFFIX: dict[str, Callable[[Request], Volume]] = {
    **dict.fromkeys((".tif", ".tiff", ".btf", ".tf2", ".tf8", ".lsm", ".svs", ".ome"), open_tiff),
    **dict.fromkeys((".h5", ".hdf5", ".hdf"), open_hdf5),
    **dict.fromkeys(PICTURES, open_image),
}


def open_volume(
    path: str | os.PathLike[str],
    *,
    array: str | None = None,
    voxel_nm: Sequence[float] | None = None,
    channel: ChannelChoice = None,
    time: int | None = None,
    axes: str | None = None,
    missing: Literal["fill", "error"] = "fill",
    origin_nm: Sequence[float] | None = None,
) -> Volume:
    """Open a volume for reading, lazily; what is stored is never opened writable.

    Parameters
    ----------
    path
        Local path or fsspec URL (http, s3, memory, ...) of: an OME-Zarr image or labels group (0.1 to 0.6, sharded or
        not, a bioformats2raw layout), a zarr array, a TIFF, an HDF5 file, a folder of images, one image.
    array
        What to open inside: a path in a zarr group, an HDF5 dataset, the number of a TIFF's image (`info` lists them).
    voxel_nm
        Size of a voxel of the finest level in nm, (z, y, x); overrides what is stated, other levels in proportion.
    channel
        Index of the channel, or "all" for (c, z, y, x). Needed where there are several; colours are channels.
    time
        Index of the time point. Needed where there are several.
    axes
        Names of the stored axes in their order, of t, c, z, y, x ("zyxc"), for an array that names them wrongly or in
        words that are not understood.
    missing
        What a zarr chunk, or a tile of a TIFF, that is not stored means: its fill value (zarr's own rule), or a
        `ChunkError`.
    origin_nm
        Position of the corner of voxel 0 of the finest level in nm, (z, y, x); overrides what is stated. Where
        nothing is stated it is 0, in OME-Zarr half a voxel less.

    Returns
    -------
    Volume
        Levels finest first, arrays (z, y, x) or (c, z, y, x) that can be pickled; a 2-D image has one section. Where
        no voxel size is stated `Volume.calibrated` is False and sizes are ratios. ``metadata["revision"]`` changes when
        the source does. In OME-Zarr a translation is that of voxel 0's centre; where no level states one, all levels
        share level 0's corner. Reading raises `ChunkError` for a damaged chunk and names it.

    Raises
    ------
    InputError
        If the path is missing or unreachable, holds no image, has unusable axes or is damaged, or a choice is needed.

    Examples
    --------
    >>> nc.save_volume(nc.phantom("cells", (16, 64, 64)).image, "cells.ome.zarr")
    >>> level = nc.open_volume("cells.ome.zarr").levels[0]
    >>> level.voxel_nm
    (2000.0, 1000.0, 1000.0)
    >>> level.read(nc.Box((0, 0, 0), (1, 4, 4))).shape  # (z, y, x), the end is exclusive
    (1, 4, 4)
    """
    text = check_path(path)
    if not is_url(text):
        text = str(_local(Path(text)).absolute())
    if missing not in ("fill", "error"):
        raise InputError(f"got missing='{missing}'; allowed: fill, error")
    if not (array is None or isinstance(array, str)):
        raise InputError(f"got array={array!r}; it is text: what to open inside")
    if not (time is None or (isinstance(time, int) and not isinstance(time, bool))):
        raise InputError(f"got time={time!r}; allowed: a number from 0")
    if not (channel is None or channel == "all" or (isinstance(channel, int) and not isinstance(channel, bool))):
        raise InputError(f"got channel={channel!r}; allowed: a number from 0, or 'all'")
    size, origin = check_voxel_size(voxel_nm), check_origin(origin_nm)
    request = Request(text, array, size, channel, time, missing, check_axes(axes), origin)
    return _opener(text)(request)


def _opener(path: str) -> Callable[[Request], Volume]:
    if is_url(path):
        return _BY_SUFFIX.get(_suffix(path.split("?")[0]), open_zarr)
    suffix = _suffix(path)
    place = Path(path)
    if not place.exists():
        raise InputError(f"no file or folder at '{path}'; check the path")
    if place.is_dir():
        is_zarr = suffix == ".zarr" or any((place / name).exists() for name in ZARR_FILES)
        return open_zarr if is_zarr else open_folder
    if suffix not in _BY_SUFFIX:
        allowed = ", ".join(sorted(_BY_SUFFIX))
        raise InputError(f"got '{path}'; allowed: OME-Zarr or image folders, {allowed}; convert it first")
    return _BY_SUFFIX[suffix]


def _local(path: Path) -> Path:
    """With "~" and "~name" replaced by a home folder, unless a file is called so."""
    try:
        return path if path.exists() else path.expanduser()
    except RuntimeError:  # no user of that name
        return path


def _suffix(path: str) -> str:
    return os.path.splitext(path.rstrip("/"))[1].lower()

"""HDF5 datasets, read lazily; the file is opened again in every process."""

from __future__ import annotations

import contextlib
import importlib
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h5py
import numpy as np

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.files import Reopened, file_revision, is_url, open_binary
from napari_connecto.io.limits.damage import damaged, header_errors, read_errors
from napari_connecto.io.limits.zarr_limits import check_declared
from napari_connecto.io.volumes.hdf5.stated import stated_axes, stated_geometry
from napari_connecto.io.volumes.levels import Description, Request, Stored, volume_of

DEEPEST_LINK = 16
FILTERS = {
    307: "bzip2",
    32001: "Blosc",
    32004: "LZ4",
    32008: "Bitshuffle",
    32013: "ZFP",
    32015: "Zstandard",
    32017: "SZ",
    32024: "SZ3",
    32026: "Blosc2",
}
"""Names of registered filters that HDF5 itself does not bring."""
COPY = "open that file by its own name, or copy the data into this one"


@dataclass(frozen=True)
class Hdf5Source:
    """A dataset as a `views.Source`."""

    label: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    opened: Reopened[h5py.File] = field(repr=False)

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels; `ChunkError` names the first chunk that cannot be decoded."""
        try:
            return self.read_raw(index)
        except read_errors() as error:
            raise damaged(self, index, error) from error

    def read_raw(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels, with h5py's errors."""
        return np.asarray(self.opened.get()[self.key][index], self.dtype)


def open_hdf5(request: Request) -> Volume:
    """A dataset of an HDF5 file, ``array="group/dataset"``; the only one where there is only one.

    What it states of axes, voxel size, units and origin is used or refused: see `stated_axes` and `stated_geometry`.
    """
    opened = Reopened(partial(open_file, request.path))
    try:
        if request.array:
            _refuse_links(opened.get(), request.array, request.path)
        _refuse_formats(opened.get(), request.path)
        dataset = _choose(opened.get(), request)
        if dataset.external or dataset.is_virtual:
            raise InputError(f"dataset '{dataset.name}' of '{request.path}' lies in other files; {COPY}")
        check_declared(dataset.shape, dataset.chunks, dataset.dtype, request.path)
        key = str(dataset.name)
        label = f"'{request.path}' dataset '{key.lstrip('/')}'"
        _check_filters(dataset, label)
        axes = stated_axes(dataset, request, label)
        stated = stated_geometry(dataset, axes, request, label)
        source = Hdf5Source(label, key, dataset.shape, dataset.dtype.newbyteorder("="), dataset.chunks, opened)
        revision = file_revision(request.path)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no file at '{request.path}'; check the path") from error
    except header_errors() as error:
        raise InputError(f"cannot open '{request.path}' as HDF5: {error}; check that it is complete") from error
    scale = [stated.size.get(a, 1.0) for a in axes]
    corner = [stated.corner.get(a, 0.0) for a in axes]
    units = [stated.unit_nm.get(a) for a in axes]
    nm = stated.unit_nm.get("z")
    flat = (stated.size["z"] * nm, stated.corner.get("z", 0.0) * nm) if nm else None
    metadata = {"format": "HDF5", "array": key.lstrip("/")}
    level = Stored(source, scale, corner)
    return volume_of(request, Description([level], axes, units, revision, metadata=metadata, flat_nm=flat))


def open_file(path: str) -> h5py.File:
    """Open for reading, without insisting on a lock (read-only file systems have none)."""
    return h5py.File(open_binary(path), "r") if is_url(path) else h5py.File(path, "r", locking="best-effort")


def _refuse_links(file: h5py.File, name: str, path: str, deep: int = 0) -> None:
    """Refuse a dataset name that leads, directly or through a link, into another file."""
    parts = [part for part in name.split("/") if part]
    for count in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:count]), getlink=True)
        if isinstance(link, h5py.ExternalLink) or deep > DEEPEST_LINK:
            raise InputError(f"'{name}' in '{path}' is a link to another file; {COPY}")
        if isinstance(link, h5py.SoftLink):
            before = [] if link.path.startswith("/") else parts[: count - 1]
            _refuse_links(file, "/".join([*before, link.path, *parts[count:]]), path, deep + 1)
            return
        if link is None:
            return


def _refuse_formats(file: h5py.File, path: str) -> None:
    """Refuse formats whose values or sizes are not what the datasets say."""
    convert = "open it in Fiji, save it as TIFF or OME-Zarr, and open that"
    if "s00/resolutions" in file and "t00000" in file:
        raise InputError(f"'{path}' is a BigDataViewer file, whose voxel size is in its XML; {convert}")
    if "DataSetInfo" in file and "DataSet/ResolutionLevel 0" in file:
        raise InputError(f"'{path}' is an Imaris file, whose arrays are padded; {convert}")


def _check_filters(dataset: h5py.Dataset, label: str) -> None:
    """Refuse a dataset that no installed filter can decode, and name the package that brings one."""
    made = dataset.id.get_create_plist()
    for code, _, _, name in (made.get_filter(k) for k in range(made.get_nfilters())):
        if not h5py.h5z.filter_avail(code):
            with contextlib.suppress(ImportError):
                importlib.import_module("hdf5plugin")  # registers its filters
        if not h5py.h5z.filter_avail(code):
            called = FILTERS.get(code) or name.decode("utf-8", "replace") or f"filter {code}"
            raise InputError(
                f"{label} is compressed by {called}, which the package hdf5plugin decodes; "
                "pip install 'napari-connecto[codecs]'"
            )


def _choose(file: h5py.File, request: Request) -> h5py.Dataset:
    if request.array:
        found = file.get(request.array)
        if isinstance(found, h5py.Dataset) and 2 <= found.ndim <= 5 and found.dtype.kind in "biuf":
            return found
    images: dict[str, h5py.Dataset] = {}

    def note(name: str, node: Any) -> bool | None:
        if isinstance(node, h5py.Dataset) and 2 <= node.ndim <= 5 and node.dtype.kind in "biuf":
            images[name] = node
        return True if len(images) > 8 else None

    file.visititems(note)
    if len(images) == 1 and not request.array:
        return next(iter(images.values()))
    listed = ", ".join(repr(name) for name in list(images)[:8]) + (", ..." if len(images) > 8 else "")
    if not images:
        raise InputError(f"'{request.path}' holds no array of numbers with 2 to 5 axes; choose another file")
    if request.array:
        asked = f"no image '{request.array}' in '{request.path}'"
        raise InputError(f"{asked}; choose array= one of {listed} (--array NAME)")
    lines = [f"{name}: {' x '.join(map(str, node.shape))}, {node.dtype}" for name, node in list(images.items())[:8]]
    raise ChoiceError(
        f"several images in '{request.path}'; choose array= one of {listed} (--array NAME)",
        ["several images: choose one with --array", *lines, *(["..."] if len(images) > 8 else [])],
    )

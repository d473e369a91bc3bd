"""Points of ImageJ's ROI Manager: a ``.zip`` of regions of one point each, or one ``.roi``.

ImageJ counts sections from 1, and places a point by the centre of its pixel: (0, 0) is the centre of the first one.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing

_DAMAGED = (OSError, ValueError, zipfile.BadZipFile, zlib.error, struct.error, IndexError, EOFError, RuntimeError)
"""What broken bytes raise in zipfile and roifile; RuntimeError is of encrypted archives and unknown compressions."""
_LARGEST = 2**20
"""Bytes of one region in a file that is read."""


def write_rois(path: str | os.PathLike[str], voxels: np.ndarray, names: Sequence[str]) -> None:
    """Write a region of one point each; a file there is replaced, whole.

    Parameters
    ----------
    path
        Ends in ``.zip``, or, for a single point, in ``.roi``.
    voxels
        (n, 3) continuous voxel coordinates (z, y, x): a voxel's centre is its index + 0.5.
    names
        Of each region.

    Raises
    ------
    InputError
        If roifile is absent, or a ``.roi`` is to hold several points.
    StoreError
        If it cannot be written.
    """
    roifile, path = need_roifile(), Path(path)
    if path.suffix.lower() == ".roi" and len(voxels) != 1:
        raise InputError(f"got {len(voxels)} points for '{path}'; a .roi holds one: choose a name that ends in .zip")
    rois = [_region(roifile, voxel, name) for voxel, name in zip(voxels.tolist(), names, strict=True)]
    with storing(path), whole_file(path) as partial, partial.open("wb") as file:
        if path.suffix.lower() == ".roi":
            file.write(rois[0].tobytes())
            return
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
            for k, roi in enumerate(rois):
                packed.writestr(f"{k + 1:06d}-{roi.name}.roi", roi.tobytes())


def _region(roifile: ModuleType, voxel: Sequence[float], name: str) -> Any:
    z, y, x = voxel
    roi = roifile.ImagejRoi.frompoints([[x - 0.5, y - 0.5]], name=name, position=int(np.floor(z + 1e-6)))
    roi.roitype = roifile.ROI_TYPE.POINT
    return roi


def read_rois(path: str | os.PathLike[str], sections: int) -> np.ndarray:
    """Points of a file.

    Parameters
    ----------
    path
        A ``.roi`` or a ``.zip`` of them; multi-point regions too.
    sections
        Of the image; where there is one, a region need not say its own.

    Returns
    -------
    numpy.ndarray
        (n, 3) continuous voxel coordinates (z, y, x), z at the centre of the section.

    Raises
    ------
    InputError
        If roifile is absent, the file is absent or damaged, or a region is none of points or says no section.
    """
    roifile = need_roifile()
    try:
        found = [_points(roifile, data, name, path, sections) for name, data in _members(Path(path))]
    except FileNotFoundError as error:
        raise InputError(f"no points at '{path}'; check the path") from error
    except _DAMAGED as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read '{path}' as ImageJ regions ({error}); check that it is complete") from error
    return np.concatenate([np.empty((0, 3)), *found])


def _members(path: Path) -> list[tuple[str, bytes]]:
    if path.suffix.lower() == ".roi":
        return [(path.name, path.read_bytes())]
    with zipfile.ZipFile(path) as packed:
        members = [info for info in packed.infolist() if info.filename.lower().endswith(".roi")]
        if any(info.file_size > _LARGEST for info in members):
            raise InputError(f"'{path}' holds a region of more than {_LARGEST} bytes; it is not a set of points")
        return [(info.filename, packed.read(info)) for info in members]


def _points(roifile: ModuleType, data: bytes, name: str, path: Any, sections: int) -> np.ndarray:
    roi = roifile.ImagejRoi.frombytes(data)
    if roi.roitype != roifile.ROI_TYPE.POINT:
        raise InputError(f"region '{name}' of '{path}' is a {roi.roitype.name.lower()}; points are needed")
    xy = np.asarray(roi.coordinates(), float).reshape(-1, 2)
    places = roi.counter_positions
    position = np.broadcast_to(roi.position or roi.z_position, len(xy)) if places is None else np.asarray(places)
    z = position.astype(float)
    if not z.all():
        if sections > 1:
            raise InputError(f"region '{name}' of '{path}' says no section of the stack; give it a position in ImageJ")
        z = np.ones(len(xy))
    return np.column_stack([z - 0.5, xy[:, 1] + 0.5, xy[:, 0] + 0.5])


def need_roifile() -> ModuleType:
    """The module; `InputError` if it is absent."""
    try:
        import roifile
    except ImportError as error:
        raise InputError(
            "ImageJ's regions need roifile; install napari-connecto[imagej], or use another suffix"
        ) from error
    return roifile

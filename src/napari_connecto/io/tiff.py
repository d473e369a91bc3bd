"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks: pages are decoded when they are asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import tifffile
import zarr

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.damage import damaged, header_errors, read_errors
from napari_connecto.io.files import Reopened, file_revision, is_url, open_binary
from napari_connecto.io.levels import Description, Request, Stored, ratio_scales, unit_nm, volume_of
from napari_connecto.io.zarr_limits import check_declared

_AXES = {"T": "t", "C": "c", "S": "c", "Z": "z", "Y": "y", "X": "x"}
_DAMAGE = ("invalid page offset", "corrupted", "failed to reshape", "missing data")


@dataclass(frozen=True)
class OpenSeries:
    """An open file and the lazy array of one level of one of its series."""

    file: tifffile.TiffFile
    series: tifffile.TiffPageSeries
    array: Any

    def close(self) -> None:
        """Close the file."""
        self.file.close()
        self.file.filehandle.close()


@dataclass(frozen=True)
class TiffSource:
    """One level of a TIFF series as a `views.Source`; uncompressed contiguous ones are memory-mapped."""

    label: str
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    opened: Reopened[OpenSeries] = field(repr=False)

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels; `ChunkError` names the first segment that cannot be decoded."""
        try:
            return self.read_raw(index)
        except read_errors() as error:
            raise damaged(self, index, error) from error

    def read_raw(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels, with the errors of tifffile and its codecs."""
        return np.array(self.opened.get().array[index], self.dtype)


def open_tiff(request: Request) -> Volume:
    """A series of a TIFF file (``array="1"`` for the second), with its pyramid if it has one."""
    with _noticing_damage(request.path):
        first = _source(request, 0)
        series = first.opened.get().series
        axes = [_AXES.get(letter, letter) for letter in series.axes]
        if "z" not in axes:  # tifffile names the axis of a plain stack I or Q
            axes = ["z" if name in ("I", "Q") else name for name in axes]
        scale, units = _voxel_size(first.opened.get().file, _series_number(request.array), axes)
        sources = [first, *(_source(request, k) for k in range(1, len(series.levels)))]
        revision = file_revision(request.path)
    levels = [
        Stored(source, [a * b for a, b in zip(scale, ratio, strict=True)])
        for source, ratio in zip(sources, ratio_scales([source.shape for source in sources]), strict=True)
    ]
    return volume_of(request, Description(levels, axes, units, revision, metadata={"format": "TIFF"}))


@contextmanager
def _noticing_damage(path: str) -> Iterator[None]:
    """`InputError` for what tifffile raises, and for what it only logs: a cut file would open as its first page."""
    noticed: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: noticed.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no file at '{path}'; check the path") from error
    except header_errors() as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"cannot open '{path}' as TIFF: {reason:.200}; check that it is complete") from error
    finally:
        logger.removeHandler(handler)
    for message in noticed:
        if any(word in message for word in _DAMAGE):
            raise InputError(f"'{path}' is damaged ({message}); copy it again from its source")


def _source(request: Request, level: int) -> TiffSource:
    opened = Reopened(partial(open_series, request.path, _series_number(request.array), level))
    found = opened.get()
    chunks = getattr(found.array, "chunks", None)
    check_declared(found.array.shape, chunks, np.dtype(found.array.dtype), request.path)
    label = f"level {level} of '{request.path}'" if len(found.series.levels) > 1 else f"'{request.path}'"
    return TiffSource(label, tuple(found.array.shape), np.dtype(found.array.dtype).newbyteorder("="), chunks, opened)


def _series_number(array: str | None) -> int:
    if array is None:
        return 0
    if not array.isdecimal():
        raise InputError(f"got array='{array}'; of a TIFF it is the number of a series, such as '0' (--array 0)")
    return int(array)


def open_series(path: str, number: int, level: int) -> OpenSeries:
    """Open a file for reading and look at one level of one series."""
    file = tifffile.TiffFile(open_binary(path) if is_url(path) else path)
    if number >= len(file.series):
        raise InputError(f"got array='{number}'; '{path}' has {len(file.series)} series, counted from 0 (--array N)")
    file.filehandle.set_lock(True)
    series = file.series[number]
    if level == 0 and series.dataoffset is not None and not is_url(path):
        dtype = np.dtype(series.dtype).newbyteorder(file.byteorder)
        return OpenSeries(file, series, np.memmap(path, dtype, "r", series.dataoffset, series.shape))
    return OpenSeries(file, series, zarr.open_array(series.aszarr(level=level), mode="r"))


def _voxel_size(file: tifffile.TiffFile, number: int, axes: Sequence[str]) -> tuple[list[float], list[float | None]]:
    """Voxel size and nm per unit along the stored axes, from OME-XML or ImageJ's description.

    The resolution tags of other files are left alone: what they hold is the print size more often than not.
    """
    size: dict[str, float] = {}
    unit: dict[str, float | None] = {}
    if file.is_ome and file.ome_metadata:
        images = tifffile.xml2dict(file.ome_metadata)["OME"].get("Image", [])
        images = images if isinstance(images, list) else [images]
        pixels = images[min(number, len(images) - 1)].get("Pixels", {}) if images else {}
        for name in "zyx":
            value = pixels.get(f"PhysicalSize{name.upper()}")
            if isinstance(value, int | float) and value > 0:
                size[name] = float(value)
                unit[name] = unit_nm(pixels.get(f"PhysicalSize{name.upper()}Unit", "µm"))
    elif file.is_imagej and file.imagej_metadata:
        stated = file.imagej_metadata
        tags = file.pages.first.tags
        for name, tag in (("x", "XResolution"), ("y", "YResolution")):
            numerator, denominator = tags[tag].value if tag in tags else (0, 0)
            if numerator and denominator:
                size[name] = denominator / numerator
        if stated.get("spacing"):
            size["z"] = abs(float(stated["spacing"]))
        unit = dict.fromkeys(size, unit_nm(str(stated.get("unit", "")).replace("\\u00B5", "µ")))
    return [size.get(name, 1.0) for name in axes], [unit.get(name) for name in axes]

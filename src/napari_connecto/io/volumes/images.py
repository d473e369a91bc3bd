"""Folders of images, one per section, and single images."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.files import open_binary, stat_text
from napari_connecto.io.limits.damage import ADVICE, header_errors
from napari_connecto.io.volumes.axis_names import axes_of
from napari_connecto.io.volumes.levels import Description, Request, Stored, volume_of
from napari_connecto.io.volumes.tiff.axis_order import stored_order
from napari_connecto.io.volumes.tiff.read import open_file
from napari_connecto.io.volumes.tiff.stated import TiffSize

T = TypeVar("T")
TIFFS = (".tif", ".tiff")
SECTION = "a section is (y, x) or (y, x, colour); open it alone"
PICTURES = (".png", ".jpg", ".jpeg", ".bmp")


@dataclass(frozen=True)
class ImageSource:
    """Images of one shape and type as a `views.Source`, (z, y, x) or (z, y, x, c)."""

    files: tuple[str, ...]
    plane: tuple[int, ...]
    dtype: np.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent, sections first."""
        return (len(self.files), *self.plane)

    @property
    def chunks(self) -> tuple[int, ...]:
        """One image."""
        return (1, *self.plane)

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels; `ChunkError` names the image that is damaged or unlike the others."""
        sections = range(len(self.files))[index[0]]
        return np.stack([self._section(k)[index[1:]] for k in sections])

    def _section(self, k: int) -> np.ndarray:
        try:
            image = _decode(self.files[k])
        except header_errors(Image.DecompressionBombError) as error:
            raise ChunkError(f"section {k} '{self.files[k]}' cannot be read ({error}); {ADVICE}") from error
        if image.shape != self.plane or image.dtype != self.dtype:
            got, first = _kind(image.shape, image.dtype), _kind(self.plane, self.dtype)
            raise ChunkError(f"section {k} '{self.files[k]}' is {got}, the first is {first}; {ADVICE}")
        return image


def open_image(request: Request) -> Volume:
    """A single PNG, JPEG or BMP: one section."""
    return _open(request, [request.path])


def open_folder(request: Request) -> Volume:
    """The images of a folder, in the natural order of their names (2 before 10), as sections along z.

    Numbers that the names skip are told in the metadata's ``notes``; no section takes their place.
    """
    found: dict[str, list[str]] = {}
    for item in Path(request.path).iterdir():
        suffix = item.suffix.lower()
        if suffix in (*TIFFS, *PICTURES) and item.is_file() and not item.name.startswith("."):
            found.setdefault(suffix, []).append(str(item))
    if not found:
        raise InputError(f"'{request.path}' is neither a zarr store nor a folder of images; choose another path")
    if len(found) > 1:
        raise InputError(f"'{request.path}' holds images of several types {sorted(found)}; keep one type per folder")
    (files,) = found.values()
    files = sorted(files, key=_natural)
    return _open(request, files, _skipped(files))


def _skipped(files: Sequence[str]) -> list[str]:
    """A sentence on numbers that are skipped by names which otherwise count in equal steps."""
    names = [[part[2] for part in _natural(path)] for path in files]
    if len({len(name) for name in names}) > 1:
        return []
    counted = [part for part in zip(*names, strict=True) if len(set(part)) > 1]
    if len(counted) != 1 or not all(text.isdecimal() for text in counted[0]):
        return []
    numbers = [int(text) for text in counted[0]]
    steps = [b - a for a, b in pairwise(numbers)]
    usual = min(steps)
    missing = [step // usual - 1 if usual and step % usual == 0 else 0 for step in steps]
    if not sum(missing) or 2 * steps.count(usual) < len(steps):
        return []
    after = Path(files[next(k for k, n in enumerate(missing) if n)]).name
    many = f"{sum(missing)} sections seem" if sum(missing) > 1 else "1 section seems"
    return [f"{many} to be missing, the first after '{after}'; no empty sections take their place"]


def _open(request: Request, files: Sequence[str], notes: Sequence[str] = ()) -> Volume:
    if request.array is not None:
        raise InputError(f"got array='{request.array}'; images have none: leave it out (--array)")
    first = _opened(_decode, files[0])
    if first.ndim not in (2, 3) or (first.ndim == 3 and first.shape[-1] > 4):
        raise InputError(f"'{files[0]}' has shape {first.shape}, {SECTION}")
    source = ImageSource(tuple(files), first.shape, first.dtype)
    stated = _opened(_stated, files[0])[1]
    for k in sorted({len(files) * i // 16 for i in range(16)} | {len(files) - 1}):
        (here, also), there = _opened(_stated, files[k]), first.shape[:2]
        if here != there:
            raise InputError(
                f"'{files[k]}' is {here} voxels, '{files[0]}' {there}; sections of one folder have one size"
            )
        if also.size != stated.size and request.voxel_nm is None:
            raise InputError(f"'{files[k]}' states another voxel size than '{files[0]}'; give it (--voxel-nm Z Y X)")
    axes = axes_of(request.axes, "zyx" if first.ndim == 2 else "zyxc", source.shape, f"'{request.path}'")
    seen = "\n".join([*files, *(stat_text(Path(files[k])) for k in range(0, len(files), max(1, len(files) // 64)))])
    revision = hashlib.sha256(seen.encode()).hexdigest()
    size, units, corner = stated.along(axes)
    metadata = {"format": "images", **({"notes": list(notes)} if notes else {})}
    found = Description([Stored(source, size, corner)], axes, units, revision, metadata=metadata)
    return volume_of(request, found)


def _opened(read: Callable[[str], T], path: str) -> T:
    try:
        return read(path)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no file at '{path}'; check the path") from error
    except header_errors(Image.DecompressionBombError) as error:
        raise InputError(f"cannot open '{path}' as an image: {error}; check that it is complete") from error


def _decode(path: str) -> np.ndarray:
    """All voxels of one image; palette images give their indices (so label pictures keep their ids)."""
    if path.lower().endswith(TIFFS):
        with closing(open_file(path, None)) as found:
            stored, axes = found.levels[0], stored_order(found.chosen.series)
            if sorted(axes) not in (["x", "y"], ["c", "x", "y"]):
                raise InputError(f"'{path}' has shape {tuple(stored.shape)}, {SECTION}")
            image = np.array(stored[tuple(slice(0, n) for n in stored.shape)])
            image = image.transpose([axes.index(a) for a in "yxc"[: image.ndim]])
    else:
        with open_binary(path) as file, Image.open(file) as picture:
            frames = getattr(picture, "n_frames", 1) if picture.format == "PNG" else 1
            if frames > 1:
                raise InputError(f"'{path}' is an animation of {frames} images; save each as one file")
            image = np.asarray(picture)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def _stated(path: str) -> tuple[tuple[int, ...], TiffSize]:
    """(y, x) without decoding, and what is stated of a voxel's size."""
    if path.lower().endswith(TIFFS):
        with closing(open_file(path, None)) as found:
            shape, axes = found.levels[0].shape, stored_order(found.chosen.series)
            return tuple(shape[axes.index(a)] for a in "yx"), found.stated
    with open_binary(path) as file, Image.open(file) as picture:
        return (picture.height, picture.width), TiffSize()


def _natural(path: str) -> list[tuple[bool, int, str]]:
    parts = re.split(r"(\d+)", Path(path).name)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts]


def _kind(shape: tuple[int, ...], dtype: np.dtype) -> str:
    return "x".join(map(str, shape)) + f" {dtype}"

"""TIFF, BigTIFF, OME-TIFF and ImageJ stacks: pages are decoded on demand."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Volume
from napari_connecto.io.files import Reopened, file_revision, is_url, stat_text
from napari_connecto.io.limits.damage import damaged, read_errors
from napari_connecto.io.limits.zarr_limits import check_declared
from napari_connecto.io.volumes.levels import Description, Request, Stored, ratio_scales, volume_of
from napari_connecto.io.volumes.tiff.axis_order import axis_order
from napari_connecto.io.volumes.tiff.notices import opening, refusing
from napari_connecto.io.volumes.tiff.ome import OmeImage, check_files, image_of, ome_images, open_ome
from napari_connecto.io.volumes.tiff.pages import check_pages, pages
from napari_connecto.io.volumes.tiff.series import Chosen, check_codec, choose
from napari_connecto.io.volumes.tiff.stated import TiffSize, stated_size


@dataclass(frozen=True)
class OpenTiff:
    """An open file, what was chosen of it, and the lazy array of each level.

    ``image`` is that of OME-XML; ``notes`` are what tifffile says of the file that means nothing for pixels.
    """

    file: tifffile.TiffFile
    chosen: Chosen
    image: OmeImage | None
    stated: TiffSize
    levels: Sequence[Any]
    notes: tuple[str, ...] = ()

    def close(self) -> None:
        """Close the file."""
        _close(self.file)


class Sections:
    """Series of one section each as one lazy array, sections first."""

    def __init__(self, path: str, series: Sequence[tifffile.TiffPageSeries], fill: bool) -> None:
        self._path, self._series, self._fill = path, series, fill
        self.shape = (len(series), *series[0].shape)
        self.dtype = series[0].dtype
        self.chunks = (1, *series[0].shape)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        chosen = self._series[index[0]]
        return np.stack([_array(self._path, series, 0, self._fill)[index[1:]] for series in chosen])


@dataclass(frozen=True)
class TiffSource:
    """One level of a TIFF as a `views.Source`; uncompressed contiguous ones are memory-mapped."""

    label: str
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype
    chunks: tuple[int, ...] | None
    opened: Reopened[OpenTiff] = field(repr=False)

    def read(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels; `ChunkError` names the first segment that cannot be decoded."""
        try:
            return self.read_raw(index)
        except read_errors(tifffile.TiffFileError) as error:
            raise damaged(self, index, error) from error

    def read_raw(self, index: tuple[slice, ...]) -> np.ndarray:
        """Voxels, with the errors of tifffile and its codecs."""
        return np.array(self.opened.get().levels[self.level][index], self.dtype)


def open_tiff(request: Request) -> Volume:
    """The image of a TIFF file (``array="1"`` is its second series), with its pyramid if it has one.

    Raises
    ------
    ChoiceError
        If it holds several images.
    InputError
        If files or planes of it are missing, it contradicts itself, or a package that decodes it is.
    """
    opened = Reopened(partial(open_file, request.path, request.array, request.missing == "fill"))
    with refusing(request.path):
        found = opened.get()
        sources = [_source(request.path, opened, k) for k in range(len(found.levels))]
        axes = axis_order(found.chosen.series, request, sources[0].shape)
        revision = _revision(request.path, found)
    scale, units, corner = found.stated.along(axes)
    levels = [
        Stored(source, [a * b for a, b in zip(scale, ratio, strict=True)], corner)
        for source, ratio in zip(sources, ratio_scales([source.shape for source in sources]), strict=True)
    ]
    metadata: dict[str, Any] = {"format": "TIFF"}
    if notes := [*(f"not opened: {other}" for other in found.chosen.others), *found.notes]:
        metadata["notes"] = notes
    flat = _flat(found.stated)
    return volume_of(request, Description(levels, axes, units, revision, metadata=metadata, flat_nm=flat))


def open_file(path: str, array: str | None, fill: bool = True) -> OpenTiff:
    """Open a file for reading and choose what is meant of it; ``fill`` is of `pages`, the rest of `open_tiff`."""
    with ExitStack() as held:  # what is refused is closed
        with opening(path) as notes:
            file, xml = open_ome(path)
            held.callback(_close, file)
            images = ome_images(xml, file, path) if xml else []
            chosen = choose(_series(file, path, images), file, array, path)
            series = chosen.series[0]
            image = image_of(series, images, path) if images and series.kind != "imagej" else None
            for level in (level for one in chosen.series for level in one.levels):
                check_codec(level.keyframe, path)
                check_pages(level, path)
            used = {ifd for one in images for name, ifd in one.planes.values() if name == file.filename}
            if used and len(used) < len(file.pages):
                notes.append(f"{len(used)} of its {len(file.pages)} pages belong to an image")
            file.filehandle.set_lock(True)
            stated, levels = stated_size(file, series, image), _levels(path, chosen, fill)
        found = OpenTiff(file, chosen, image, stated, levels, tuple(notes))
        held.pop_all()
    return found


def _close(file: tifffile.TiffFile) -> None:
    file.close()
    file.filehandle.close()


def _levels(path: str, chosen: Chosen, fill: bool) -> list[Any]:
    """The lazy array of each level."""
    first = chosen.series[0]
    if len(chosen.series) > 1:
        return [Sections(path, chosen.series, fill)]
    return [_array(path, first, k, fill) for k in range(len(first.levels))]


def _series(file: tifffile.TiffFile, path: str, images: list[OmeImage]) -> list[tifffile.TiffPageSeries]:
    try:
        found: list[tifffile.TiffPageSeries] = file.series
    except (ValueError, OSError, tifffile.TiffFileError):  # of an image whose first file cannot be read
        check_files(path, file.filename, [name for image in images for name in image.files])
        raise
    if images and not any(series.kind == "ome" for series in found):
        check_files(path, file.filename, [name for image in images for name in image.files])
    if len(found) == 1 and found[0].kind == "imagej" and len(file.pages) > len(found[0]):
        told = f"{len(found[0])} images, it holds {len(file.pages)}"
        raise InputError(f"'{path}' contradicts itself: ImageJ's description states {told}; save it again")
    return found


def _array(path: str, series: tifffile.TiffPageSeries, level: int, fill: bool) -> Any:
    part, parent = series.levels[level], series.keyframe.parent
    if part.dataoffset is not None and not (part.is_multifile or part.transform or is_url(path)):
        dtype = np.dtype(part.dtype).newbyteorder(parent.byteorder)
        return np.memmap(parent.filehandle.path, dtype, "r", part.dataoffset, part.shape)
    return pages(part, fill=fill)


def _source(path: str, opened: Reopened[OpenTiff], level: int) -> TiffSource:
    found = opened.get()
    array = found.levels[level]
    chunks, dtype = getattr(array, "chunks", None), np.dtype(array.dtype)
    check_declared(array.shape, chunks, dtype, path)
    label = f"level {level} of '{path}'" if len(found.levels) > 1 else f"'{path}'"
    return TiffSource(label, level, tuple(array.shape), dtype.newbyteorder("="), chunks, opened)


def _flat(stated: TiffSize) -> tuple[float, float] | None:
    """Thickness and lower face in nm of a section."""
    thickness, nm = stated.size.get("z", (0.0, None))
    return (thickness * nm, stated.corner.get("z", 0.0) * nm) if nm else None


def _revision(path: str, found: OpenTiff) -> str:
    """Changes when the file does, or another of its set."""
    beside = [Path(path).parent / name for name in (found.image.files if found.image and not is_url(path) else ())]
    return " ".join([file_revision(path), *(stat_text(one) for one in beside)])

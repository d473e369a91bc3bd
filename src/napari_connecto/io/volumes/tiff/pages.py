"""Pages of a TIFF as a lazy array: strips and tiles are read and decoded when voxels of theirs are asked for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import numpy as np
import tifffile

from napari_connecto.core.errors import InputError

Place = tuple[slice, ...]
FEW = 4
"""Segments up to which one thread decodes them."""


def check_pages(series: tifffile.TiffPageSeries, path: str) -> None:
    """Raise `InputError` where pages of a level are missing, or those of a set of files are not alike."""
    stored = series._pages  # public iteration would read every page
    if any(page is None for page in stored):
        raise InputError(f"'{path}' lacks planes of a level of its pyramid; copy it again from its source")
    frames: list[Any] = [page.keyframe for page in stored if page is not None] if series.is_multifile else []
    kinds = {frame.hash: frame for frame in frames}
    if len(kinds) > 1:
        told = [f"{' x '.join(map(str, k.shape))} {k.dtype}, {k.compression.name}" for k in kinds.values()]
        raise InputError(
            f"the files of '{path}' hold pages of different kinds ({'; '.join(told[:3])}); save them alike"
        )


class Pages:
    """One level of a series.

    tifffile describes a page by five axes, (separate samples, depth, y, x, interleaved samples); the last axes of the
    series are those of more than one voxel, the ones before count pages. A segment is a strip or a tile.

    Parameters
    ----------
    series
        One level. Its planes are all there.
    path
        Named by messages.
    fill
        Whether a tile that is not stored is `nodata`, as in sparse files, or an error.
    """

    def __init__(self, series: tifffile.TiffPageSeries, path: str, *, fill: bool = True) -> None:
        page = series.keyframe
        self.shape, self.dtype = tuple(series.shape), np.dtype(series.dtype)
        self._series, self._page, self._fill = series, page, fill
        self._decode = page.decode  # made while the file is opened, so that what it warns of is heard
        self._full = tuple(int(n) for n in page.shaped)
        rows = (
            (page.tiledepth, page.tilelength, page.tilewidth)
            if page.is_tiled
            else (1, page.rowsperstrip, page.imagewidth)
        )
        self._cell = (1, *(int(n) for n in rows), self._full[4])
        self._lead = next((k for k in range(len(self.shape) + 1) if self._splits(k)), -1)
        if self._lead < 0:
            raise InputError(f"'{path}' has pages of {page.shape} for an image of {self.shape}; save it again")
        root = (series.parent or page.parent).filehandle  # all files of a set are read one at a time
        root.set_lock(True)
        self._lock, self._files = root.lock, tifffile.FileCache(lock=root.lock)

    def _splits(self, k: int) -> bool:
        pages, page = self.shape[:k], [n for n in self.shape[k:] if n > 1]
        return page == [n for n in self._full if n > 1] and math.prod(pages) == len(self._series)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Extent of a segment."""
        sizes = iter([c for c, n in zip(self._cell, self._full, strict=True) if n > 1])
        return (1,) * self._lead + tuple(next(sizes) if n > 1 else 1 for n in self.shape[self._lead :])

    def __getitem__(self, index: Place) -> np.ndarray:
        pages = [range(part.start, part.stop) for part in index[: self._lead]]
        inner = iter([part for part, n in zip(index[self._lead :], self.shape[self._lead :], strict=True) if n > 1])
        place = tuple(next(inner) if n > 1 else slice(0, 1) for n in self._full)
        numbers = (
            [int(k) for k in np.ravel_multi_index(np.ix_(*pages), self.shape[: self._lead]).flat] if pages else [0]
        )
        out = np.empty((len(numbers), *(part.stop - part.start for part in place)), self._page.dtype)
        with self._lock:  # what tifffile has not yet read of a page it reads now
            wanted = [self._series[number] for number in numbers]
        jobs = [(row, page, cell) for row, page in zip(out, wanted, strict=True) for cell in self._cells(place)]
        if len(jobs) <= FEW or self._page.compression == 1:
            for job in jobs:
                self._fetch(place, *job)
        else:
            with ThreadPoolExecutor(min(len(jobs), tifffile.TIFF.MAXWORKERS)) as pool:
                list(pool.map(lambda job: self._fetch(place, *job), jobs))
        found = out.reshape([part.stop - part.start for part in index])
        return found if self._series.transform is None else self._series.transform(found)

    def _cells(self, place: Place) -> Iterator[tuple[int, ...]]:
        """Segments that hold voxels of ``place``, by their number along each of the five axes."""
        return product(*(range(p.start // c, -(-p.stop // c)) for p, c in zip(place, self._cell, strict=True)))

    def _fetch(self, place: Place, out: np.ndarray, page: Any, cell: Sequence[int]) -> None:
        """Put the voxels of one segment that lie in ``place`` into ``out``."""
        counts = [-(-n // c) for n, c in zip(self._full, self._cell, strict=True)]
        number = int(np.ravel_multi_index(tuple(cell), counts))
        offset, size = page.dataoffsets[number], page.databytecounts[number]
        start = [i * c for i, c in zip(cell, self._cell, strict=True)]
        here = [
            slice(max(p.start, a), min(p.stop, a + c, n))
            for p, a, c, n in zip(place, start, self._cell, self._full, strict=True)
        ]
        target = out[tuple(slice(h.start - p.start, h.stop - p.start) for h, p in zip(here, place, strict=True))]
        if not (offset and size):
            if not (self._fill and (self._page.is_tiled or 42113 in self._page.tags)):  # GDAL's tag of a value for none
                raise ValueError("it is not stored")
            target[...] = self._page.nodata
            return
        data = self._files.read(page.parent.filehandle, offset, size)
        if len(data) < size:
            raise ValueError("the file ends in it")
        tables = {"jpegtables": page.jpegtables, "jpegheader": self._page.jpegheader}
        found: Any = self._decode(data, number, **{k: v for k, v in tables.items() if v is not None})[0]
        target[...] = found[tuple(slice(h.start - a, h.stop - a) for h, a in zip(here[1:], start[1:], strict=True))]


class Contiguous:
    """Uncompressed voxels that lie one after the other in a file that cannot be mapped into memory.

    Read are whole planes of the last two axes, or one row where only one is asked for.
    """

    def __init__(self, series: tifffile.TiffPageSeries) -> None:
        self.shape, self.dtype = tuple(series.shape), np.dtype(series.dtype)
        self._file, self._offset = series.keyframe.parent.filehandle, series.dataoffset or 0
        self._stored = self.dtype.newbyteorder(series.keyframe.parent.byteorder)
        self.chunks = (1,) * (len(self.shape) - 2) + self.shape[-2:]

    def __getitem__(self, index: Place) -> np.ndarray:
        *before, rows, last = index
        out = np.empty([part.stop - part.start for part in index], self.dtype)
        for place in np.ndindex(*out.shape[:-2]):
            plane = 0
            for k, part, n in zip(place, before, self.shape, strict=False):
                plane = plane * n + part.start + k
            start = (plane * self.shape[-2] + rows.start) * self.shape[-1]
            size = (rows.stop - rows.start) * self.shape[-1] * self.dtype.itemsize
            with self._file.lock:
                self._file.seek(self._offset + start * self.dtype.itemsize)
                data = self._file.read(size)
            out[place] = np.frombuffer(data, self._stored).reshape(-1, self.shape[-1])[:, last]
        return out

"""Pages of a TIFF as a lazy array: strips and tiles are read and decoded when their voxels are requested."""

from __future__ import annotations

from typing import Any

import tifffile
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from napari_connecto.core.errors import InputError


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


def pages(series: tifffile.TiffPageSeries, *, fill: bool = True) -> zarr.Array:
    """One level of a series as tifffile's zarr array: its chunks are strips or tiles.

    Parameters
    ----------
    series
        One level. Its planes are all there.
    fill
        Whether a tile that is not stored is `nodata`, as in sparse files, or an error.
    """
    page = series.keyframe
    sparse = page.is_tiled or 42113 in page.tags  # GDAL's tag of a value for none
    plane = "page" if series.is_truncated else None  # voxels of one page, all others behind them
    stored = series.aszarr(level=0, chunkmode=plane, read_only=True)
    return zarr.open_array(_Segments(stored, fill=fill and sparse), mode="r")


class _Segments(WrapperStore[Any]):
    """tifffile's store, which takes what is left of a segment for all of it, and one that is not there for `nodata`."""

    def __init__(self, store: Store, *, fill: bool) -> None:
        super().__init__(store)
        self._fill = fill

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """A decoded segment, or a metadata document."""
        if key[-1].isdecimal():
            _, page, _, offset, size = self._store._parse_key(key)
            if not (offset and size):
                if self._fill:
                    return None
                raise ValueError("it is not stored")
            if offset + size > page.parent.filehandle.size:
                raise ValueError("the file ends in it")
        return await super().get(key, prototype, byte_range)

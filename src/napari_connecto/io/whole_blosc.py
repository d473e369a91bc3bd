"""Refusing blosc chunks that were cut off: blosc's decoder trusts their header and reads past their end."""

from __future__ import annotations

import numcodecs
import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_HEADER = 16  # bytes; the last four are the length of the whole chunk
_DOCUMENTS = ("zarr.json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class WholeBloscStore(WrapperStore[Store]):
    """The store of an array whose chunks are blosc frames; a shorter chunk than its header says is a `ValueError`."""

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Bytes of a chunk, all of them."""
        value = await super().get(key, prototype, byte_range)
        if value is None or byte_range is not None or key.endswith(_DOCUMENTS):
            return value
        length = int.from_bytes(value[12:_HEADER].to_bytes(), "little") if len(value) >= _HEADER else _HEADER
        if len(value) < length:
            raise ValueError(f"cut off: {len(value)} of {length} bytes")
        return value


def checked(array: zarr.Array) -> zarr.Array:
    """The same array, through a `WholeBloscStore` if blosc is the last codec of its chunks."""
    last = array.compressors[-1] if array.compressors else None
    if array.shards is not None or not isinstance(last, numcodecs.Blosc | BloscCodec):
        return array
    store, version = WholeBloscStore(array.store), array.metadata.zarr_format
    return zarr.open_array(store, path=array.path, mode="r", zarr_format=version)

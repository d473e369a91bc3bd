"""Limits on what an array may declare, checked before anything is allocated."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numcodecs.abc
import numpy as np
import zarr
from numcodecs.compat import ensure_contiguous_ndarray
from zarr.abc.codec import BytesBytesCodec, Codec
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer

from napari_connecto.core.errors import InputError
from napari_connecto.io.limits.inflate import STREAMS, inflated

MOST_VOXELS = 2**62
MOST_CHUNK = 2**31
"""Bytes of a chunk, which is decoded as a whole; blosc and others have the same limit."""
MOST_IN_SHARD = 2**22
"""Chunks of a shard, whose index is read as a whole."""
_SLACK = 2**16


def limited(array: zarr.Array, shown: str) -> zarr.Array:
    """The same array, none of whose chunks can become more than it declares.

    Raises
    ------
    InputError
        If it is empty, holds no numbers, or what it declares is beyond reason; ``shown`` names it.
    """
    check_declared(array.shape, array.chunks, array.dtype, shown)
    per_shard = [s // c for s, c in zip(array.shards or array.chunks, array.chunks, strict=True)]
    if math.prod(per_shard) > MOST_IN_SHARD:
        raise InputError(
            f"got shards of {per_shard} chunks at '{shown}'; allowed are {MOST_IN_SHARD} in all: write it with others"
        )
    return _guarded(array, math.prod(array.chunks) * array.dtype.itemsize, shown)


def check_declared(shape: Sequence[int], chunks: Sequence[int] | None, dtype: np.dtype, shown: str) -> None:
    """Raise `InputError` for an array, of any format, that is empty, of no numbers, or beyond reason."""
    if dtype.kind not in "biuf":
        raise InputError(f"got values of type {dtype} at '{shown}'; allowed are integers, floats and bool: convert it")
    if min(shape, default=0) < 1:
        raise InputError(f"got an empty array of shape {tuple(shape)} at '{shown}'; it needs at least one voxel")
    if math.prod(shape) > MOST_VOXELS:
        raise InputError(f"got shape {tuple(shape)} at '{shown}'; allowed are 2^62 voxels: write its metadata again")
    if chunks is not None and (min(chunks) < 1 or math.prod(chunks) * dtype.itemsize > MOST_CHUNK):
        raise InputError(
            f"got chunks {tuple(chunks)} of {dtype} at '{shown}', decoded as a whole; allowed are 1 to {MOST_CHUNK} "
            "bytes: write it again with smaller chunks"
        )


def _guarded(array: zarr.Array, chunk: int, shown: str) -> zarr.Array:
    metadata: Any = array.metadata
    if metadata.zarr_format == 3:
        changed = replace(metadata, codecs=tuple(_codec(codec) for codec in metadata.codecs))
    else:
        if metadata.compressor is None:
            return array
        most = chunk * (8 if metadata.filters else 1) + _SLACK
        changed = replace(metadata, compressor=GuardedOld(metadata.compressor, most))
    return zarr.Array(zarr.AsyncArray(metadata=changed, store_path=array.store_path))


def _codec(codec: Codec) -> Codec:
    if isinstance(codec, ShardingCodec):
        return _sharding(codec)
    return Guarded(codec) if isinstance(codec, BytesBytesCodec) else codec


def _sharding(codec: ShardingCodec) -> ShardingCodec:
    """The same shards, whose chunks are guarded."""
    return ShardingCodec(
        chunk_shape=codec.chunk_shape,
        codecs=[_codec(inner) for inner in codec.codecs],
        index_codecs=codec.index_codecs,
        index_location=codec.index_location,
    )


@dataclass(frozen=True)
class Guarded(BytesBytesCodec):
    """A codec of zarr's format 3, behind `inflated`."""

    inner: BytesBytesCodec
    is_fixed_size = False

    def to_dict(self) -> dict[str, Any]:
        """That of the codec itself: metadata stay as they are."""
        return self.inner.to_dict()

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Guarded:
        """The codec for an array like this."""
        return Guarded(self.inner.evolve_from_array_spec(array_spec))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """As the codec itself."""
        return self.inner.compute_encoded_size(input_byte_length, chunk_spec)

    async def _decode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer:
        told: dict[str, Any] = dict(self.inner.to_dict())
        name, how = str(told["name"]).removeprefix("numcodecs."), told.get("configuration")
        data = chunk_bytes.as_numpy_array().data
        most = math.prod(chunk_spec.shape) * chunk_spec.dtype.to_native_dtype().itemsize + _SLACK
        if name in STREAMS:
            made = await asyncio.to_thread(inflated, name, data, most, how)
            return chunk_spec.prototype.buffer.from_bytes(made or b"")
        inflated(name, data, most)
        return await self.inner._decode_single(chunk_bytes, chunk_spec)

    async def _encode_single(self, chunk_bytes: Buffer, chunk_spec: ArraySpec) -> Buffer | None:
        return await self.inner._encode_single(chunk_bytes, chunk_spec)


class GuardedOld(numcodecs.abc.Codec):
    """A compressor of zarr's format 2, behind `inflated`."""

    codec_id = "guarded"

    def __init__(self, inner: numcodecs.abc.Codec, most: int) -> None:
        self.codec_id = inner.codec_id
        self.inner = inner
        self.most = most

    def get_config(self) -> dict[str, Any]:
        """That of the codec itself: metadata stay as they are."""
        return self.inner.get_config()

    def encode(self, buf: Any) -> Any:
        """As the codec itself."""
        return self.inner.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """As the codec itself; `ValueError` for what becomes too much."""
        data = memoryview(ensure_contiguous_ndarray(buf)).cast("B")
        made = inflated(self.codec_id, data, self.most, self.inner.get_config())
        return self.inner.decode(buf, out) if made is None else made

"""How much a compressed chunk may become: what it declares is read before anything is allocated.

The decoders of blosc, zstd and lz4 allocate what a chunk's header says, that of blosc reads past the end of a chunk
that was cut off, and those of gzip, zlib, bz2 and lzma go on until memory is full. A chunk has no use for more than
the array's metadata say.

References
----------
The blosc 1 chunk header, https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst; Zstandard, RFC 8878.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

_HEADER = 16  # of blosc, bytes
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 2**17
"""Bytes that a compressed block of zstd can become at most."""
UNSAID = 2**28
"""Bytes that a zstd chunk which does not say its size may become, whatever the array's chunks are."""
STREAMS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "gzip": lambda how: zlib.decompressobj(31),
    "zlib": lambda how: zlib.decompressobj(),
    "bz2": lambda how: bz2.BZ2Decompressor(),
    "lzma": lambda how: lzma.LZMADecompressor(how.get("format") or lzma.FORMAT_AUTO, filters=how.get("filters")),
}
"""Makers of decoders that can be stopped, by the codecs whose own cannot and that say no size."""


def inflated(codec: str, data: bytes | memoryview, most: int, how: Mapping[str, Any] | None = None) -> bytes | None:
    """The decoded chunk where the codec's own decoder knows no limit; else None, and that decoder may go on.

    Parameters
    ----------
    codec
        As numcodecs calls it.
    data
        The chunk as stored.
    most
        Bytes that it may become.
    how
        Configuration of the codec.

    Raises
    ------
    ValueError
        If it was cut off, or becomes more than ``most``, or says so.
    """
    if codec in STREAMS:
        return _stream(lambda: STREAMS[codec](how or {}), data, most, several=codec != "zlib")
    said = _SAID[codec](data, most) if codec in _SAID else 0
    if said > most:
        raise ValueError(f"it says that it becomes {said} bytes, of at most {most} by the array's metadata")
    return None


def _stream(make: Callable[[], Any], data: bytes | memoryview, most: int, *, several: bool) -> bytes:
    """One stream, or ``several`` one after another with zeros at the end, decoded."""
    parts: list[bytes] = []
    left = most
    while data:
        decoder = make()
        parts.append(decoder.decompress(data, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise ValueError(f"it becomes more than {most} bytes, the most by the array's metadata")
        if not decoder.eof:
            raise ValueError("cut off")
        data = decoder.unused_data.lstrip(b"\0") if several else b""
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _blosc(data: bytes | memoryview, most: int) -> int:
    length = int.from_bytes(data[12:_HEADER], "little") if len(data) >= _HEADER else _HEADER
    if len(data) < length:
        raise ValueError(f"cut off: {len(data)} of {length} bytes")
    return int.from_bytes(data[4:8], "little")


def _lz4(data: bytes | memoryview, most: int) -> int:
    return int.from_bytes(data[:4], "little")


def _zstd(data: bytes | memoryview, most: int) -> int:
    if data[:4] != _ZSTD or len(data) < 6:
        return 0  # the decoder says what is wrong
    flags = data[4]
    alone, place = flags >> 5 & 1, 5 + (1 - (flags >> 5 & 1)) + (0, 1, 2, 4)[flags & 3]
    length = (alone, 2, 4, 8)[flags >> 6]
    if length:
        return int.from_bytes(data[place : place + length], "little") + (256 if length == 2 else 0)
    return 0 if _blocks(data, place) <= max(UNSAID, 16 * most) else _blocks(data, place)


def _blocks(data: bytes | memoryview, place: int) -> int:
    """What the blocks of a zstd frame become at most, by their headers."""
    total = 0
    while place + 3 <= len(data):
        header = int.from_bytes(data[place : place + 3], "little")
        last, kind, size = header & 1, header >> 1 & 3, header >> 3
        total += _BLOCK if kind == 2 else size
        place += 3 + (1 if kind == 1 else size)
        if last:
            break
    return total


_SAID: dict[str, Callable[[bytes | memoryview, int], int]] = {"blosc": _blosc, "lz4": _lz4, "zstd": _zstd}

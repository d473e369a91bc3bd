"""Errors that name the damaged chunk."""

from __future__ import annotations

import lzma
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import islice, product
from typing import Protocol

import numpy as np

from napari_connecto.core.errors import ChunkError

TRIED = 10_000
"""Chunks that are looked through for a damaged one at most."""
ADVICE = "copy it again from its source; detect goes on without it by --on-bad-chunk fill or skip"


def read_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What stores and codecs raise for bytes that cannot be had or decoded (for use in an ``except`` clause)."""
    found = [OSError, ValueError, RuntimeError, TypeError, EOFError, zlib.error, lzma.LZMAError, struct.error]
    remote = {"aiohttp": "ClientError", "botocore.exceptions": "BotoCoreError"}
    return (
        *more,
        *found,
        *(getattr(sys.modules[module], name) for module, name in remote.items() if module in sys.modules),
    )


def header_errors(*more: type[Exception]) -> tuple[type[Exception], ...]:
    """What readers raise besides for headers that are nonsense."""
    return read_errors(
        *more, LookupError, AttributeError, ArithmeticError, AssertionError, RecursionError, MemoryError, SyntaxError
    )


class Chunked(Protocol):
    """What can be searched for a damaged chunk: `read_raw` raises what its format raises."""

    @property
    def label(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def chunks(self) -> tuple[int, ...] | None: ...

    def read_raw(self, index: tuple[slice, ...]) -> np.ndarray: ...


def damaged(
    source: Chunked,
    index: tuple[slice, ...],
    error: Exception,
    key: Callable[[tuple[int, ...]], str] | None = None,
    advice: str = ADVICE,
) -> ChunkError:
    """The error to raise after reading ``index`` failed: each chunk is tried to find the one that is damaged.

    Parameters
    ----------
    source
        Searched.
    index
        What was read.
    error
        What that raised.
    key
        How a chunk that starts at these voxels is called; its place in the grid of chunks without it.
    advice
        What to do.
    """
    for box in islice(cells(index, source.chunks, source.shape), TRIED) if source.chunks else ():
        try:
            source.read_raw(box)
        except read_errors() as cause:
            start = tuple(part.start for part in box)
            grid = tuple(a // n for a, n in zip(start, source.chunks or start, strict=True))
            return ChunkError(
                f"chunk {key(start) if key else grid} of {source.label} is damaged ({_short(cause)}); {advice}"
            )
    return ChunkError(
        f"{source.label} cannot be read ({_short(error)}); check that it is complete and reachable, or try again"
    )


def cells(index: tuple[slice, ...], cell: tuple[int, ...], shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """The cells of a grid over ``shape`` that ``index`` touches."""
    ranges = [range(part.start // c, -(-part.stop // c)) for part, c in zip(index, cell, strict=True)]
    for at in product(*ranges):
        yield tuple(slice(i * c, min((i + 1) * c, n)) for i, c, n in zip(at, cell, shape, strict=True))


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    return (text if len(text) <= 120 else text[:117] + "...") or type(error).__name__

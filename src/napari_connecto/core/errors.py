"""Errors with a one-line message: what was got, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 800
"""Longest message in characters; longer ones are cut in the middle."""


class ConnectoError(Exception):
    """Base of every error that napari-connecto raises on purpose.

    Its text is one printable line, even if it quotes untrusted input.
    """

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class InputError(ConnectoError, ValueError):
    """An input or a parameter cannot be used."""


class ChoiceError(InputError):
    """An ambiguous input: ``lines`` list the options, ``chosen`` are options that select one."""

    def __init__(self, message: str, lines: Iterable[str] = (), chosen: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.lines, self.chosen = tuple(lines), dict(chosen or {})


class VoxelSizeError(InputError):
    """A voxel size is missing, or no level fits the model."""


class ModelError(InputError):
    """Weights or a card that cannot be used or trusted."""


class TooBigError(ModelError):
    """Not even one tile fits into memory."""


class ChunkError(ConnectoError):
    """A chunk of the input is missing or damaged; the message names it."""


class StoreError(ConnectoError):
    """An output cannot be made, resumed or written."""


class ClusterError(ConnectoError):
    """A Dask cluster cannot continue; finished parts are saved."""


class Cancelled(ConnectoError):
    """The user stopped a job; finished parts are saved."""


SHORT_OF_MEMORY = (
    "out of memory",
    "memoryerror",
    "can't allocate memory",
    "cannot allocate memory",
    "unable to allocate",
    "not enough memory",
    "bad_alloc",
    "can't start new thread",
    "failed to map segment",
    "without exception set",
    "without setting an exception",
)
"""Messages of CUDA, Python, torch on the CPU, numpy, the operating system, threads without room for a stack, libraries
that cannot be loaded, and Python without memory for the error itself."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy, torch or CUDA means that memory ran out."""
    said = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or "outofmemory" in said or any(words in said for words in SHORT_OF_MEMORY)

"""What can go wrong, said in one line: what was got, what is allowed, what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

LONGEST = 800
"""Characters of a message; of a longer one both ends are shown."""


class ConnectoError(Exception):
    """Base of every error that napari-connecto raises on purpose.

    Its text is one line that can be printed, for it quotes what may come from anywhere.
    """

    def __str__(self) -> str:
        text = " ".join(super().__str__().split())
        if len(text) > LONGEST:
            text = f"{text[: LONGEST // 2]} [...] {text[-LONGEST // 2 :]}"
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


class InputError(ConnectoError, ValueError):
    """Something the user gave cannot be used."""


class ChoiceError(InputError):
    """Several things are there and none was chosen; ``lines`` list them, ``chosen`` are options that show one."""

    def __init__(self, message: str, lines: Iterable[str] = (), chosen: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.lines, self.chosen = tuple(lines), dict(chosen or {})


class VoxelSizeError(InputError):
    """A voxel size is absent, or no level fits the model."""


class ModelError(InputError):
    """Weights or a card that cannot be used or trusted."""


class TooBigError(ModelError):
    """Not even one tile fits into memory."""


class ChunkError(ConnectoError):
    """A chunk of the input is missing or damaged; the message names it."""


class StoreError(ConnectoError):
    """An output cannot be made, resumed or written."""


class ClusterError(ConnectoError):
    """A Dask cluster cannot go on; what it finished is kept."""


class Cancelled(ConnectoError):
    """The user stopped a job; what was finished is kept."""


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
"""How CUDA, Python, torch on the CPU, numpy, the system, threads without room for their stack, libraries that cannot
be loaded, and Python where it had no room left for the error itself, say so."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error of Python, numpy, torch or CUDA says that memory was short."""
    said = f"{type(error).__name__}: {error}".lower()
    return isinstance(error, MemoryError) or "outofmemory" in said or any(words in said for words in SHORT_OF_MEMORY)

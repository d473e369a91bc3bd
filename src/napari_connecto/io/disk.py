"""Safe writing: atomic files, locks, and one-line errors."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import StoreError
from napari_connecto.core.whole import whole_file


@contextlib.contextmanager
def storing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an operating system's refusal to write (read-only, full, no such folder) into one `StoreError`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"cannot write '{path}': {reason}; choose another place or make room there") from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file that is either whole or as it was before; what is not finite becomes null."""
    write_text(path, json_text(value, indent=2, default=plain) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in UTF-8 that is either whole or as it was before."""
    with storing(path), whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    StoreError
        If it is absent or damaged.
    """
    advice = "remove it or choose another folder"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise StoreError(f"cannot read '{path}' ({error}); {advice}") from error
    return parse_json(text, f"'{path}'", StoreError, advice)


def plain(value: Any) -> Any:
    """JSON types of numpy values, tuples, sets, mappings and paths (``default=`` of `json_text`)."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.dtype):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def lock(path: Path, owner: str | os.PathLike[str]) -> FileLock:
    """Take the lock file ``path`` at once; it dies with the process.

    Raises
    ------
    StoreError
        If another process (or another user of this one) holds it; the message names ``owner``.
    """
    held = FileLock(path, thread_local=False)
    with storing(owner):
        try:
            held.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(
                f"'{owner}' is in use by another process; wait for it, or choose another folder"
            ) from error
    return held


def is_folder(path: Path) -> bool:
    """Whether a folder is there; a name that no file system takes is none."""
    try:
        return path.is_dir()
    except OSError:
        return False

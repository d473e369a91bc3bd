"""Open single files, local or at a URL, in a form that can be sent to workers, and detect changes."""

from __future__ import annotations

import os
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Generic, Protocol, TypeVar

import fsspec

from napari_connecto.core.errors import InputError


class Closable(Protocol):
    """Something to be closed."""

    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Reopened(Generic[T]):
    """A file that is opened at first use, closed with its last reference, and reopened after unpickling."""

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._open: T | None = None

    def get(self) -> T:
        """The open file of this process."""
        with self._lock:
            if self._open is None:
                self._open = self._opener()
                weakref.finalize(self, self._open.close)
            return self._open

    def __reduce__(self) -> tuple[Any, ...]:
        return Reopened, (self._opener,)


ZARR_FILES = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
"""Files one of which every zarr store has."""


def is_url(path: str) -> bool:
    """Whether fsspec, rather than the file system, reaches ``path``."""
    return "://" in path


def check_path(path: str | os.PathLike[str]) -> str:
    """A path or URL as text.

    Raises
    ------
    InputError
        If it is none that any system could have, or an address that pathlib has cut.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(text, str):
        raise InputError(f"got the path {path!r}; it is text")
    if not isinstance(path, str) and re.match(r"\w{2,}:/(?!/)", text):
        raise InputError(f"got {path!r}; pathlib takes a slash from an address: give it as text")
    odd = not text or "\0" in text or any("\ud800" <= c <= "\udbff" for c in text)
    if odd or (not is_url(text) and (len(text) > 4096 or max(map(len, text.split("/"))) > 255)):
        raise InputError(f"got the path {text!r}; allowed are 1 to 4096 characters, none 0, 255 between slashes")
    return text


def open_binary(path: str) -> BinaryIO:
    """A local file or fsspec URL, opened for reading only.

    Raises
    ------
    InputError
        If the URL's protocol is unknown or needs a package that is not installed.
    """
    if not is_url(path):
        return Path(path).open("rb")
    try:
        return fsspec.open(path, "rb").open()
    except (ValueError, ImportError) as error:
        raise InputError(f"cannot open '{path}': {error}; for s3:// install napari-connecto[s3]") from error


def file_revision(path: str) -> str:
    """Text that changes when the file does: its size and time of change, or what the server says of it."""
    if not is_url(path):
        stat = os.stat(path)
        return f"{stat.st_size}:{stat.st_mtime_ns}"
    system, inner = fsspec.core.url_to_fs(path)
    info = system.info(inner)
    return str({key: str(info[key]) for key in ("size", "ETag", "mtime", "LastModified", "created") if key in info})


def stat_text(path: Path) -> str:
    """Size and time of change; "-" where there is no such file."""
    try:
        return file_revision(str(path))
    except OSError:
        return "-"

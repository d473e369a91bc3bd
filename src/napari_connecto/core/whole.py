"""Files and folders that are whole or not there: written beside their place, moved into it at the end."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ORPHANED_S = 600
"""Seconds after which nobody is writing a file any more that was not written to."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write what will be at ``path``, which stays as it is if that fails.

    Raises
    ------
    OSError
        As writing does.
    """
    partial = _beside(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Where to fill what will be the new folder ``path``, whose parent is made; nothing is left where that fails.

    Raises
    ------
    OSError
        As writing does, and if ``path`` is a folder with something in it, or a file.
    """
    partial = _beside(path)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(path)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def sweep(folder: Path) -> None:
    """Delete the files that a kill left half written directly in a folder, but not those that are being written.

    Raises
    ------
    OSError
        If one cannot be deleted.
    """
    for orphan in filter(is_partial, folder.iterdir()):
        with suppress(FileNotFoundError):  # it has just got its name
            if orphan.is_file() and time.time() - orphan.stat().st_mtime > ORPHANED_S:
                orphan.unlink()


def is_partial(path: Path) -> bool:
    """Whether this is the name of what is not whole yet."""
    return path.match(".*.*.partial")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")

"""Files and folders that are complete or absent: written beside their place, moved there at the end."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ORPHANED_S = 600
"""Seconds without a write after which an unfinished file counts as abandoned."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Where to write the future ``path``, which stays as it is if writing fails.

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
    """Where to fill the new folder ``path``, whose parent is created; nothing is left if that fails.

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
    """Delete unfinished files left directly in a folder by killed processes, but not those being written.

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
    """Whether this is the name of an unfinished file."""
    return path.match(".*.*.partial")


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")

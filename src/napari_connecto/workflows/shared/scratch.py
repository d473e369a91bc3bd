"""Scratch folders left by runs that were killed."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from napari_connecto.io.stores.job_folder import SCRATCH

IDLE_S = 86400
"""A folder unchanged for this long belongs to no running job."""


def list_scratch() -> list[tuple[Path, int]]:
    """Folders unchanged for a day, and their sizes in bytes."""
    found = []
    for folder in sorted(Path(tempfile.gettempdir()).glob(f"{SCRATCH}*")):
        with suppress(OSError):
            if folder.is_symlink() or not folder.is_dir():
                continue
            files = [path.lstat() for path in folder.rglob("*")]
            if max([folder.stat().st_mtime, *(f.st_mtime for f in files)]) < time.time() - IDLE_S:
                found.append((folder, sum(f.st_size for f in files)))
    return found


def remove_scratch(folder: Path) -> int:
    """Delete one; returns the bytes freed."""
    size = folder_bytes(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size - folder_bytes(folder)


def folder_bytes(folder: Path) -> int:
    """Total bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*"))

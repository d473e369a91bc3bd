"""Chunks that can be recomputed, stored as files beside a result or in the user's cache."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numcodecs import Zstd

from napari_connecto.core.settings import settings
from napari_connecto.core.whole import whole_file

log = logging.getLogger("napari_connecto")

IN_USE_S = 3600
"""A folder that was opened less than this ago is not deleted to make room for another."""
_MB, _GB, _SUM = 1e6, 1e9, 16


@dataclass(frozen=True)
class ChunkFolder:
    """One file per chunk, whole or absent; what is damaged or cannot be written counts as absent.

    Any number of threads and processes may share a folder. Picklable.
    """

    path: Path

    def get(self, cell: Sequence[int], shape: Sequence[int], dtype: np.dtype) -> np.ndarray | None:
        """The chunk of these indices, or None; ``shape`` and ``dtype`` are those it was put away with."""
        try:
            data = self._file(cell).read_bytes()
        except OSError:
            return None
        if hashlib.blake2b(data[_SUM:], digest_size=_SUM).digest() != data[:_SUM]:
            return None
        raw = Zstd().decode(data[_SUM:])
        if len(raw) != prod(shape) * dtype.itemsize:
            return None
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(tuple(shape)).astype(dtype)

    def has(self, cell: Sequence[int]) -> bool:
        """Whether the chunk was put away."""
        return self._file(cell).exists()

    def put(self, cell: Sequence[int], block: np.ndarray) -> None:
        """Put a chunk away."""
        data = bytes(Zstd(level=1).encode(np.ascontiguousarray(block, block.dtype.newbyteorder("<"))))
        path = self._file(cell)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(path) as partial:
                partial.write_bytes(hashlib.blake2b(data, digest_size=_SUM).digest() + data)
        except OSError as error:
            log.info("a chunk of a coarse level is not kept: %s", error)

    def _file(self, cell: Sequence[int]) -> Path:
        return self.path / ".".join(map(str, cell))


def cache_folder() -> Path:
    """Where coarse levels lie, see `napari_connecto.core.settings`; may be deleted."""
    return settings().cache / "levels"


def cached_levels(key: str, size: int) -> Path | None:
    """The folder in the user's cache for ``size`` bytes of levels; None where so much is not to be kept.

    What was not used for longest goes until there is room. Nothing is written here.
    """
    most = settings().cache_gb * _GB
    if size > most:
        return None
    path = cache_folder() / f"{key}-{-int(-size // _MB)}"
    others = sum(taken for other, taken, _ in list_levels() if other != path)
    for other, taken, used in list_levels():
        if others + size <= most:
            break
        if other != path and used < time.time() - IN_USE_S:
            shutil.rmtree(other, ignore_errors=True)
            others -= taken
    if others + size > most:
        return None
    with suppress(OSError):
        os.utime(path)
    return path


def list_levels() -> list[tuple[Path, int, float]]:
    """What lies in the cache: folder, bytes that it may grow to, when it was last opened (seconds since 1970)."""
    found = []
    with suppress(OSError):
        for path in cache_folder().iterdir():
            size = path.name.rpartition("-")[2]
            if size.isdecimal() and path.is_dir() and not path.is_symlink():
                found.append((path, int(int(size) * _MB), path.stat().st_mtime))
    return sorted(found, key=lambda item: item[2])

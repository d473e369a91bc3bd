"""Cache of converted networks in the user's cache folder, because a conversion takes seconds."""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from napari_connecto.core.settings import settings
from napari_connecto.core.whole import whole_file

log = logging.getLogger("napari_connecto")

_SUM, _LENGTH = 32, 8
_GB = 1e9


def cache_folder() -> Path:
    """Where converted networks lie, see `napari_connecto.core.settings`; may be deleted."""
    return settings().cache / "openvino"


def kept(key: str) -> tuple[bytes, bytes] | None:
    """The two parts put away under a key, or None if there are none or a bit of them has changed."""
    path = cache_folder() / key
    try:
        data = path.read_bytes()
    except OSError:
        return None
    body = data[_SUM:]
    if len(body) < _LENGTH or hashlib.sha256(body).digest() != data[:_SUM]:
        log.info("the converted network '%s' is damaged and will be converted again", path)
        return None
    with suppress(OSError):
        os.utime(path)  # used just now: the last to go
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    return body[_LENGTH:end], body[end:]


def keep(key: str, first: bytes, second: bytes) -> None:
    """Store two parts, completely or not at all, and remove least recently used entries beyond the cache's size.

    Where nothing can be written, nothing is.
    """
    body = len(first).to_bytes(_LENGTH, "little") + first + second
    path, most = cache_folder() / key, settings().cache_gb * _GB
    if _SUM + len(body) > most:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_bytes(hashlib.sha256(body).digest() + body)
    except OSError as error:
        log.info("a converted network is not kept: %s", error)
    shrink(most)


def list_kept() -> list[tuple[Path, int, float]]:
    """What lies in the cache: file, bytes, and when it was last used (seconds since 1970); the oldest first."""
    found = []
    for path in cache_folder().glob("*"):
        with suppress(OSError):  # it went in between
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                found.append((path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda item: item[2])


def shrink(most: float) -> int:
    """Remove least recently used entries until ``most`` bytes are left; returns the bytes freed."""
    items = list_kept()
    left, gone = sum(size for _, size, _ in items), 0
    for path, size, _ in items:
        if left <= most:
            break
        try:
            path.unlink()
        except OSError as error:
            log.info("'%s' stays in the cache: %s", path, error)
            continue
        left, gone = left - size, gone + size
    return gone

"""Converted networks kept between runs in the user's cache folder: converting one takes seconds."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

log = logging.getLogger("napari_connecto")

_SUM, _LENGTH = 32, 8


def cache_folder() -> Path:
    """Where converted networks lie: XDG_CACHE_HOME, or LOCALAPPDATA on Windows, else ~/.cache; may be deleted."""
    stated = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
    return Path(stated or os.path.expanduser("~/.cache")) / "napari-connecto" / "openvino"


def kept(key: str) -> tuple[bytes, bytes] | None:
    """The two parts put away under a key, or None if there are none or a bit of them has changed."""
    try:
        data = (cache_folder() / key).read_bytes()
    except OSError:
        return None
    body = data[_SUM:]
    if len(body) < _LENGTH or hashlib.sha256(body).digest() != data[:_SUM]:
        log.info("the converted network '%s' is damaged and will be made again", cache_folder() / key)
        return None
    end = _LENGTH + int.from_bytes(body[:_LENGTH], "little")
    return body[_LENGTH:end], body[end:]


def keep(key: str, first: bytes, second: bytes) -> None:
    """Put two parts away, whole or not at all; where nothing can be written, nothing is."""
    body = len(first).to_bytes(_LENGTH, "little") + first + second
    path = cache_folder() / key
    temporary = path.with_name(f"{key}.{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except OSError as error:
        log.info("a converted network is not kept: %s", error)
        with suppress(OSError):
            temporary.unlink(missing_ok=True)

"""A file of events, one JSON line each, that remains readable if it is truncated anywhere."""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import StoreError
from napari_connecto.io.disk import plain, storing


class EventLog:
    """Append-only; each line is a checksum and an object. A damaged tail is left out, and cut off by the next append.

    One process appends; any may read meanwhile.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._clean = False

    def append(self, event: Mapping[str, Any]) -> None:
        """Add one; on return it is on the disk.

        Raises
        ------
        StoreError
            If the file cannot be written.
        """
        body = json_text(dict(event), default=plain).encode()
        with storing(self.path):
            if not self._clean:
                self._cut_tail()
            with self.path.open("ab") as file:
                file.write(b"%08x %s\n" % (zlib.crc32(body), body))
                file.flush()
                os.fsync(file.fileno())

    def events(self) -> list[dict[str, Any]]:
        """All whole events, in the order they were appended.

        Raises
        ------
        StoreError
            If a whole line is no event, which no cut makes of one.
        """
        return self._whole()[0]

    def _whole(self) -> tuple[list[dict[str, Any]], int]:
        with storing(self.path):
            content = self.path.read_bytes() if self.path.exists() else b""
        found, length = [], 0
        for line in content.splitlines(keepends=True):
            event = _parsed(line, f"an event of '{self.path}'")
            if event is None:
                break
            found.append(event)
            length += len(line)
        return found, length

    def _cut_tail(self) -> None:
        length = self._whole()[1]
        if self.path.exists() and self.path.stat().st_size > length:
            os.truncate(self.path, length)
        self._clean = True


def _parsed(line: bytes, where: str) -> dict[str, Any] | None:
    """The event of a whole line, else None."""
    checksum, space, body = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or not space or checksum != b"%08x" % zlib.crc32(body):
        return None
    event = parse_json(body, where, StoreError, "restore the folder's copy")
    if not isinstance(event, dict):
        raise StoreError(f"got {body[:80]!r} as {where}, not a mapping; restore the folder's copy")
    return event

"""An append-only file of small records that remains readable if it is truncated anywhere."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from napari_connecto.core.errors import StoreError
from napari_connecto.io.disk import storing


class Journal:
    """Fixed-size records, each with a checksum, after one line that states their type.

    A truncated or damaged tail (the process or the machine died while writing) is left out by `records` and cut off
    by the first `append`. One process appends; any may read meanwhile.

    Parameters
    ----------
    path
        Of the file; made by the first `append`.
    dtype
        Of one record, plain or structured, without objects.
    """

    def __init__(self, path: str | os.PathLike[str], dtype: DTypeLike) -> None:
        self.path = Path(path)
        self.dtype = np.dtype(dtype)
        self._framed = np.dtype([("record", f"V{self.dtype.itemsize}"), ("crc", "<u4")])
        self._header = (json.dumps({"journal": 1, "dtype": _describe(self.dtype)}) + "\n").encode()
        self._clean = False

    def append(self, records: ArrayLike) -> None:
        """Add one record or an array of them; on return they are in the file.

        Raises
        ------
        StoreError
            If the file cannot be written or holds records of another type.
        """
        values = np.atleast_1d(np.asarray(records, self.dtype))
        framed = np.empty(len(values), self._framed)
        framed["record"] = np.ascontiguousarray(values).view(f"V{self.dtype.itemsize}")
        framed["crc"] = list(self._checksums(framed.tobytes()))
        with storing(self.path):
            if not self._clean:
                self._cut_tail()
            with self.path.open("ab") as file:
                file.write(framed.tobytes())

    def records(self) -> np.ndarray:
        """All whole records, in the order they were appended; a copy."""
        body = self._body()
        framed = np.frombuffer(body[: len(body) // self._framed.itemsize * self._framed.itemsize], self._framed)
        pairs = zip(self._checksums(body), framed["crc"].tolist(), strict=True)
        whole = next((i for i, (computed, stored) in enumerate(pairs) if computed != stored), len(framed))
        return np.ascontiguousarray(framed["record"][:whole]).view(self.dtype).copy()

    def _checksums(self, body: bytes) -> Iterator[int]:
        """Of each whole framed record."""
        size, view = self._framed.itemsize, memoryview(body)
        return (zlib.crc32(view[a : a + self.dtype.itemsize]) for a in range(0, len(body) - size + 1, size))

    def _body(self) -> bytes:
        with storing(self.path):
            content = self.path.read_bytes() if self.path.exists() else b""
        if self._header.startswith(content):  # absent, empty, or cut off within its first line
            return b""
        if not content.startswith(self._header):
            line = content.partition(b"\n")[0]
            raise StoreError(f"'{self.path}' holds other records ({line[:80]!r}); choose another folder")
        return content[len(self._header) :]

    def _cut_tail(self) -> None:
        whole = len(self._header) + len(self.records()) * self._framed.itemsize
        if not self.path.exists() or self.path.stat().st_size < len(self._header):
            self.path.write_bytes(self._header)
        elif self.path.stat().st_size > whole:
            os.truncate(self.path, whole)
        self._clean = True


def _describe(dtype: np.dtype) -> Any:
    return dtype.str if dtype.names is None else [[name, dtype[name].str] for name in dtype.names]

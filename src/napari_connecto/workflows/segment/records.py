"""What a block leaves on disk for those that come after it: arrays by name."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import StoreError
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing


class Record:
    """Saved record of a block: arrays by name, each read on demand; a context manager.

    Raises
    ------
    StoreError
        If it is absent or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._reading():
            self._file = np.load(path, allow_pickle=False)

    def __getitem__(self, name: str) -> np.ndarray:
        with self._reading():
            return np.asarray(self._file[name])

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise StoreError(f"cannot read '{self.path}' ({error}); choose a new folder") from error


def write_arrays(path: Path, content: dict[str, np.ndarray]) -> None:
    """Save arrays; the file is whole or absent."""
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **content)

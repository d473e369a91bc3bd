"""A folder of its own in which a loader works: nothing that it leaves unfinished gets among the data."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from napari_connecto.core.errors import StoreError
from napari_connecto.core.jobs import Job, Progress

STAGE = ".napari-connecto-loading"
"""Name of that folder, inside the folder of the data."""
PIECE = 2**24
"""Bytes that are copied between two reports."""
State: TypeAlias = tuple[int, int]
"""Size and time of the last change of a file."""


class Stage:
    """Copies of the data, which a loader reads, changes and adds to; moved among the data once it has come to its end.

    Copies, not links: some loaders change a file in place. Nothing is ever deleted but this folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / STAGE
        self._copied: dict[Path, tuple[State, State]] = {}

    def fill_job(self) -> Job[None]:
        """Begin anew with copies of all data; top-level names with a dot in front are not data.

        Raises
        ------
        StoreError
            If they cannot be copied.
        """
        with self._storing():
            if os.path.lexists(self.path):
                shutil.rmtree(self.path)  # a killed run's
            self.path.mkdir(parents=True)
            for name in [name for name in _files(self.folder) if not name.parts[0].startswith(".")]:
                source, copy = self.folder / name, self.path / name
                before = _state(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as read, copy.open("wb") as write:
                    while piece := read.read(PIECE):
                        write.write(piece)
                        yield Progress(0, 1)
                self._copied[name] = before, _state(copy)

    def settle(self) -> None:
        """Move what the loader has made or changed among the data; a new folder is moved as a whole.

        In order of names, so that the chunks of a zarr array come before its zarr.json.

        Raises
        ------
        StoreError
            If another file has got there in the meantime, which is kept, or they cannot be moved.
        """
        with self._storing():
            changed = [name for name in _files(self.path) if not self._is_copy(name)]
            for name in changed:
                self._refuse_other(name)
            for name in changed:
                if (self.path / name).exists():  # else moved with its folder
                    parents = reversed(name.parents[:-1])
                    place = next((one for one in parents if not (self.folder / one).exists()), name)
                    (self.path / place).replace(self.folder / place)

    def settled(self, path: Path) -> Path:
        """Where a file of this folder is among the data."""
        return self.folder / path.relative_to(self.path) if path.is_relative_to(self.path) else path

    def remove(self) -> None:
        """Delete this folder; what cannot be deleted now is left to the next `fill_job`."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)

    def _is_copy(self, name: Path) -> bool:
        return name in self._copied and self._copied[name][1] == _state(self.path / name)

    def _refuse_other(self, name: Path) -> None:
        """Only a file that is as it was when it was copied may be replaced."""
        target = self.folder / name
        if os.path.lexists(target) and not (name in self._copied and self._copied[name][0] == _state(target)):
            raise StoreError(f"'{target}' was written by another program during the download; run the command again")

    @contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            advice = "make room there, or choose another folder"
            raise StoreError(f"cannot write in '{self.folder}': {reason}; {advice}") from error


def _files(folder: Path) -> list[Path]:
    """Places in the folder of all files in it, sorted."""
    walked = os.walk(folder, followlinks=True)
    return sorted((Path(inside) / name).relative_to(folder) for inside, _, names in walked for name in names)


def _state(path: Path) -> State:
    told = path.stat()
    return told.st_size, told.st_mtime_ns

"""A folder that belongs to one job: the same job can be resumed in it, another is refused."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock

from napari_connecto.core.documents import json_text
from napari_connecto.core.errors import InputError, StoreError
from napari_connecto.core.whole import is_partial, sweep
from napari_connecto.io.disk import lock, plain, read_json, storing, write_json

_JOB, _LOCK = "job.json", ".lock"
SCRATCH = "napari-connecto-scratch-"
"""Prefix of temporary folders made here; left-over ones may be deleted."""


class JobFolder:
    """An open, locked job folder; use it as a context manager, which a job does not leave well if the folder is gone.

    Holds ``job.json`` (the fingerprint: everything that must be the same for a run to be resumed) and whatever the
    job puts beside it. Made by `JobFolder.open`.
    """

    def __init__(self, path: Path, held: FileLock, resumed: bool) -> None:
        self.path = path
        self.resumed = resumed
        self._lock = held

    @classmethod
    def open(
        cls, path: str | os.PathLike[str], fingerprint: Mapping[str, Any], *, overwrite: bool = False
    ) -> JobFolder:
        """Make the folder, or come back to it.

        Parameters
        ----------
        path
            New, empty, or the folder of the same job.
        fingerprint
            JSON values (numpy scalars and tuples are fine).
        overwrite
            Empty the folder of another job first. A folder that is no job's is never emptied.

        Raises
        ------
        InputError
            If it is a URL.
        StoreError
            If it belongs to another job (the message says what differs), to no job, is in use, or cannot be written.
        """
        if re.match(r"\w{2,}:/", os.fspath(path)):
            raise InputError(
                f"got the result folder '{os.fspath(path)}'; results need a local or shared folder, because object "
                "stores neither rename nor lock. Copy a finished result there with `napari-connecto convert`"
            )
        path = Path(path)
        wanted = json.loads(json_text(fingerprint, default=plain))
        _refuse_foreign(path)
        with storing(path):
            path.mkdir(parents=True, exist_ok=True)
        held = lock(path / _LOCK, path)
        try:
            with storing(path):
                sweep(path)
            resumed = (path / _JOB).exists()
            if resumed and overwrite:
                _empty(path)
                resumed = False
            if resumed:
                _refuse_other(path, wanted)
            else:
                write_json(path / _JOB, {"fingerprint": wanted})
        except BaseException:
            held.release()
            raise
        return cls(path, held, resumed)

    def write_json(self, name: str, value: Any) -> None:
        """Write ``name`` in the folder, atomically."""
        write_json(self.path / name, value)

    def remove(self, name: str) -> None:
        """Take ``name`` away, if it is there."""
        with storing(self.path):
            (self.path / name).unlink(missing_ok=True)

    def read_json(self, name: str) -> Any:
        """Read ``name``; `StoreError` if it is absent or damaged."""
        return read_json(self.path / name)

    def close(self) -> None:
        """Give the folder free for other processes."""
        self._lock.release()

    def __enter__(self) -> JobFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if kind is None and not (self.path / _JOB).exists():
            raise StoreError(f"'{self.path}' was deleted while the job was writing into it; run again")


def _refuse_foreign(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise StoreError(f"'{path}' is a file; choose a new folder")
    with storing(path):
        content = {item.name for item in path.iterdir() if not is_partial(item)} - {_LOCK} if path.is_dir() else set()
    if content and _JOB not in content:
        raise StoreError(f"'{path}' exists and is not the folder of a job; choose a new folder")


def _refuse_other(path: Path, wanted: Mapping[str, Any]) -> None:
    stored = read_json(path / _JOB)
    if not isinstance(stored, dict) or not isinstance(stored.get("fingerprint"), dict):
        raise StoreError(f"'{path / _JOB}' is damaged; choose a new folder")
    differences = _differences(wanted, stored["fingerprint"])
    if differences:
        raise StoreError(
            f"'{path}' holds another job: {'; '.join(differences[:4])}; choose a new folder, or run with what is stored"
        )


def _differences(got: Any, stored: Any, name: str = "") -> list[str]:
    """What differs, one line per innermost key."""
    if isinstance(got, dict) and isinstance(stored, dict):
        keys = sorted(got.keys() | stored.keys())
        return [
            line
            for key in keys
            for line in _differences(got.get(key), stored.get(key), f"{name}.{key}" if name else str(key))
        ]
    return [] if got == stored else [f"{name}: got {_short(got)}, stored {_short(stored)}"]


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _empty(path: Path) -> None:
    with storing(path):
        for item in path.iterdir():
            if item.name == _LOCK:
                continue
            if item.is_dir() and not item.is_symlink():
                shutil.rmtree(item)
            else:
                item.unlink()


def result_folder(out: str | os.PathLike[str] | None) -> Path:
    """``out``, or a folder in the temporary directory that is gone when the process ends."""
    if out is not None:
        return Path(out)
    folder = tempfile.mkdtemp(prefix=SCRATCH)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "run"

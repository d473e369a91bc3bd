"""Words of shell commands that do what a dock does, and the machine that a job is sent to; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.params import word


def volume_words(spec: Mapping[str, Any]) -> list[str]:
    """A volume of a recipe as path and options."""
    path = str(spec["path"])
    words = [f"./{path}" if path.startswith("-") else path]
    for name in ("array", "channel", "time", "axes"):
        if spec.get(name) is not None:
            words += [f"--{name}", str(spec[name])]
    for name in ("voxel_nm", "origin_nm"):
        if spec.get(name):
            words += [f"--{name.replace('_', '-')}", *map(word, spec[name])]
    if spec.get("invert"):
        words.append("--invert")
    return words


def file_spec(name: str, spec: Mapping[str, Any] | None) -> dict[str, Any]:
    """How a recipe names the volume ``name``.

    Raises
    ------
    InputError
        If it is no file: ``spec`` is None.
    """
    if spec is None:
        raise InputError(f"'{name}' is no file; save it as OME-Zarr first to run it from a command line")
    return dict(spec)


@dataclass(frozen=True)
class RunOn:
    """Where tiles run: on the Dask cluster at ``scheduler``, on ``workers`` processes of its own, or, without, here."""

    scheduler: str = ""
    workers: int = 0

    @property
    def words(self) -> list[str]:
        """As options of a command."""
        if self.scheduler:
            return ["--scheduler", self.scheduler]
        return ["--workers", str(self.workers)] if self.workers else []

    @property
    def starting(self) -> str:
        """What `client` does first, in words a user reads."""
        if self.scheduler:
            return f"connecting to {self.scheduler}"
        return f"starting {self.workers} workers" if self.workers else "starting"

    def client(self) -> AbstractContextManager[Any]:
        """A Dask client while the context lasts, None for this process; it takes seconds, so not in the GUI's thread.

        Raises
        ------
        InputError
            If the cluster cannot be reached.
        """
        if not self.words:
            return nullcontext()
        from napari_connecto.compute.cluster import connect  # distributed: half a second

        return connect(self.scheduler, self.workers)


HERE = RunOn()
"""In this process."""

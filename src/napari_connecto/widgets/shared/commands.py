"""What a dock's run needs beside its parameters: a file, and the machine that it is sent to; no Qt, no napari."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


def file_spec(name: str, spec: VolumeSpec | None) -> VolumeSpec:
    """What names the volume ``name`` in a recipe.

    Raises
    ------
    InputError
        If it is not a file: ``spec`` is None.
    """
    if spec is None:
        raise InputError(f"'{name}' is not stored in a file; save it as OME-Zarr first to run this from a command line")
    return spec


@dataclass(frozen=True)
class RunOn:
    """Where tiles run: on the Dask cluster at ``scheduler``, in ``workers`` local processes, or in this process."""

    scheduler: str = ""
    workers: int = 0

    @property
    def words(self) -> list[str]:
        """As command options."""
        if self.scheduler:
            return ["--scheduler", self.scheduler]
        return ["--workers", str(self.workers)] if self.workers else []

    @property
    def starting(self) -> str:
        """What `client` does first, in words."""
        if self.scheduler:
            return f"connecting to {self.scheduler}"
        return f"starting {self.workers} workers" if self.workers else "starting"

    def client(self) -> AbstractContextManager[Any]:
        """A Dask client for the duration of the context, or None for this process.

        Starting one takes seconds, so call it outside the GUI thread.
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

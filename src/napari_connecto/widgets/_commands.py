"""Words of shell commands that do what a dock does, and the machine that a job is sent to; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import fields
from typing import Any

from napari_connecto.core.errors import InputError


def volume_words(spec: Mapping[str, Any]) -> list[str]:
    """A volume of a recipe as path and options."""
    words = [str(spec["path"])]
    for name in ("array", "channel", "time"):
        if spec.get(name) is not None:
            words += [f"--{name}", str(spec[name])]
    if spec.get("voxel_nm"):
        words += ["--voxel-nm", *(f"{v:g}" for v in spec["voxel_nm"])]
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


def params_words(kind: type[Any], params: Mapping[str, Any]) -> list[str]:
    """Params of a recipe as options; those at their default are left out."""
    words: list[str] = []
    for field in fields(kind):
        value = params[field.name]
        if value is not None and value != field.default:
            flag = f"--{field.name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    return words


def cluster(scheduler: str) -> AbstractContextManager[Any]:
    """A client of the Dask scheduler at this address while the context lasts; None for ""."""
    if not scheduler:
        return nullcontext()
    from napari_connecto.compute.cluster import connect  # distributed: half a second

    return connect(scheduler)

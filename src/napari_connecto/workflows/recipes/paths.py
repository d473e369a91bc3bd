"""The files and folders that a run names: written with their whole paths, so that it can be repeated from anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.io.files import is_url
from napari_connecto.sample_data import cascade_folder
from napari_connecto.workflows.recipes.entries.run import Run
from napari_connecto.workflows.recipes.parts import detector_path, model_folder, translator_folder
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

PATHS = ("out", "session", "folder", "input")
"""Roles of fields that are a path, and nothing else."""
NAMED: dict[str, Callable[[str | Path], Path]] = {
    "model": model_folder,
    "cascade": cascade_folder,
    "translator": translator_folder,
    "detector": detector_path,
}
"""Roles of fields that are a path or the name of something that ships, and what finds its folder."""


def whole_paths(run: Run) -> Run:
    """The run with local paths that count from the current folder made absolute; URLs and names stay."""
    changed = {field.name: _whole(getattr(run, field.name), field.metadata["role"]) for field in fields(run)}
    return replace(run, **changed)


def _whole(value: Any, role: str) -> Any:
    if isinstance(value, VolumeSpec):
        path = value.path if is_url(value.path) else str(Path(value.path).expanduser().absolute())
        return replace(value, path=path)
    if not role or not value or is_url(value):
        return value
    if role in PATHS or _is_path(NAMED[role], Path(value)):
        return str(Path(value).absolute())
    return value


def _is_path(find: Callable[[str | Path], Path], given: Path) -> bool:
    try:
        folder = find(given)
    except InputError:
        return False
    return given in (folder, folder.parent)


def check_inputs(run: Run, path: str | Path) -> None:
    """See whether the volumes and tables that the recipe at ``path`` names are there, before anything is done.

    Raises
    ------
    InputError
        If a local one is gone.
    """
    for field in fields(run):
        named = getattr(run, field.name)
        named = named.path if isinstance(named, VolumeSpec) else named if field.metadata["role"] == "input" else None
        if named is None or is_url(named) or Path(named).expanduser().exists():
            continue
        place, other = Path(named).expanduser().absolute(), ", or give --volume PATH" if field.name == "volume" else ""
        raise InputError(
            f"no file or folder at '{place}', which the recipe '{path}' names ({field.name}); correct the recipe{other}"
        )

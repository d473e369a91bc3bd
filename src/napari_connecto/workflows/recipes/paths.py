"""The files and folders that a recipe names: written with their whole paths, so that it can be run from anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.io.files import is_url
from napari_connecto.sample_data import cascade_folder
from napari_connecto.workflows.recipes.parts import model_folder
from napari_connecto.workflows.recipes.translate import translator_folder

VOLUMES = ("volume", "labels", "em", "like")
PATHS = ("out", "session", "library", "points", "review")
NAMED: dict[str, Callable[[str | Path], Path]] = {
    **dict.fromkeys(("model", "source", "membranes"), model_folder),
    **dict.fromkeys(("cascade", "previous"), cascade_folder),
    "translator": translator_folder,
}
"""Entries that are a path or the name of something that ships, and what finds its folder."""


def whole_paths(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with local paths that count from the current folder made absolute; URLs and names stay."""
    return {key: _whole(key, value) for key, value in recipe.items()}


def _whole(key: str, value: Any) -> Any:
    if key in VOLUMES and isinstance(value, Mapping) and "path" in value:
        return {**value, "path": _whole(key, value["path"])}
    if not isinstance(value, str | Path) or not str(value) or is_url(str(value)):
        return value
    if key in VOLUMES:
        return str(Path(value).expanduser().absolute())
    if key in PATHS or (key in NAMED and _is_path(NAMED[key], Path(value))):
        return str(Path(value).absolute())
    return value


def _is_path(find: Callable[[str | Path], Path], given: Path) -> bool:
    try:
        folder = find(given)
    except InputError:
        return False
    return given in (folder, folder.parent)


def check_inputs(recipe: Mapping[str, Any], path: str | Path) -> None:
    """See whether the volumes and points that the recipe at ``path`` names are there, before anything is done.

    Raises
    ------
    InputError
        If a local one is gone.
    """
    for key in (*VOLUMES, "points", "review"):
        named = recipe.get(key)
        named = named.get("path") if isinstance(named, Mapping) else named
        if not isinstance(named, str) or is_url(named) or Path(named).expanduser().exists():
            continue
        place, other = Path(named).expanduser().absolute(), ", or give --volume PATH" if key == "volume" else ""
        raise InputError(
            f"no file or folder at '{place}', which the recipe '{path}' names ({key}); correct the recipe{other}"
        )


def with_volume(recipe: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The recipe with another volume, opened as the recipe says (array, voxel size, channel)."""
    said = recipe.get("volume")
    return {**recipe, "volume": {**(said if isinstance(said, Mapping) else {}), "path": path}}

"""What recipes of all workflows share."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.params import from_mapping
from napari_connecto.core.volume import Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.files import check_path
from napari_connecto.models.files import CARD
from napari_connecto.sample_data import list_models
from napari_connecto.workflows.adapt.domains import ABOUT
from napari_connecto.workflows.segment.params import SegmentParams

TUNED = "segment.json"
"""Thresholds tuned with a model, beside it."""


PATHS = ("out", "cascade", "model", "session", "library", "points", "source", "review", "previous")
KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("params", "pairing", "prepare", "about"), ("a mapping of names to values", Mapping)),
    **dict.fromkeys(("volume", "labels", "em", "like"), ("a path, or a mapping with 'path'", (str, PathLike, Mapping))),
    **dict.fromkeys(("name", "how", "backend", "label_kind", "before_label"), ("a word", str)),
    "from_scratch": ("true or false", bool),
    "n": ("a whole number", int),
}
"""What the entries of recipes are, beside paths and ``region``."""


OLD_PARAMS = {"gate": "ood_check"}
"""Params by the names that earlier versions wrote into recipes."""


def renamed(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe with its params by their present names."""
    params = recipe.get("params")
    if not isinstance(params, Mapping) or OLD_PARAMS.keys().isdisjoint(params):
        return recipe
    return {**recipe, "params": {OLD_PARAMS.get(name, name): value for name, value in params.items()}}


def check_entries(recipe: Mapping[str, Any]) -> None:
    """Raise `InputError` for an entry of a recipe that is of a wrong type."""
    for key, value in recipe.items():
        if value is None:
            continue
        if key in PATHS:
            check_path(value)
        elif key in KINDS and not isinstance(value, KINDS[key][1]):
            raise InputError(f"got {key} {value!r}; it is {KINDS[key][0]}")


def region_of(recipe: Mapping[str, Any]) -> Box | None:
    """The recipe's region, in voxels of the finest level; None: everywhere.

    Raises
    ------
    InputError
        If it is not six whole numbers.
    """
    numbers = recipe.get("region")
    if numbers is None:
        return None
    if not isinstance(numbers, list | tuple) or len(numbers) != 6 or not all(isinstance(n, int) for n in numbers):
        raise InputError(f"got region {numbers}; it is six numbers: z0 y0 x0 z1 y1 x1, voxels of the finest level")
    return Box(vec3(numbers[:3]), vec3(numbers[3:]))


def region_lines(recipe: Mapping[str, Any], volume: Volume) -> list[str]:
    """Whether the recipe's region reaches outside the volume, in words; [] where it does not."""
    region = region_of(recipe)
    if region is None or region == (inner := region.clip(volume.levels[0].shape)):
        return []
    return [f"region clipped to z y x {inner.start} to {inner.stop}, the voxels that there are"]


def tile_of(recipe: Mapping[str, Any]) -> Vec3 | None:
    """The recipe's tile instead of the model's own; None: the model's.

    Raises
    ------
    InputError
        If it is not three whole numbers above 0.
    """
    numbers = recipe.get("tile")
    if numbers is None:
        return None
    if not isinstance(numbers, list | tuple) or len(numbers) != 3 or not all(type(n) is int and n > 0 for n in numbers):
        raise InputError(f"got tile {numbers}; it is three whole numbers above 0: z y x")
    return vec3(numbers)


def model_folder(name_or_path: str | Path) -> Path:
    """The folder of a model, given as a path (also of what fine-tune wrote) or by the name of a shipped domain.

    Raises
    ------
    InputError
        If there is none.
    """
    return named_folder("model", name_or_path, "model", CARD, list_models())


def named_folder(what: str, name_or_path: str | Path, inner: str, marker: str, shipped: Mapping[str, Path]) -> Path:
    """A folder, or ``inner`` in it, that holds the file ``marker``; or the shipped one of this name.

    Raises
    ------
    InputError
        If there is none; of a folder without the file, whoever loads it says what is wrong.
    """
    if not isinstance(name_or_path, str | Path):
        raise InputError(f"got {what} {name_or_path!r}; give a {what}'s folder, or one of: {', '.join(shipped)}")
    path = Path(name_or_path)
    for folder in (path, path / inner):
        if (folder / marker).is_file():
            return folder
    if str(name_or_path) in shipped:
        return shipped[str(name_or_path)]
    if path.exists():
        return path
    raise InputError(f"got {what} '{name_or_path}'; give a {what}'s folder, or one of: {', '.join(shipped)}")


def tuned_params(model: str | Path) -> SegmentParams:
    """The segmentation parameters that were tuned with a model; the defaults where there are none."""
    folder = model_folder(model)
    for path in (folder / TUNED, folder.parent / TUNED):
        if path.is_file():
            return from_mapping(SegmentParams, read_json(path))
    if (folder / ABOUT).is_file():
        return from_mapping(SegmentParams, read_json(folder / ABOUT).get("segment") or {})
    return SegmentParams()

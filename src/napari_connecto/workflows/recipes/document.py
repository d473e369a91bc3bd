"""A run in the plain types of a recipe, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, get_origin, get_type_hints

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.params import REQUIRED, from_mapping
from napari_connecto.io.files import check_path
from napari_connecto.workflows.recipes.entries import ENTRIES
from napari_connecto.workflows.recipes.entries.leaves import bare, params_kind
from napari_connecto.workflows.recipes.entries.run import Given, Run, fields_of
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

Recipe = Mapping[str, Any]
"""A run in plain types, as YAML has it."""


def recipe_of(run: Run) -> dict[str, Any]:
    """A run in plain types; what is at its default is left out, but for params."""
    recipe: dict[str, Any] = {"workflow": run.workflow}
    for field in fields_of(type(run)):
        value = getattr(run, field.name)
        if value != field.default or field.name == "params":
            recipe[field.name] = _plain(value)
    return recipe


def _plain(value: Any) -> Any:
    if isinstance(value, VolumeSpec):
        return _plain(value.to_json())
    if isinstance(value, Given):
        return _plain(value.values)
    if isinstance(value, Box):
        return [*value.start, *value.stop]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def run_of(recipe: Recipe) -> Run:
    """The run that a recipe asks for.

    Raises
    ------
    InputError
        For an unknown workflow, a missing or unknown entry, or one of a wrong type or outside its range.
    """
    name = recipe.get("workflow")
    if not isinstance(name, str) or name not in ENTRIES:
        raise InputError(f"got workflow {name!r}; there are: {', '.join(ENTRIES)}")
    kind = ENTRIES[name]
    fields, hints = {field.name: field for field in dataclasses.fields(kind)}, get_type_hints(kind)
    given = {key: value for key, value in recipe.items() if key != "workflow" and value is not None}
    lacking = {key for key, field in fields.items() if field.default is REQUIRED} - set(given)
    unknown = set(given) - set(fields)
    if lacking or unknown:
        odd = ", ".join(sorted(map(str, lacking or unknown)))
        problem = f"lacks {odd}" if lacking else f"has unknown {odd}"
        raise InputError(f"the recipe {problem}; '{name}' takes {', '.join(sorted(fields))}")
    return kind(**{key: _read(fields[key], bare(hints[key]), value) for key, value in given.items()})


def _read(field: dataclasses.Field[Any], hint: Any, value: Any) -> Any:
    """The value of a field from plain types."""
    if hint is VolumeSpec:
        return VolumeSpec.of(value)
    if hint is Box:
        return _box(value)
    if hint == tuple[Box, ...]:
        if not isinstance(value, list | tuple):
            raise InputError(f"got {field.name} {value!r}; it is a list of boxes of six numbers each")
        return tuple(_box(numbers) for numbers in value)
    params = params_kind(hint)
    if params is not None:
        if not isinstance(value, Mapping):
            raise InputError(f"got {field.name} {value!r}; it is a mapping of names to values")
        return Given(params, value) if get_origin(hint) is Given else from_mapping(params, value)
    if field.metadata["role"]:
        return check_path(value)
    return tuple(value) if isinstance(value, list) else value


def _box(numbers: Any) -> Box:
    if not isinstance(numbers, list | tuple) or len(numbers) != 6 or not all(isinstance(n, int) for n in numbers):
        raise InputError(f"got region {numbers}; it is six numbers: z0 y0 x0 z1 y1 x1, voxels of the finest level")
    return Box(vec3(numbers[:3]), vec3(numbers[3:]))

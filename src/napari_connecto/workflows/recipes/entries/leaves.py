"""The single values of a run: where each is in a recipe, what its option is called, and what it may be."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from napari_connecto.core.params import flag
from napari_connecto.workflows.recipes.entries.run import Given, OnImage, Run, fields_of
from napari_connecto.workflows.shared.volume_spec import VolumeSpec

SHOWN = ("path", "array", "voxel_nm")
"""Fields of a second volume whose options ``--help`` lists; the others have options, too."""
OF_THE_FILE = (0.0, 0.0, 0.0)
"""Voxel size by which a command asks for what the labels' file states, instead of the image's."""


@dataclass(frozen=True)
class Leaf:
    """One value of a run.

    Parameters
    ----------
    path
        Its keys in a recipe, outermost first.
    option
        Name of its option, with underscores.
    hint
        Type, without None.
    default
        `REQUIRED` where it must be given.
    meta
        What `core.params.param` says of it.
    argument
        Whether a command takes it without an option.
    given
        Whether leaving it out means something else than its default, see `Given`.
    hidden
        Whether ``--help`` leaves it out.
    """

    path: tuple[str, ...]
    option: str
    hint: Any
    default: Any
    meta: Mapping[str, Any]
    argument: bool = False
    given: bool = False
    hidden: bool = False

    def of(self, run: Run) -> Any:
        """Its value in a run; None where it belongs to something that the run has not."""
        value: Any = run
        for name in self.path:
            if value is None:
                return None
            value = value.values.get(name) if isinstance(value, Given) else getattr(value, name)
        return value


def leaves(kind: type[Run]) -> tuple[Leaf, ...]:
    """All values of a workflow's runs, in the order of their fields."""
    hints = get_type_hints(kind)
    return tuple(leaf for field in fields_of(kind) for leaf in _leaves(kind, field, bare(hints[field.name])))


def bare(hint: Any) -> Any:
    """A type without None."""
    if not isinstance(hint, UnionType):
        return hint
    rest = [part for part in get_args(hint) if part is not NoneType]
    return rest[0] if len(rest) == 1 else int | str


def params_kind(hint: Any) -> type | None:
    """The params dataclass that a field holds, whole or only what was given of it; None for other fields."""
    kind = get_args(hint)[0] if get_origin(hint) is Given else hint
    return kind if dataclasses.is_dataclass(kind) and isinstance(kind, type) and _has_params(kind) else None


def params_of(kind: type[Run]) -> type | None:
    """The params dataclass of a workflow; None where it has none."""
    return params_kind(get_type_hints(kind).get("params"))


def _has_params(kind: type) -> bool:
    return kind is not VolumeSpec and all(field.metadata for field in dataclasses.fields(kind))


def _leaves(kind: type[Run], field: dataclasses.Field[Any], hint: Any) -> Iterator[Leaf]:
    name, argument, params = field.name, field.name in kind.arguments, params_kind(hint)
    if hint is VolumeSpec:
        yield from _volume(field, argument, second=issubclass(kind, OnImage))
    elif params is not None:
        hints, given = get_type_hints(params), get_origin(hint) is Given
        prefix = f"{name}_" if name in kind.prefixed else ""
        for inner in dataclasses.fields(params):
            option = kind.options.get(f"{name}.{inner.name}", prefix + inner.name)
            yield Leaf((name, inner.name), option, bare(hints[inner.name]), inner.default, inner.metadata, given=given)
    else:
        yield Leaf((name,), name, hint, field.default, field.metadata, argument)


def _volume(field: dataclasses.Field[Any], argument: bool, second: bool) -> Iterator[Leaf]:
    """The image's options are called as its fields are; those of other volumes begin with that one's name.

    ``second``: where there is the image, too, their help refers to its options.
    """
    first, name, hints = field.name == "volume", field.name, get_type_hints(VolumeSpec)
    for inner in dataclasses.fields(VolumeSpec):
        path, hint = (name, inner.name), bare(hints[inner.name])
        if inner.name == "path":
            meta = {**inner.metadata, "help": field.metadata["help"]}
            yield Leaf(path, "path" if first else name, hint, field.default, meta, argument)
        elif first:
            yield Leaf(path, inner.name, hint, inner.default, inner.metadata)
        else:
            whose = name.upper() if argument else flag(name)
            meta = {**inner.metadata, "help": f"As {flag(inner.name)}, for {whose}."} if second else {**inner.metadata}
            if shares(field, inner.name):
                meta["help"] = f"As {flag(inner.name)}, for {whose}; default: the same, 0 0 0: what {whose} states."
            yield Leaf(path, f"{name}_{inner.name}", hint, inner.default, meta, hidden=inner.name not in SHOWN)


def shares(field: dataclasses.Field[Any], name: str) -> bool:
    """Whether a command takes this value of a second volume from the image, where it is given for the image alone."""
    return name == "voxel_nm" and field.metadata["role"] == "labels"

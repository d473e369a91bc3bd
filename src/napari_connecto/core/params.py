"""Frozen params dataclasses, from which forms, command lines, recipes and provenance are derived."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import isnan
from numbers import Integral, Real
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from napari_connecto.core.errors import InputError

P = TypeVar("P")
REQUIRED: Any = dataclasses.MISSING
"""Default of a required field."""


def param(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    advanced: bool = False,
    role: str = "",
    zero: str = "",
    old: Sequence[str] = (),
) -> Any:
    """A dataclass field with the metadata for forms and command lines.

    Parameters
    ----------
    default
        Default value; `REQUIRED` for none.
    help
        One sentence, shown as tooltip and in ``--help``.
    unit
        Unit shown beside it ("nm", "voxels"); "" for a pure number.
    low, high
        Allowed range, both included.
    choices
        Allowed values.
    advanced
        Folded under "More" in a form.
    role
        What a path points to ("model", "folder", ...), if the field is one; "" otherwise.
    zero
        What 0 means, if it is no number of its own; shown beside the 0 in a form.
    old
        Names in older versions, still accepted in recipes and commands.
    """
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "advanced": advanced}
    metadata |= {"role": role, "zero": zero, "old": tuple(old)}
    return dataclasses.field(default=default, metadata=metadata)


def check(params: Any) -> None:
    """Raise `InputError` for the first field of a wrong type or outside its range; call it in ``__post_init__``."""
    hints = _hints(type(params))
    for field in dataclasses.fields(params):
        value, meta = getattr(params, field.name), field.metadata
        if not meta:
            continue
        if not any(_is(value, hint) for hint in hints[field.name]):
            told = " or ".join(map(_in_words, hints[field.name]))
            raise InputError(f"got {field.name}={value!r}; it must be {told}")
        if value is None:
            continue
        low, high, choices = meta["low"], meta["high"], meta["choices"]
        if choices is not None and value not in choices:
            raise InputError(f"got {field.name}={value!r}; allowed: {', '.join(choices)}")
        if low is None and high is None:
            continue
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, Real):
                raise InputError(f"got {field.name}={value!r}; it must be a number")
            if isnan(number) or (low is not None and number < low) or (high is not None and number > high):
                unit = f" {meta['unit']}" if meta["unit"] else ""
                allowed = f"{'-inf' if low is None else low} to {'inf' if high is None else high}{unit}"
                raise InputError(f"got {field.name}={value!r}; allowed: {allowed}")


def _in_words(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"{len(get_args(hint))} numbers"
    return _WORDS.get(hint) or f"a {getattr(hint, '__name__', hint)}"


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "empty"}


def _hints(kind: type) -> dict[str, tuple[Any, ...]]:
    """Allowed types of each field."""
    found = get_type_hints(kind)
    return {name: get_args(hint) if isinstance(hint, UnionType) else (hint,) for name, hint in found.items()}


def _is(value: Any, hint: Any) -> bool:
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if not isinstance(value, tuple):
            return False
        if parts[1:] == (...,):  # of any length
            return all(_is(part, parts[0]) for part in value)
        return len(value) == len(parts) and all(map(_is, value, parts))
    if isinstance(value, bool | np.bool_):
        return hint is bool
    kind = {int: Integral, float: Real}.get(hint, hint)
    return not isinstance(kind, type) or isinstance(value, kind)


def flag(name: str) -> str:
    """The option of a field on a command line; that of a switch that turns it off is ``--no-`` and the same."""
    return f"-{name}" if len(name) == 1 else f"--{name.replace('_', '-')}"


def word(value: Any) -> str:
    """A number or a text as one word of a command line that is parsed to the same value."""
    if isinstance(value, Integral) or not isinstance(value, Real):
        return str(value)
    short = f"{float(value):g}"
    return short if float(short) == value else repr(float(value))


def today(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by present field names; if both an old and the present name occur, the present one counts."""
    names = {old: field.name for field in dataclasses.fields(kind) for old in field.metadata.get("old", ())}
    renamed = {names[key]: value for key, value in values.items() if key in names}
    return renamed | {key: value for key, value in values.items() if key not in names}


def from_mapping(kind: type[P], values: Mapping[str, Any]) -> P:
    """Params from a recipe's plain values; lists become tuples, unknown names are refused."""
    if not isinstance(values, Mapping) or not all(isinstance(key, str) for key in values):
        raise InputError(f"got {kind.__name__} {values!r:.200}; it must be a mapping of names to values")
    values, known = today(kind, values), {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - known
    if unknown:
        raise InputError(f"got unknown {kind.__name__} {sorted(unknown)}; known: {sorted(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except (TypeError, ArithmeticError) as error:
        raise InputError(f"{kind.__name__}: {error}; check the types of the values") from error

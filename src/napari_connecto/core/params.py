"""One frozen dataclass per workflow makes the form, the command line, the recipe and the provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import isnan
from numbers import Real
from typing import Any, TypeVar

from napari_connecto.core.errors import InputError

P = TypeVar("P")


def param(
    default: Any,
    help: str,
    *,
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] | None = None,
    advanced: bool = False,
) -> Any:
    """A dataclass field with what a form and a command line need to know of it.

    Parameters
    ----------
    default
        Its value when nothing is said.
    help
        One sentence, shown as tooltip and in ``--help``.
    unit
        Shown beside it ("nm", "voxels"); "" for a pure number.
    low, high
        Allowed range, both included.
    choices
        Allowed words.
    advanced
        Hidden behind "more" in a form.
    """
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "advanced": advanced}
    return dataclasses.field(default=default, metadata=metadata)


def check(params: Any) -> None:
    """Raise `InputError` for the first field outside its range; call it in ``__post_init__``."""
    for field in dataclasses.fields(params):
        value, meta = getattr(params, field.name), field.metadata
        if value is None or not meta:
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


def from_mapping(kind: type[P], values: Mapping[str, Any]) -> P:
    """Params from a recipe's plain values; lists become tuples, unknown names are refused."""
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = set(values) - known
    if unknown:
        raise InputError(f"got unknown {kind.__name__} {sorted(unknown)}; known: {sorted(known)}")
    try:
        return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
    except TypeError as error:
        raise InputError(f"{kind.__name__}: {error}; check the types of the values") from error

"""JSON documents: parsed strictly, because they may be untrusted, and written so that any parser accepts them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from napari_connecto.core.errors import ConnectoError, InputError

DEEPEST = 64
"""Deepest nesting of lists and mappings; copying or writing a document recurses into it."""


def parse_json(
    text: str | bytes, where: str, kind: type[ConnectoError] = InputError, advice: str = "copy it again"
) -> Any:
    """A JSON document of which nothing is read but what it plainly says.

    Parameters
    ----------
    text
        Text, or its bytes in UTF-8.
    where
        Name of the document in messages.
    kind, advice
        Of the error: its type, and what to do.

    Raises
    ------
    ConnectoError
        If it is no JSON or no UTF-8, or has a key twice, half a surrogate pair, or more than 64 levels.
    """
    try:
        found = json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, object_pairs_hook=_unique)
        _check(found)
    except (ValueError, RecursionError) as error:
        raise kind(f"cannot read {where}: it is not valid JSON ({str(error)[:200]}); {advice}") from error
    return found


def json_text(value: Any, *, default: Callable[[Any], Any] | None = None, indent: int | None = None) -> str:
    """JSON text; NaN and infinity, which JSON lacks, become null.

    Parameters
    ----------
    value, default, indent
        As of `json.dumps`.
    """
    try:
        return json.dumps(value, default=default, indent=indent, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(value, default=default), parse_constant=lambda _: None)
        return json.dumps(finite, indent=indent, allow_nan=False)


def number(value: float | None, absent: float = float("nan")) -> float:
    """A number from a document; ``absent`` for null, which `json_text` writes for values that are not finite."""
    return absent if value is None else float(value)


def check_plain(value: Any, where: str) -> None:
    """Raise `InputError` if a document that others parsed has what `parse_json` refuses, but for keys twice."""
    try:
        _check(value)
    except ValueError as error:
        raise InputError(f"cannot use {where}: {str(error)[:200]}; write it again") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r:.50} occurs twice")
    return found


def _check(value: Any) -> None:
    inside = [value]
    for _ in range(DEEPEST):
        inside = [inner for outer in inside for inner in _inside(outer)]
        if not inside:
            return
    raise ValueError(f"it has more than {DEEPEST} levels")


def _inside(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value
        yield from value.values()
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, str):
        value.encode()

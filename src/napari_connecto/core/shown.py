"""Display of results in notebooks: a few lines as text, a small table as HTML; arrays by type and shape."""

from __future__ import annotations

import dataclasses
import html
import struct
import zlib
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np

C = TypeVar("C", bound=type)
LONGEST, WIDEST, MOST_ROWS = 900, 80, 12
"""Longest text, longest value in it, and largest number of table rows."""
Rows = list[tuple[str, str]]


def shown(kind: C) -> C:
    """Class decorator for dataclasses, above ``@dataclass``: a short ``__repr__``, and ``_repr_html_`` with a table.

    What a class says in ``lines()`` is its text; ``_rows()`` gives its table, else the fields do; ``_examples()``
    what is only in the table, and ``_picture()`` a section, uint8 (y, x), or None.
    """
    kind.__repr__ = _text  # type: ignore[method-assign,assignment]
    kind._repr_html_ = _html  # type: ignore[attr-defined]
    return kind


def brief(value: Any) -> str:
    """A value in brief: numbers rounded, arrays by type and shape, long sequences by their length."""
    if isinstance(value, str):
        return value if len(value) <= WIDEST else f"{value[: WIDEST - 1]}…"
    if isinstance(value, bool | np.bool_) or value is None:
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{float(value):.4g}"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {' x '.join(map(str, value.shape)) or 'number'}"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{key}: {brief(v)}" for key, v in islice(value.items(), 6))
        return _inside("{", inner, "}", len(value), "entries")
    if isinstance(value, Sequence):
        return _inside("(", ", ".join(map(brief, islice(value, 9))), ")", len(value), "values")
    if dataclasses.is_dataclass(value):
        count: Any = getattr(value, "__len__", None)
        size = f" of {count()}" if count is not None else ""
        return f"{type(value).__name__} '{value.name}'{size}" if hasattr(value, "name") else type(value).__name__ + size
    return type(value).__name__


def _inside(begin: str, text: str, end: str, count: int, what: str) -> str:
    return f"{begin}{text}{end}" if len(text) <= WIDEST and "…" not in text else f"{count} {what}"


def _rows(result: Any) -> Rows:
    own: Callable[[], Rows] | None = getattr(result, "_rows", None)
    if own is not None:
        return own()
    fields = [f for f in dataclasses.fields(result) if not f.name.startswith("_")]
    values = ((f.name, getattr(result, f.name)) for f in fields)
    return [(name, brief(value)) for name, value in values if value is not None]


def _told(result: Any) -> list[str]:
    """A result's ``lines()``; [] if it has none, or lacks the data for them."""
    lines = getattr(result, "lines", None)
    try:
        return [str(line) for line in lines()] if callable(lines) else []
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
        return []


def _text(result: Any) -> str:
    name, told = type(result).__name__, _told(result)
    body = "\n  ".join([":", *told]) if told else "(" + ", ".join(f"{k}: {v}" for k, v in _rows(result)) + ")"
    return _cut(name + body)


def _html(result: Any) -> str:
    examples = getattr(result, "_examples", list)
    head, rows = html.escape(type(result).__name__), [*_rows(result), *examples()]
    more = len(rows) - MOST_ROWS
    cells = [f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in rows[:MOST_ROWS]]
    cells += [f"<tr><td colspan=2>{more} more</td></tr>"] if more > 0 else []
    told = html.escape(_cut("\n".join(_told(result)))).replace("\n", "<br>")
    make = getattr(result, "_picture", None)
    section = make() if callable(make) else None
    picture = f'<img src="data:image/png;base64,{_png(section)}">' if section is not None else ""
    return f"<b>{head}</b><table>{''.join(cells)}</table>{told and f'<p>{told}</p>'}{picture}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _png(section: np.ndarray) -> str:
    """A grey image, uint8 (y, x), as PNG (RFC 2083) in base64."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = section.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), section], axis=1).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    return b64encode(b"\x89PNG\r\n\x1a\n" + parts).decode()

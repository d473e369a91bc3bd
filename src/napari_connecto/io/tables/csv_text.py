"""CSV in the variants of spreadsheets: byte order marks, UTF-16, semicolons, tabs, decimal commas, blank lines.

What is not unambiguous is refused: a table is never read as something else than what its author sees.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from napari_connecto.core.errors import InputError

SEPARATORS = (",", ";", "\t", "|")
_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
_POINT = re.compile(r"[+-]?(\d+\.\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Text:
    """A table as text: comment lines above it (without "#"), names of columns, rows of as many cells."""

    comments: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


def read_text(path: Path) -> Text:
    """A file of separated values with a line of names.

    Spaces around cells, blank lines and empty last columns do not count.

    Raises
    ------
    InputError
        If it has no names, one of them twice, rows of another length, or leaves open what separates its columns.
    OSError, UnicodeDecodeError, csv.Error
        If it cannot be read.
    """
    lines = StringIO(_decoded(path), newline="").readlines()
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comments = [line[1:].strip() for line in lines[:first]]
    while first < len(lines) and not lines[first].strip():
        first += 1
    told = _SEP.fullmatch(lines[first]) if first < len(lines) else None
    first += told is not None
    if not "".join(lines[first:]).strip():
        raise InputError(f"the table '{path}' has no line of column names; check that it is complete")
    separator = told[1] if told else _separator(lines[first:], path)
    names, rows = _rows(lines, first, separator, path)
    return Text(comments, names, _with_points(rows, separator) if separator != "," else rows)


def _decoded(path: Path) -> str:
    data = path.read_bytes()
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and len(data) > 1 and not any(data[1:200:2]):  # a mark may be absent
        encoding = "utf-16-le"
    elif encoding == "utf-8" and not any(data[:200:2]):
        encoding = "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(f"'{path}' is not text in UTF-8 ({error.reason}); save it again as 'CSV UTF-8'") from error
    if "\0" in text:
        raise InputError(f"'{path}' is not a text table; save it again as 'CSV UTF-8'")
    return text


def _separator(lines: Sequence[str], path: Path) -> str:
    """What separates the names; of several the one by which the first rows have as many cells as there are names."""
    head = next(line for line in lines if line.strip())
    counts = {s: len(next(csv.reader([head], delimiter=s, skipinitialspace=True))) for s in SEPARATORS}
    found = [s for s, n in counts.items() if n > 1]
    if len(found) > 1:
        some = [line for line in lines[1:200] if line.strip()]
        found = [s for s in found if some and all(len(row) == counts[s] for row in csv.reader(some, delimiter=s))]
    if len(found) > 1 or (not found and max(counts.values()) > 1):
        raise InputError(f"it is not clear what separates the columns of '{path}' ({head.strip():.80}); use commas")
    return found[0] if found else ","


def _rows(lines: Sequence[str], first: int, separator: str, path: Path) -> tuple[list[str], list[list[str]]]:
    reader = csv.reader(lines[first:], delimiter=separator, skipinitialspace=separator != "\t")
    names: list[str] = []
    rows: list[list[str]] = []
    for row in reader:
        cells = [cell.strip() for cell in row]
        if not any(cells):
            continue
        if not names:
            names = _without_empty_end(cells, 1)
            continue
        cells = _without_empty_end(cells, len(names))
        if len(cells) != len(names):
            line = first + reader.line_num
            raise InputError(f"line {line} of '{path}' has {len(cells)} values for {len(names)} columns; it is damaged")
        rows.append(cells)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"the table '{path}' has the column '{twice[0]}' more than once; rename or remove one")
    return names, rows


def _without_empty_end(cells: list[str], least: int) -> list[str]:
    while len(cells) > least and not cells[-1]:
        cells = cells[:-1]
    return cells


def _with_points(rows: list[list[str]], separator: str) -> list[list[str]]:
    """Decimal commas as points, unless they may group thousands: other numbers have points, or all have three digits.

    Programs separate by semicolons because their commas are decimal, so there a comma groups nothing.
    """
    commas = [cell for row in rows for cell in row if _COMMA.fullmatch(cell)]
    grouped = separator != ";" and all(_GROUPED.fullmatch(cell) for cell in commas)
    if grouped or any(_POINT.fullmatch(cell) for row in rows for cell in row):
        return rows
    return [[cell.replace(",", ".") if _COMMA.fullmatch(cell) else cell for cell in row] for row in rows]

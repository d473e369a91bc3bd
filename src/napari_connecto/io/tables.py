"""Tables with a header of what made them: CSV with comments, or Parquet."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import plain, storing

_HEADER = b"napari-connecto"


def write_table(
    path: str | os.PathLike[str], columns: Mapping[str, np.ndarray], header: Mapping[str, Any] | None = None
) -> None:
    """Write a table; a file of that name is replaced, whole.

    Parameters
    ----------
    path
        Ends in ``.csv`` or ``.parquet``.
    columns
        One-dimensional, of one length: numbers, booleans or text. Floats keep every digit.
    header
        JSON values; ``# key: value`` lines in a CSV, metadata in Parquet.

    Raises
    ------
    InputError
        If the suffix is another, columns do not match, or pyarrow is absent.
    StoreError
        If it cannot be written.
    """
    path = Path(path)
    suffix = _suffix(path)
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        raise InputError(f"got columns of shapes {shapes}; all must have one axis of one length")
    with storing(path), whole_file(path) as partial:
        if suffix == ".csv":
            _write_csv(partial, arrays, header or {})
        else:
            _write_parquet(partial, arrays, header or {})


def read_table(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Columns and header of a table that `write_table` made (or any CSV with a line of names).

    Raises
    ------
    InputError
        If it is absent, damaged, or pyarrow is needed and absent.
    """
    path = Path(path)
    try:
        return _read_csv(path) if _suffix(path) == ".csv" else _read_parquet(path)
    except FileNotFoundError as error:
        raise InputError(f"no table at '{path}'; check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table '{path}': {error}; check that it is complete") from error


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise InputError(f"got table '{path}'; allowed: names that end in .csv or .parquet")
    return suffix


def _write_csv(path: Path, columns: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for key, value in header.items():
            file.write(f"# {key}: {json_text(value, default=plain)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    header: dict[str, Any] = {}
    with path.open(encoding="utf-8", newline="") as file:
        lines = file.readlines()
    first = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    for line in lines[:first]:
        key, _, value = line[1:].strip().partition(": ")
        try:
            header[key] = parse_json(value, key)
        except InputError:
            header[key] = value
    rows = list(csv.reader(lines[first:]))
    if not rows:
        raise InputError(f"the table '{path}' has no line of column names; check that it is complete")
    names, body = rows[0], rows[1:]
    for number, row in enumerate(body, first + 2):
        if len(row) != len(names):
            raise InputError(f"line {number} of '{path}' has {len(row)} values for {len(names)} columns; it is damaged")
    return {name: _typed([row[i] for row in body]) for i, name in enumerate(names)}, header


def _typed(texts: list[str]) -> np.ndarray:
    """Integers, else floats, else booleans, else text."""
    if texts and all(text in ("True", "False") for text in texts):
        return np.array([text == "True" for text in texts])
    for dtype in (np.int64, np.float64):
        try:
            return np.array(texts, dtype)
        except (ValueError, OverflowError):
            continue
    return np.array(texts)


def need_pyarrow() -> ModuleType:
    """The module, with ``parquet``; `InputError` if it is absent."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            "Parquet needs pyarrow; install napari-connecto[parquet], or use a name that ends in .csv"
        ) from error
    return pyarrow


def _write_parquet(path: Path, columns: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    pa = need_pyarrow()
    text = json_text(dict(header), default=plain).encode()
    table = pa.table(dict(columns)).replace_schema_metadata({_HEADER: text})
    pa.parquet.write_table(table, path)


def _read_parquet(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    pa = need_pyarrow()
    try:
        with path.open("rb") as file:
            table = pa.parquet.read_table(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"cannot read the table '{path}': {error}; check that it is complete") from error
    header = parse_json((table.schema.metadata or {}).get(_HEADER, b"{}"), f"the header of '{path}'")
    return {name: table[name].to_numpy() for name in table.column_names}, header

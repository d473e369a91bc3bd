"""Tables with a header that says what made them: CSV with comments, or Parquet."""

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
from napari_connecto.io.tables.csv_text import read_text

_HEADER = b"napari-connecto"
PLACES = ("z_nm", "y_nm", "x_nm")
READ = (".csv", ".tsv", ".parquet")
"""How names of tables that can be read end."""


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
    suffix = _suffix(path, ".csv", ".parquet")
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
    """Columns and header of a table that `write_table` made, or any other with a line of names.

    The name ends in ``.csv``, ``.tsv`` or ``.parquet``; separators may be commas, semicolons, tabs or bars.

    Raises
    ------
    InputError
        If it is absent, damaged, or pyarrow is needed and absent.
    """
    path = Path(path)
    try:
        return _read_parquet(path) if _suffix(path, *READ) == ".parquet" else _read_csv(path)
    except FileNotFoundError as error:
        raise InputError(f"no table at '{path}'; check the path") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the table '{path}': {error}; check that it is complete") from error


def _suffix(path: Path, *allowed: str) -> str:
    suffix = path.suffix.lower()
    if suffix not in allowed:
        raise InputError(f"got table '{path}'; allowed: names that end in {' or '.join(allowed)}")
    return suffix


def check_finite(path: str | os.PathLike[str], columns: Mapping[str, np.ndarray]) -> None:
    """Refuse a table by the first row whose numbers are not all finite.

    Raises
    ------
    InputError
        If there is one; rows count from 1, without the line of names.
    """
    for name, column in columns.items():
        bad = np.flatnonzero(~np.isfinite(np.asarray(column, float)))
        if len(bad):
            raise InputError(
                f"row {bad[0] + 1} of '{path}' has {column[bad[0]]} as {name}"
                f"{f', and {len(bad) - 1} more rows too' if len(bad) > 1 else ''}; correct or remove the rows"
            )


def places_of(table: Mapping[str, np.ndarray], path: str | os.PathLike[str]) -> np.ndarray:
    """Columns z_nm, y_nm, x_nm of a table as (n, 3).

    Raises
    ------
    InputError
        If one is absent or holds what is no finite number; the row is named.
    """
    found = {name: numbers_of(table, name, path) for name in PLACES}
    return np.stack([found[name] for name in PLACES], axis=1).reshape(-1, 3)


def numbers_of(table: Mapping[str, np.ndarray], name: str, path: str | os.PathLike[str]) -> np.ndarray:
    """A column of a table as float, (n,).

    Raises
    ------
    InputError
        If it is absent or holds what is no finite number; the row is named.
    """
    if name not in table:
        raise InputError(f"'{path}' has no column '{name}'; its columns are {', '.join(table)}")
    column = np.asarray(table[name])
    if column.dtype.kind not in "biuf":
        column = np.array([_number(value) for value in column.tolist()], float)
        bad = np.flatnonzero(np.isnan(column))
        if len(bad):
            raise InputError(f"row {bad[0] + 1} of '{path}' has '{table[name][bad[0]]}' as {name}; it is a number")
    check_finite(path, {name: column})
    return column.astype(float)


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def _write_csv(path: Path, columns: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for key, value in header.items():
            file.write(f"# {key}: {json_text(value, default=plain)}\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))


def _read_csv(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    text = read_text(path)
    header: dict[str, Any] = {}
    for line in text.comments:
        key, _, value = line.partition(": ")
        try:
            header[key] = parse_json(value, key)
        except InputError:
            header[key] = value
    return {name: _typed([row[i] for row in text.rows]) for i, name in enumerate(text.names)}, header


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
        columns = {name: table[name].to_numpy() for name in table.column_names}
    except pa.ArrowException as error:
        raise InputError(f"cannot read the table '{path}': {error}; check that it is complete") from error
    header = parse_json((table.schema.metadata or {}).get(_HEADER, b"{}"), f"the header of '{path}'")
    return columns, header

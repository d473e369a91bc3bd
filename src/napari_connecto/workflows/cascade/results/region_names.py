"""Names of regions, from a table or from the structures of a brainglobe atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.io.tables.tables import numbers_of, read_table


def read_region_names(path: str | Path) -> dict[int, str]:
    """Names by id, from a table with columns id and name (.csv, .tsv, .parquet), or a list of structures (.json).

    Brainglobe's atlases have both, ``structures.csv`` and ``structures.json``.

    Raises
    ------
    InputError
        If it cannot be read, or has no ids and names.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        return dict(_structure(entry, path) for entry in _listed(path))
    table, _ = read_table(path)
    if "name" not in table:
        raise InputError(f"'{path}' has no column 'name'; names of regions have the columns id and name")
    ids = numbers_of(table, "id", path)
    if (ids != np.rint(ids)).any():
        raise InputError(f"'{path}' has ids that are not whole numbers; correct them")
    return dict(zip(ids.astype(np.int64).tolist(), np.asarray(table["name"]).astype(str).tolist(), strict=True))


def _listed(path: Path) -> list[Any]:
    try:
        listed = parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise InputError(f"cannot read '{path}': {error}; check the path") from error
    if not isinstance(listed, list):
        raise InputError(f"'{path}' is not a list of structures; each needs an id and a name")
    return listed


def _structure(entry: Any, path: Path) -> tuple[int, str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), int) or not isinstance(entry.get("name"), str):
        raise InputError(f"'{path}' has the structure {str(entry)[:80]}; each needs a whole number as id, and a name")
    return entry["id"], entry["name"]

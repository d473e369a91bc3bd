"""Points in QuPath's GeoJSON: features in pixels, counted from the corner, with a plane from 0."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.documents import json_text, parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing

CELL, NO_CELL = "cell", "no cell"
"""Classes of QuPath that we write."""


def write_geojson(
    path: str | os.PathLike[str],
    voxels: np.ndarray,
    names: Sequence[str],
    cells: np.ndarray,
    numbers: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a detection of QuPath for each point; a file there is replaced, whole.

    Parameters
    ----------
    path
        By convention ends in ``.geojson``.
    voxels
        (n, 3) continuous voxel coordinates (z, y, x): a voxel's centre is its index + 0.5.
    names
        Of each.
    cells
        (n,) booleans: class `CELL` or `NO_CELL`.
    numbers
        Columns (n,) by name, written as measurements; what is not finite is left out.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    columns = {name: np.asarray(column, float) for name, column in (numbers or {}).items()}
    features = [
        _feature(voxel, name, CELL if cell else NO_CELL, {key: float(c[k]) for key, c in columns.items()})
        for k, (voxel, name, cell) in enumerate(zip(voxels.tolist(), names, cells.tolist(), strict=True))
    ]
    path = Path(path)
    with storing(path), whole_file(path) as partial:
        partial.write_text(json_text({"type": "FeatureCollection", "features": features}), encoding="utf-8")


def _feature(voxel: Sequence[float], name: str, kind: str, numbers: Mapping[str, float]) -> dict[str, Any]:
    z, y, x = voxel
    plane = {"c": -1, "z": int(np.floor(z + 1e-6)), "t": 0}
    properties: dict[str, Any] = {"objectType": "detection", "name": name, "classification": {"name": kind}}
    if finite := {key: value for key, value in numbers.items() if np.isfinite(value)}:
        properties["measurements"] = finite
    geometry = {"type": "Point", "coordinates": [x, y], "plane": plane}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def read_geojson(path: str | os.PathLike[str], sections: int) -> tuple[np.ndarray, np.ndarray]:
    """Points of a file.

    Parameters
    ----------
    path
        A feature, a list or a collection of features, of type Point or MultiPoint.
    sections
        Of the image; where there is one, a point need not say its own.

    Returns
    -------
    voxels
        (n, 3) continuous voxel coordinates (z, y, x), z at the centre of the section.
    cells
        (n,) False for those of class `NO_CELL`.

    Raises
    ------
    InputError
        If it is absent, damaged, or has other shapes or a point without a section.
    """
    try:
        told = parse_json(Path(path).read_bytes(), f"'{path}'")
    except OSError as error:
        raise InputError(f"no points at '{path}' ({error.strerror}); check the path") from error
    features = told.get("features", [told]) if isinstance(told, dict) else told
    if not isinstance(features, list):
        raise InputError(f"'{path}' is not a GeoJSON feature collection; export it from QuPath again")
    voxels: list[tuple[float, float, float]] = []
    cells: list[bool] = []
    for k, feature in enumerate(features):
        points, cell = _points(feature, k, path, sections)
        voxels += points
        cells += [cell] * len(points)
    return np.array(voxels, float).reshape(-1, 3), np.array(cells, bool)


def _points(feature: Any, k: int, path: Any, sections: int) -> tuple[list[tuple[float, float, float]], bool]:
    geometry = feature.get("geometry") if isinstance(feature, dict) else None
    kind = geometry.get("type") if isinstance(geometry, dict) else None
    if not isinstance(geometry, dict) or kind not in ("Point", "MultiPoint"):
        raise InputError(f"feature {k + 1} of '{path}' is a {kind}; points are needed (Point, MultiPoint)")
    plane, at = geometry.get("plane"), geometry.get("coordinates")
    z = plane.get("z") if isinstance(plane, dict) else None
    if z is None and sections > 1:
        raise InputError(f"feature {k + 1} of '{path}' states no plane, and the image has {sections} sections")
    properties = feature.get("properties")
    told = properties.get("classification") if isinstance(properties, dict) else None
    try:
        points = np.array([at] if kind == "Point" else at, float).reshape(-1, 2)
        if not (np.isfinite(points).all() and int(z or 0) >= 0):
            raise ValueError("it is no place")
    except (TypeError, ValueError) as error:
        raise InputError(f"feature {k + 1} of '{path}' has coordinates {at!r}; they are x and y in pixels") from error
    section = int(z or 0) + 0.5
    return [(section, y, x) for x, y in points.tolist()], not (isinstance(told, dict) and told.get("name") == NO_CELL)

"""Columns of measurements beside those that every table of detections has; light, because tables are read by docks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError

NAMES = (
    "voxels",
    "volume_um3",
    "area_um2",
    "major_nm",
    "middle_nm",
    "minor_nm",
    "elongation",
    "sections",
    "border_nm",
    "touches_border",
    "region",
)
"""Beside ``mean`` and ``sd`` of the intensity, which are ``mean_0``, ``sd_0`` and so on where there are channels."""
_INTENSITY = re.compile(r"(mean|sd)(_\d+)?")


def measures_in(table: Mapping[str, np.ndarray], path: str | Path) -> dict[str, np.ndarray]:
    """The columns of a table that hold measurements, in its order; values may be NaN (nothing was measured).

    Raises
    ------
    InputError
        If one holds text.
    """
    found = {name: column for name, column in table.items() if name in NAMES or _INTENSITY.fullmatch(name)}
    for name, column in found.items():
        if np.asarray(column).dtype.kind not in "biuf":
            raise InputError(f"'{path}' has text in its column {name}; it holds numbers")
    return found


def not_measured(measures: Mapping[str, np.ndarray], n: int) -> dict[str, np.ndarray]:
    """The columns with ``n`` more rows that were not measured: NaN; 0 and False in columns of whole numbers."""
    kinds = {name: np.asarray(column) for name, column in measures.items()}
    return {name: np.r_[c, np.full(n, np.nan if c.dtype.kind == "f" else 0, c.dtype)] for name, c in kinds.items()}

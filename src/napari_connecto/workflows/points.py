"""Positions in nm <-> files: tables with columns in nm, and files of cells that count voxels. Ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import Level
from napari_connecto.io.cell_xml import CELL, read_cells, write_cells
from napari_connecto.io.tables import PLACES, check_finite, places_of, read_table, write_table
from napari_connecto.workflows.verdicts import REJECTED


def read_points(path: str | Path, level: Level | None = None) -> np.ndarray:
    """Positions of a table, or of cellfinder's or Cell Counter's XML.

    Parameters
    ----------
    path
        Ends in ``.csv`` or ``.parquet``, with columns z_nm, y_nm, x_nm, or in ``.xml``. What a column status says is
        rejected is left out; of an XML with both cells (type 2) and others, only the cells are taken.
    level
        Whose voxels an XML counts; a marker stands for the centre of its voxel.

    Returns
    -------
    numpy.ndarray
        (n, 3), nm, (z, y, x).

    Raises
    ------
    InputError
        If it is damaged, has no such columns, or ``level`` is needed and not given.
    """
    if Path(path).suffix.lower() == ".xml":
        level = _known(path, level)
        voxels, kinds = read_cells(path)
        return level.to_nm(voxels[kinds == CELL] + 0.5 if CELL in kinds else voxels + 0.5)
    table, _ = read_table(path)
    points = places_of(table, path)
    return points[table["status"].astype(str) != REJECTED] if "status" in table else points


def write_points(
    path: str | Path, centre_nm: np.ndarray, level: Level | None = None, kinds: np.ndarray | int = CELL
) -> None:
    """Write positions (n, 3) in nm, (z, y, x): a table, or by ``.xml`` the voxels of ``level`` that they lie in.

    ``kinds`` are types of the markers of an XML, see `napari_connecto.io.cell_xml`.

    Raises
    ------
    InputError
        If the suffix is another, a position is not finite, or ``level`` is needed and not given.
    StoreError
        If it cannot be written.
    """
    centre_nm = np.asarray(centre_nm, float).reshape(-1, 3)
    check_finite(path, {name: centre_nm[:, i] for i, name in enumerate(PLACES)})
    if Path(path).suffix.lower() == ".xml":
        write_cells(path, np.floor(_known(path, level).to_voxels(centre_nm) + 1e-6), kinds)
    else:
        write_table(path, {name: centre_nm[:, i] for i, name in enumerate(PLACES)})


def _known(path: str | Path, level: Level | None) -> Level:
    if level is None:
        raise InputError(f"'{path}' counts voxels; say of which image (level=, --image IMAGE)")
    return level

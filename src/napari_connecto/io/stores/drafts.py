"""Labels being painted: a small zarr array on disk, written at every stroke."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from napari_connecto.core.errors import StoreError
from napari_connecto.io.disk import storing
from napari_connecto.io.volumes.ngff import COMPRESSOR


def open_draft(path: Path, start: np.ndarray, *, anew: bool = False) -> Any:
    """The writable labels at ``path``, made from ``start`` where there are none.

    Parameters
    ----------
    path
        Folder of the array.
    start
        (z, y, x) uint32.
    anew
        Make it from ``start`` even where there is one.

    Returns
    -------
    zarr.Array
        One chunk per section; what is assigned to it is on disk on return.

    Raises
    ------
    StoreError
        If it cannot be written, or what is there has another shape.
    """
    with storing(path):
        if anew and path.exists():
            shutil.rmtree(path)
        if not path.exists():
            partial = path.with_name(f".{path.name}.partial")
            made = zarr.create_array(
                LocalStore(partial),
                shape=start.shape,
                chunks=(1, *start.shape[1:]),
                dtype="uint32",
                fill_value=0,
                compressors=COMPRESSOR,
                overwrite=True,
            )
            made[:] = start
            partial.rename(path)
        found = zarr.open_array(LocalStore(path), mode="r+")
    if found.shape != start.shape:
        raise StoreError(f"'{path}' holds labels of shape {found.shape}, not {start.shape}; choose another session")
    return found


def read_draft(path: Path) -> np.ndarray | None:
    """The labels (z, y, x) at ``path``; None where there are none.

    Raises
    ------
    StoreError
        If they cannot be read.
    """
    if not path.exists():
        return None
    try:
        return np.asarray(zarr.open_array(LocalStore(path), mode="r")[:])
    except (OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise StoreError(f"'{path}' is damaged ({error!r:.200}); restore the folder's copy") from error

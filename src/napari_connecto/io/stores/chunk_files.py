"""Write whole chunks of an unsharded local zarr array directly as files.

A call into zarr's event loop costs milliseconds, ten times what a chunk of 64 x 64 takes to compress and to write;
reading, and everything that is not a whole chunk, goes through zarr.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from numcodecs import Zstd

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Vec3, vec3


class ChunkFiles:
    """The chunk files of one array (z, y, x) of zarr format 3 in a local folder.

    Parameters
    ----------
    folder
        Of the array.
    array
        The same, opened: its chunk shape, type and codecs.

    Raises
    ------
    StoreError
        If the array is stored in a way that is not written here (sharded, other codecs).
    """

    def __init__(self, folder: Path, array: Any) -> None:
        metadata = array.metadata
        codecs = [codec.to_dict() for codec in metadata.codecs]
        if [codec["name"] for codec in codecs] != ["bytes", "zstd"] or metadata.fill_value != 0:
            raise StoreError(f"'{folder}' has codecs {codecs}, not written by this version; choose another folder")
        self.chunk: Vec3 = vec3(array.chunks)
        self._folder = Path(folder)
        self._dtype = np.dtype(array.dtype).newbyteorder("<")
        self._key = metadata.encode_chunk_key
        self._zstd = Zstd(**codecs[1]["configuration"])
        self._made: set[Path] = set()

    def write(self, index: Vec3, block: np.ndarray) -> None:
        """Write one chunk; whole or absent whenever the process dies. Empty ones are left out, as zarr does.

        Parameters
        ----------
        index
            Of the chunk in the array's grid.
        block
            (z, y, x) of the chunk's shape, or less at the array's far border.
        """
        path = self._folder / self._key(index)
        if not block.any():
            path.unlink(missing_ok=True)
            return
        whole = np.zeros(self.chunk, self._dtype)
        whole[tuple(slice(n) for n in block.shape)] = block
        if path.parent not in self._made:
            self._make(path.parent)
        partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
        try:
            partial.write_bytes(self._zstd.encode(whole))
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def _make(self, folder: Path) -> None:
        """Make a folder inside the array's own; that one, once deleted, is not made again with a few chunks."""
        if folder != self._folder and not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
        self._made.add(folder)

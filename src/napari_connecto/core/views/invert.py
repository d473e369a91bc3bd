"""An image with inverted intensities, computed when read; the stored data are unchanged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Volume

INVERTED = "inverted"
"""Key of ``Volume.metadata``: intensities are inverted on read."""


def inverted(volume: Volume) -> Volume:
    """The volume with inverted intensities, lazily.

    Parameters
    ----------
    volume
        An image of any number of levels and channels.

    Returns
    -------
    Volume
        Of the same dtype: unsigned v becomes the type's largest value less v, signed v becomes -1 - v, float v becomes
        1 - v. Inverting twice gives the voxels back, up to a float's rounding. Its fingerprint is not the original's,
        so that no result of one is taken for the other's.

    Raises
    ------
    InputError
        If it is labels.
    """
    if volume.kind == "labels":
        raise InputError(f"cannot invert the labels '{volume.name}'; only images have intensities")
    levels = tuple(replace(level, array=_Inverted(level.array)) for level in volume.levels)
    revision = f"{volume.metadata.get('revision', '')} inverted".strip()
    return replace(volume, levels=levels, metadata={**volume.metadata, INVERTED: True, "revision": revision})


class _Inverted(ChunkWise):
    """Any array that a level may hold, inverted block by block."""

    def __getitem__(self, key: Any) -> np.ndarray:
        block = np.asarray(self.array[key])
        return 1 - block if block.dtype.kind == "f" else np.invert(block)

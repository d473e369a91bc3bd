"""The axis order of a TIFF: as given by the user, else as tifffile reads it from the file."""

from __future__ import annotations

from collections.abc import Sequence

from tifffile import TiffPageSeries

from napari_connecto.io.volumes.axis_names import axes_of
from napari_connecto.io.volumes.levels import Request

_LETTERS = {"T": "t", "C": "c", "S": "c", "Z": "z", "Y": "y", "X": "x"}
_STACK = ("I", "Q")
"""What tifffile calls the axis of a plain stack of pages: sections, unless the file also names a z axis."""


def axis_order(series: Sequence[TiffPageSeries], request: Request, shape: Sequence[int]) -> list[str]:
    """Letters "t", "c", "z", "y", "x" of the stored array, which has this ``shape``.

    Raises
    ------
    InputError
        If the axes that the user gave do not match the shape.
    """
    if request.axes:
        return axes_of(request.axes, None, shape, f"'{request.path}'")
    return stored_order(series)


def stored_order(series: Sequence[TiffPageSeries]) -> list[str]:
    """As the file states it; several series are sections of one stack."""
    letters = [_LETTERS.get(letter, letter) for letter in series[0].axes]
    axes = letters if "z" in letters else ["z" if name in _STACK else name for name in letters]
    return axes if len(series) == 1 else ["z", *axes]

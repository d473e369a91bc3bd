"""Names of axes in files, as letters, words or capitals: "t", "c", "z", "y" or "x", or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.views import guess_axes

LETTERS = "tczyx"
_WORDS = {
    "t": "time times timepoint timepoints frame frames",
    "c": "channel channels ch band bands color colour colors colours rgb rgba s sample samples",
    "z": "depth plane planes pln slice slices section sections",
    "y": "height row rows",
    "x": "width col cols column columns",
}
_LETTER_OF = {word: letter for letter, words in _WORDS.items() for word in [letter, *words.split()]}
_AXIS = re.compile(r"(?:dim|axis)?[ _-]?([tczyx])[ _-]?(?:dim|axis|coord)?\^?")  # funlib marks channels as "c^"
_NUMBERED = re.compile(r"(?:dim|axis|phony_dim)?[ _-]?\d+")


def axis_letter(name: object) -> str | None:
    """ "t", "c", "z", "y" or "x"; None for a word that is not understood."""
    text = str(name).strip().lower()
    match = _AXIS.fullmatch(text)
    return match[1] if match else _LETTER_OF.get(text)


def states_nothing(names: object) -> bool:
    """Whether these are no names at all: absent, empty, or counted as xarray and netCDF do ("dim_0")."""
    if names is None or not isinstance(names, str | Sequence):
        return names is None
    return all(
        name is None or not str(name).strip() or _NUMBERED.fullmatch(str(name).strip().lower()) for name in names
    )


def understood(names: object, shape: Sequence[int], where: str) -> list[str] | None:
    """What a file calls its axes as letters, in the stored order; None where it says nothing.

    Parameters
    ----------
    names
        A list of names, or one string of letters. An axis of one voxel may be called anything.
    shape
        Extent of the stored axes.
    where
        How messages name the array.

    Raises
    ------
    InputError
        If there are more or fewer names than axes, one is not understood, or two mean the same.
    """
    if states_nothing(names):
        return None
    listed = list(names) if isinstance(names, str | Sequence) else [names]
    if len(listed) != len(shape):
        raise InputError(f"{where} names the axes {names!r} of an array of shape {tuple(shape)}; {say(len(shape))}")
    letters = [axis_letter(name) or str(name) for name in listed]
    unknown = [name for name, a, n in zip(listed, letters, shape, strict=True) if a not in LETTERS and n > 1]
    if unknown or len(set(letters)) < len(letters):
        reason = f"{unknown[0]!r} is not understood" if unknown else "two of them mean the same"
        if any(name is None or not str(name).strip() for name in listed):
            reason = "some are empty"
        raise InputError(f"{where} names its axes {listed!r}, of which {reason}; {say(len(shape))}")
    return letters


def axistags(document: object) -> list[Mapping[str, Any]]:
    """The tags of vigra (ilastik), one per stored axis, each with its "key"; empty where these are none."""
    tags = document.get("axes") if isinstance(document, Mapping) else None
    return tags if isinstance(tags, list) and all(isinstance(tag, Mapping) for tag in tags) else []


def axes_of(given: str | None, names: object, shape: Sequence[int], where: str) -> list[str]:
    """Axes of an array: as the caller gave them, else as the file names them, else by their number.

    Raises
    ------
    InputError
        If ``given`` are too many or too few, or `understood` refuses the names.
    """
    if given is None:
        return understood(names, shape, where) or list(guess_axes(shape))
    if len(given) != len(shape):
        raise InputError(f"got axes='{given}' for an array of shape {tuple(shape)}; {say(len(shape))}")
    return list(given)


def say(ndim: int) -> str:
    """What to do where axes are not known."""
    example = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}.get(ndim, "zyx")
    return f"say what they are, in the stored order, of t c z y x: axes='{example}' (--axes {example})"


def check_axes(axes: object) -> str | None:
    """Letters of t, c, z, y, x, each once, with y and x; None stays.

    Raises
    ------
    InputError
        If they are not.
    """
    if axes is None:
        return None
    text = axes.lower() if isinstance(axes, str) else ""
    if not text or set(text) - set(LETTERS) or len(set(text)) < len(text) or not {"y", "x"} <= set(text):
        raise InputError(f"got axes={axes!r}; allowed: letters of t, c, z, y, x, each once, with y and x, as in 'zyx'")
    return text

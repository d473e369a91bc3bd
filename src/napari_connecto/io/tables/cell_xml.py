"""Cell markers of cellfinder and ImageJ's Cell Counter: XML, in voxels, sections from 0 and from 1.

Read by the standard library's parser with a target of our own. All that makes XML dangerous (entities that grow
without bound, or name other files) has to be declared in a document type, which these files never have; one that has
is refused at its first word. Numbers are taken as they come, so memory holds them and no tree.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from xml.etree.ElementTree import ParseError, XMLParser
from xml.sax.saxutils import escape

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.whole import whole_file
from napari_connecto.io.disk import storing

ROOT = "CellCounter_Marker_File"
NO_CELL, CELL = 1, 2
"""Marker types of cellfinder: 1 is not (or not yet known to be) a cell, 2 is one."""
_NAMES = {NO_CELL: "no cell", CELL: "cell"}
_AXES = ("MarkerZ", "MarkerY", "MarkerX")
_LONGEST = 32
_READ = 2**20


def write_cells(
    path: str | os.PathLike[str],
    voxels: np.ndarray,
    kinds: np.ndarray | int = CELL,
    *,
    title: str = "",
    counter: bool = False,
) -> None:
    """Write markers that cellfinder, brainglobe and napari's plugins for them read; a file there is replaced, whole.

    Parameters
    ----------
    path
        By convention ends in ``.xml``.
    voxels
        (n, 3) integers: indices of the voxels, (z, y, x), from 0.
    kinds
        Type of each, or of all.
    title
        Of the image as ImageJ shows it, mostly the name of its file; the name of ``path`` where it is not given.
    counter
        For ImageJ's Cell Counter, which counts sections from 1, names types, and refuses the markers of another title.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    path, voxels = Path(path), np.asarray(voxels, np.int64).reshape(-1, 3)
    kinds = np.broadcast_to(np.asarray(kinds, np.int64), len(voxels))
    with storing(path), whole_file(path) as partial, partial.open("w", encoding="utf-8", newline="\n") as file:
        lines = _lines(title or path.stem, voxels + np.array([int(counter), 0, 0]), kinds, counter)
        file.writelines(f"{line}\n" for line in lines)


def _lines(name: str, voxels: np.ndarray, kinds: np.ndarray, counter: bool) -> Iterator[str]:
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f"<{ROOT}>"
    yield f"  <Image_Properties><Image_Filename>{escape(name)}</Image_Filename></Image_Properties>"
    yield "  <Marker_Data>"
    yield "    <Current_Type>1</Current_Type>"
    for kind in sorted({*kinds.tolist()} or {CELL}):
        yield f"    <Marker_Type><Type>{kind}</Type>{f'<Name>{_NAMES.get(kind, kind)}</Name>' if counter else ''}"
        for z, y, x in voxels[kinds == kind].tolist():
            yield f"      <Marker><MarkerX>{x}</MarkerX><MarkerY>{y}</MarkerY><MarkerZ>{z}</MarkerZ></Marker>"
        yield "    </Marker_Type>"
    yield "  </Marker_Data>"
    yield f"</{ROOT}>"


def read_cells(path: str | os.PathLike[str]) -> tuple[np.ndarray, np.ndarray]:
    """Markers of a file.

    Returns
    -------
    voxels
        (n, 3) float: voxel indices (z, y, x), from 0. Sections of a file that ImageJ's Cell Counter wrote, which names
        its types or states a calibration, are counted from 1 there.
    kinds
        (n,) integers, see `CELL`; types of the Cell Counter are cells, but for those named "no cell".

    Raises
    ------
    InputError
        If it is absent, damaged, no such file, or declares a document type.
    """
    target = _Markers(str(path))
    parser = XMLParser(target=target)
    try:
        with Path(path).open("rb") as file:
            while part := file.read(_READ):
                parser.feed(part)
        parser.close()
    except FileNotFoundError as error:
        raise InputError(f"no table at '{path}'; check the path") from error
    except (OSError, ParseError, ValueError, LookupError) as error:  # LookupError: an unknown encoding
        if isinstance(error, InputError):
            raise
        raise InputError(f"cannot read '{path}' as XML ({error}); check that it is complete") from error
    voxels, kinds = np.array(target.voxels, float).reshape(-1, 3), np.array(target.kinds, np.int64)
    if not target.counter:
        return voxels, kinds
    if (voxels[:, 0] < 1).any():
        raise InputError(
            f"'{path}' has a marker on section 0; ImageJ's Cell Counter counts sections from 1: correct it"
        )
    return voxels - np.array([1, 0, 0]), np.where(np.isin(kinds, target.no_cells), NO_CELL, CELL)


class _Markers:
    """What the parser tells its findings to, see `xml.etree.ElementTree.XMLParser`."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.voxels: list[tuple[float, ...]] = []
        self.kinds: list[int] = []
        self.counter, self.no_cells = False, list[int]()
        self._kind, self._at, self._text, self._deep = NO_CELL, dict[str, float](), "", 0

    def doctype(self, *_declared: object) -> None:
        raise InputError(f"'{self.where}' declares a document type; cell files have none: remove the line <!DOCTYPE …>")

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        if self._deep == 0 and tag != ROOT:
            raise InputError(f"'{self.where}' starts with <{tag:.40}>; a file of cells starts with <{ROOT}>")
        self._deep += 1
        self._text = ""

    def data(self, text: str) -> None:
        if len(self._text) <= _LONGEST:
            self._text += text[: _LONGEST + 1]

    def end(self, tag: str) -> None:
        self._deep -= 1
        if tag == "Type":
            self._kind = int(self._number(tag))
        elif tag in ("Name", "X_Calibration"):
            self.counter = True
            if self._text.strip().lower() == _NAMES[NO_CELL]:
                self.no_cells.append(self._kind)
        elif tag in _AXES:
            self._at[tag] = self._number(tag)
        elif tag == "Marker":
            if len(self._at) < 3:
                raise InputError(f"marker {len(self.voxels) + 1} of '{self.where}' has no {self._missing()}")
            self.voxels.append(tuple(self._at[axis] for axis in _AXES))
            self.kinds.append(self._kind)
            self._at = {}

    def close(self) -> None:
        """Nothing is returned."""

    def _missing(self) -> str:
        return ", ".join(islice((axis for axis in _AXES if axis not in self._at), 3))

    def _number(self, tag: str) -> float:
        try:
            number = float(self._text)
        except ValueError:
            number = np.nan
        if not abs(number) < 2**53:
            raise InputError(f"'{self.where}' has <{tag}> {self._text:.40}; it is a number")
        return number

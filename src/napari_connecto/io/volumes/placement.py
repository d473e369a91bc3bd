"""coordinateTransformations of OME-Zarr 0.4 to 0.6, where they keep axes apart: a factor and a shift along each.

What bends, shears, turns or drops axes is refused by name: an image that is shown as it is stored cannot follow it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.volume import FARTHEST_NM

READABLE = "identity, scale, translation, mapAxis, sequence, byDimension, affine and rotation"
DEEPEST = 8


@dataclass(frozen=True)
class Placement:
    """Output axis i is at ``factor[i] * index + shift[i]`` for the index along the stored axis ``source[i]``.

    ``scaled`` and ``moved`` say whether a scale and a translation were stated, were it 1 and 0.
    """

    source: tuple[int, ...]
    factor: tuple[float, ...]
    shift: tuple[float, ...]
    scaled: bool = False
    moved: bool = False

    @classmethod
    def start(cls, factor: Sequence[float]) -> Placement:
        """Before any transformation: output axes are the stored ones, of voxels of this size."""
        return cls(tuple(range(len(factor))), tuple(factor), (0.0,) * len(factor))

    def taken(self, order: Sequence[int]) -> Placement:
        """Some of the output axes, in this order."""
        source, factor, shift = self.source, self.factor, self.shift
        return replace(
            self,
            source=tuple(source[i] for i in order),
            factor=tuple(factor[i] for i in order),
            shift=tuple(shift[i] for i in order),
        )

    def stored(self, values: Sequence[Any]) -> list[Any]:
        """Values of the output axes in the order of the stored ones."""
        return [values[self.source.index(axis)] for axis in range(len(values))]


def applied(steps: Sequence[Any], to: Placement, where: str, deep: int = 0) -> Placement:
    """Where transformations lead, one after the other.

    Raises
    ------
    InputError
        If one is damaged, of a type that cannot be read, or does not keep axes apart.
    """
    for step in steps:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if not isinstance(kind, str):
            raise InputError(
                f"'{where}' states the transformation {step!r}, which has no type; write its metadata again"
            )
        if kind not in _KINDS or deep > DEEPEST:
            raise InputError(f"'{where}' states a transformation of type '{kind}'; can be read: {READABLE}; {ALONE}")
        if "path" in step and kind not in step and kind not in ("sequence", "byDimension", "identity"):
            raise InputError(
                f"'{where}' keeps its {kind} in an array ('{step['path']}'), which cannot be read; {ALONE}"
            )
        to = _KINDS[kind](step, to, where, deep)
    return to


ALONE = "open one level alone with its voxel size: array=, voxel_nm= (--array NAME --voxel-nm Z Y X)"


def numbers(values: Any, n: int, where: str) -> list[float]:
    """``n`` finite numbers of a metadata document, or `InputError`."""
    good = isinstance(values, list) and len(values) == n
    if not good or not all(isinstance(v, int | float) and abs(v) <= FARTHEST_NM for v in values):
        raise InputError(f"'{where}' states {values!r} where {n} numbers are needed; write its metadata again")
    return [float(v) for v in values]


def _identity(_step: Mapping[str, Any], to: Placement, _where: str, _deep: int) -> Placement:
    return replace(to, scaled=True)


def _scale(step: Mapping[str, Any], to: Placement, where: str, _deep: int) -> Placement:
    by = numbers(step.get("scale"), len(to.factor), where)
    factor, shift = (tuple(a * b for a, b in zip(old, by, strict=True)) for old in (to.factor, to.shift))
    return replace(to, factor=factor, shift=shift, scaled=True)


def _translation(step: Mapping[str, Any], to: Placement, where: str, _deep: int) -> Placement:
    by = numbers(step.get("translation"), len(to.shift), where)
    return replace(to, shift=tuple(a + b for a, b in zip(to.shift, by, strict=True)), moved=True)


def _map_axis(step: Mapping[str, Any], to: Placement, where: str, _deep: int) -> Placement:
    order = step.get("mapAxis")
    if not isinstance(order, list) or sorted(map(repr, order)) != sorted(map(repr, range(len(to.source)))):
        raise InputError(
            f"'{where}' states mapAxis {order!r}; it is a list of the axes 0 to {len(to.source) - 1}; {ALONE}"
        )
    return to.taken(order)


def _affine(step: Mapping[str, Any], to: Placement, where: str, _deep: int) -> Placement:
    rows, n = step.get("affine"), len(to.source)
    if not isinstance(rows, list) or len(rows) != n:
        raise InputError(f"'{where}' states the affine {rows!r}; it has a row for each of {n} axes; {ALONE}")
    matrix = [numbers(row, n + 1, where) for row in rows]
    return replace(_linear([row[:n] for row in matrix], [row[n] for row in matrix], to, where, "affine"), moved=True)


def _rotation(step: Mapping[str, Any], to: Placement, where: str, _deep: int) -> Placement:
    rows, n = step.get("rotation"), len(to.source)
    if not isinstance(rows, list) or len(rows) != n:
        raise InputError(f"'{where}' states the rotation {rows!r}; it has a row for each of {n} axes; {ALONE}")
    return _linear([numbers(row, n, where) for row in rows], [0.0] * n, to, where, "rotation")


def _linear(matrix: list[list[float]], by: list[float], to: Placement, where: str, kind: str) -> Placement:
    """A matrix with one number in each row and column, which exchanges axes at most."""
    largest = max(abs(v) for row in matrix for v in row)
    order = [int(np.argmax(np.abs(row))) for row in matrix]
    rest = max((abs(v) for row, j in zip(matrix, order, strict=True) for i, v in enumerate(row) if i != j), default=0.0)
    if rest > 1e-9 * largest or len(set(order)) < len(order):
        raise InputError(f"'{where}' states {_a(kind)} {matrix} that turns or shears the image; {ALONE}")
    by_axis = [row[j] for row, j in zip(matrix, order, strict=True)]
    if any(v < 0 for v in by_axis):
        raise InputError(f"'{where}' states {_a(kind)} {matrix} that turns or mirrors the image; {ALONE}")
    factor = tuple(to.factor[j] * v for j, v in zip(order, by_axis, strict=True))
    shift = tuple(to.shift[j] * v + b for j, v, b in zip(order, by_axis, by, strict=True))
    return Placement(tuple(to.source[j] for j in order), factor, shift, scaled=True, moved=to.moved)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _sequence(step: Mapping[str, Any], to: Placement, where: str, deep: int) -> Placement:
    return applied(_listed(step, where), to, where, deep + 1)


def _by_dimension(step: Mapping[str, Any], to: Placement, where: str, deep: int) -> Placement:
    """Each part moves some axes; "input_axes" and parts that are the transformation itself are those of drafts."""
    found: dict[int, tuple[int, float, float]] = {}
    scaled, moved = True, to.moved
    for part in _listed(step, where):
        if not isinstance(part, Mapping):
            raise InputError(f"'{where}' states {part!r} in byDimension; write its metadata again")
        inputs, outputs = (
            _axes(part, f"{end}Axes", f"{end}_axes", len(to.source), where) for end in ("input", "output")
        )
        if len(inputs) != len(outputs):
            raise InputError(
                f"'{where}' states byDimension from axes {inputs} to {outputs}; their number differs; {ALONE}"
            )
        some = to.taken(inputs)
        local = replace(some, source=tuple(range(len(inputs))))
        end = applied([part.get("transformation", part)], local, where, deep + 1)
        moved = moved or end.moved
        for k, axis in enumerate(outputs):
            found[axis] = (some.source[end.source[k]], end.factor[k], end.shift[k])
    n = len(to.source)
    if sorted(found) != list(range(n)) or sorted(s for s, _, _ in found.values()) != list(range(n)):
        raise InputError(f"'{where}' states byDimension for the axes {sorted(found)} of {n}; {ALONE}")
    source, factor, shift = zip(*(found[axis] for axis in range(n)), strict=True)
    return Placement(source, factor, shift, scaled, moved)


def _axes(part: Mapping[str, Any], name: str, draft: str, n: int, where: str) -> list[int]:
    axes = part.get(name, part.get(draft))
    if not isinstance(axes, list) or not all(type(a) is int and 0 <= a < n for a in axes):
        raise InputError(f"'{where}' states {name} {axes!r}; they are numbers of axes, 0 to {n - 1}; {ALONE}")
    return axes


def _listed(step: Mapping[str, Any], where: str) -> list[Any]:
    parts = step.get("transformations")
    if not isinstance(parts, list) or not parts:
        raise InputError(f"'{where}' states a {step['type']} without transformations; write its metadata again")
    return parts


_KINDS: dict[str, Callable[[Mapping[str, Any], Placement, str, int], Placement]] = {
    "identity": _identity,
    "scale": _scale,
    "translation": _translation,
    "mapAxis": _map_axis,
    "affine": _affine,
    "rotation": _rotation,
    "sequence": _sequence,
    "byDimension": _by_dimension,
}

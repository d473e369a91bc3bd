"""Axes, units and positions of levels from "multiscales" metadata of OME-Zarr 0.1 to 0.6.

0.6 names coordinate systems; earlier versions have one, the list "axes". The system that counts is the one that all
levels are mapped to (0.6 calls it intrinsic). Where it has no unit of length, and the image is mapped from there to one
that has, that one counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.axis_names import axis_letter, say, states_nothing, understood
from napari_connecto.io.volumes.levels import ratio_scales, unit_nm
from napari_connecto.io.volumes.placement import ALONE, Placement, applied

_KNOWN = re.compile(r"0\.[1-6](?!\d).*")
_SPATIAL = ("z", "y", "x")
_CLOSE = 0.05
"""Share by which the extents of two levels may differ (padding), if it is more than a coarse voxel (rounding)."""


def check_version(stated: object, where: str) -> str:
    """The version as text, "" where none is stated.

    Raises
    ------
    InputError
        If it is none of 0.1 to 0.6 and its drafts.
    """
    version = "" if stated is None else str(stated).strip()
    if version and not _KNOWN.fullmatch(version):
        raise InputError(
            f"'{where}' is OME-Zarr '{version}'; 0.1 to 0.6 can be read: convert it, or update napari-connecto"
        )
    return version


@dataclass(frozen=True)
class Geometry:
    """Along the stored axes: their names, nm per unit, and per level the scale and the corner of voxel 0 in units."""

    axes: list[str]
    unit_nm: list[float | None]
    scales: list[list[float]]
    corners: list[list[float]]


def geometry(
    multiscale: Mapping[str, Any],
    datasets: Sequence[Mapping[str, Any]],
    shapes: Sequence[Sequence[int]],
    where: str,
    *,
    version: str = "",
    names: object = None,
    given: str | None = None,
) -> Geometry:
    """Where the levels lie.

    OME-Zarr places the *centre* of voxel 0. A level without a scale takes that of another times the ratio of their
    shapes, one without a translation shares the corner of level 0.

    Parameters
    ----------
    multiscale, datasets
        The metadata, and of its datasets those that are read.
    shapes
        Of their arrays.
    where, version
        The image in messages, and its version, see `check_version`.
    names
        "dimension_names" of level 0, which must not contradict.
    given
        Names of the stored axes, where the caller knows better.

    Raises
    ------
    InputError
        If something is damaged, cannot be read, or contradicts the shapes.
    """
    ndim = len(shapes[0])
    if any(len(shape) != ndim for shape in shapes):
        raise InputError(
            f"'{where}' has levels of shapes {[tuple(s) for s in shapes]}; all need the same axes; {ALONE}"
        )
    system = _system(multiscale, datasets, where)
    entries = _entries(system.axes, ndim, names, version, where)
    places = _places(system, shapes, where)
    if any(place.source != places[0].source for place in places):
        raise InputError(f"'{where}' permutes axes on some levels and not on others; {ALONE}")
    units = [unit_nm(entry.get("unit")) for entry in entries]
    axes = places[0].stored(_names(entries))
    if given is not None and len(given) == ndim:
        axes = list(given)
    else:
        _check_names(axes, names, shapes[0], where)
    halves = [place.factor for place in places]
    corner = [c - s / 2 for c, s in zip(places[0].shift, halves[0], strict=True)]
    corners = [
        [c - s / 2 for c, s in zip(place.shift, half, strict=True)] if place.moved else corner
        for place, half in zip(places, halves, strict=True)
    ]
    stated = any(place.scaled for place in places)
    found = Geometry(
        axes,
        places[0].stored(units) if stated else [None] * ndim,
        [place.stored(place.factor) for place in places],
        [places[0].stored(values) for values in corners],
    )
    _check_levels(found, shapes, where)
    return found


def check_units(found: Geometry, shape: Sequence[int], where: str) -> None:
    """Refuse axes of which some have a unit of length and some have none: their sizes cannot be compared.

    Raises
    ------
    InputError
        If so.
    """
    known = {a: u for a, u, n in zip(found.axes, found.unit_nm, shape, strict=True) if a in _SPATIAL and n > 1}
    without = [axis for axis, unit in known.items() if unit is None]
    if without and len(without) < len(known):
        raise InputError(
            f"'{where}' states a unit of length along {', '.join(sorted(set(known) - set(without)))} and none along "
            f"{', '.join(without)}; give the voxel size in nm (voxel_nm=, --voxel-nm Z Y X)"
        )


@dataclass(frozen=True)
class _System:
    """A coordinate system's axes; per level what leads to it, and what is applied to all levels after that."""

    axes: Any
    steps: list[list[Any]]
    shared: list[Any]


def _system(multiscale: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]], where: str) -> _System:
    steps = [_list(dataset.get("coordinateTransformations"), where) for dataset in datasets]
    shared = _list(multiscale.get("coordinateTransformations"), where)
    if "coordinateSystems" not in multiscale:
        if len({_name(step, "output") for step in shared}) > 1:  # spatialdata: ways to several systems
            shared = []
        return _System(multiscale.get("axes"), steps, shared)
    systems = {}
    for system in _list(multiscale["coordinateSystems"], where):
        if not isinstance(system, Mapping) or not isinstance(system.get("name"), str) or system["name"] in systems:
            raise InputError(f"'{where}' has the coordinate system {system!r}; each has a name of its own")
        systems[system["name"]] = system.get("axes")
    outputs = [{_name(step, "output") for step in level} for level in steps if level]
    common = set.intersection(*outputs) if outputs else {None}
    first = next((_name(step, "output") for level in steps for step in level if _name(step, "output") in common), None)
    if not common or not (first in systems or (first is None and len(systems) == 1)):
        stated = sorted({str(name) for names in outputs for name in names})
        raise InputError(
            f"'{where}' maps its levels to {stated}; its coordinate systems are {list(systems)}: name one of them"
        )
    chosen = first or next(iter(systems))
    steps = [[step for step in level if _name(step, "output") == first] for level in steps]
    if first is not None and any(len(level) > 1 for level in steps):
        raise InputError(f"'{where}' maps a level to '{first}' in several ways; {ALONE}")
    for step in [] if _in_nm(systems[chosen]) else shared:
        beyond = _name(step, "output")
        if _name(step, "input") == chosen and beyond in systems and _in_nm(systems[beyond]):
            return _System(systems[beyond], steps, [step])
    return _System(systems[chosen], steps, [])


def _name(step: Any, end: str) -> str | None:
    """The coordinate system at an end of a transformation: {"name": ...} in 0.6, text in its drafts."""
    stated = step.get(end) if isinstance(step, Mapping) else None
    if isinstance(stated, Mapping):
        stated = None if stated.get("path") else stated.get("name")
    return stated if isinstance(stated, str) else None


def _in_nm(axes: Any) -> bool:
    """Whether all axes of space have a unit of length."""
    entries = [axis for axis in axes if isinstance(axis, Mapping)] if isinstance(axes, list) else []
    space = [a for a in entries if a.get("type", "space") == "space" and axis_letter(a.get("name")) not in ("t", "c")]
    return bool(space) and all(unit_nm(axis.get("unit")) for axis in space)


def _places(system: _System, shapes: Sequence[Sequence[int]], where: str) -> list[Placement]:
    """Of each level; those that state no scale follow the first that does."""
    ratios = ratio_scales(shapes)
    ones = [1.0] * len(shapes[0])
    own = [applied(steps, Placement.start(ones), where) for steps in system.steps]
    known = next((k for k, place in enumerate(own) if place.scaled), None)
    for k, place in enumerate(own):
        if not place.scaled:
            base = ones if known is None else own[known].stored(own[known].factor)
            to = ratios[0] if known is None else ratios[known]
            factor = [b * r / t for b, r, t in zip(base, ratios[k], to, strict=True)]
            own[k] = replace(applied(system.steps[k], Placement.start(factor), where), scaled=False)
    after = [applied(system.shared, replace(place, moved=False), where) for place in own]
    return [replace(new, moved=old.moved) for new, old in zip(after, own, strict=True)]


def _entries(stated: Any, ndim: int, names: object, version: str, where: str) -> list[Mapping[str, Any]]:
    """One mapping per axis."""
    if stated is None:
        known = understood(names, (2,) * ndim, f"'{where}'")
        if known is None and version >= "0.3":
            raise InputError(f"'{where}' is OME-Zarr {version} and states no axes; {say(ndim)}")
        stated = known or list("tczyx")[-ndim:]  # 0.1 and 0.2
    entries = [{"name": a} if isinstance(a, str) else a for a in stated] if isinstance(stated, list) else []
    if len(entries) != ndim or not all(isinstance(entry, Mapping) for entry in entries):
        raise InputError(f"'{where}' states axes {stated!r} for an array of {ndim} axes; write its metadata again")
    return entries


def _names(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Letters, by name and type; axes of space whose names say nothing ("dim_0") are z, y, x in their order."""
    names = [axis_letter(entry.get("name", "")) or str(entry.get("name", "")) for entry in entries]
    types = [entry.get("type") for entry in entries]
    space = [i for i, kind in enumerate(types) if kind == "space"]
    if len(space) in (2, 3) and states_nothing([names[i] for i in space]):
        for i, name in zip(space, _SPATIAL[-len(space) :], strict=True):
            names[i] = name
    for i, kind in enumerate(types):
        if kind in ("channel", "time"):
            names[i] = str(kind)[0]
    return names


def _check_names(axes: Sequence[str], names: object, shape: Sequence[int], where: str) -> None:
    """The array's own names may be odd; where they are understood they have to agree."""
    try:
        own = understood(names, shape, where)
    except InputError:
        return
    if own is not None and own != list(axes) and set(own) == set(axes):
        raise InputError(
            f"'{where}' states axes {list(axes)}, its level 0 {own}; write its metadata again, or {say(len(axes))}"
        )


def _check_levels(found: Geometry, shapes: Sequence[Sequence[int]], where: str) -> None:
    """All levels show the same place, with the same channels and times."""
    for k in range(1, len(shapes)):
        for i, axis in enumerate(found.axes):
            if axis in _SPATIAL:
                _check_extent(found, shapes, k, i, where)
            elif shapes[k][i] != shapes[0][i]:
                raise InputError(
                    f"'{where}' has {shapes[0][i]} along '{axis}' on level 0, {shapes[k][i]} on level {k}; {ALONE}"
                )


def _check_extent(found: Geometry, shapes: Sequence[Sequence[int]], k: int, i: int, where: str) -> None:
    axis, finest, scale = found.axes[i], found.scales[0][i], found.scales[k][i]
    longest = max(finest * shapes[0][i], scale * shapes[k][i])
    voxel = max(finest, scale)
    if abs(scale * shapes[k][i] - finest * shapes[0][i]) >= max(voxel * (1 - 1e-6), _CLOSE * longest) > 0:
        raise InputError(
            f"'{where}' states along {axis} {shapes[0][i]} voxels of {finest:g} on level 0 and {shapes[k][i]} of "
            f"{scale:g} on level {k}, another length; write its metadata again, or {ALONE}"
        )
    if abs(found.corners[k][i] - found.corners[0][i]) > voxel * (1 + 1e-6):
        raise InputError(
            f"'{where}' places level 0 at {found.corners[0][i]:g} along {axis}, level {k} at {found.corners[k][i]:g}; "
            f"all levels show the same place: write its metadata again, or {ALONE}"
        )


def _list(value: Any, where: str) -> list[Any]:
    if not (value is None or isinstance(value, list)):
        raise InputError(
            f"'{where}' states coordinateTransformations {value!r}; it is a list: write its metadata again"
        )
    return value or []

"""Plain zarr arrays: what their attributes state of axes, sizes, origin and units is used, or refused.

Conventions: "resolution" or "voxel_size" with "offset" (gunpowder, daisy, funlib; nm where no unit is stated, an offset
is that of the corner), "transform" (COSEM), "pixelResolution" (N5), "element_size_um" (ilastik), coordinates (xarray).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import zarr

from napari_connecto.core.documents import parse_json
from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.attribute_names import AXES, CENTRES, CORNERS, SIZES, UNITS, own_unit, size_unit
from napari_connecto.io.volumes.axis_names import axes_of, axistags, say, understood
from napari_connecto.io.volumes.levels import Description, Request, Stored, unit_nm
from napari_connecto.io.volumes.placement import numbers
from napari_connecto.io.volumes.zarr_arrays import ZarrSource, above, open_node, store_revision

_SAY = "give the voxel size in nm, (z, y, x): voxel_nm= (--voxel-nm Z Y X)"


@dataclass(frozen=True)
class _Place:
    """Along the stored axes; None where nothing is stated of an axis."""

    size: list[float | None]
    unit_nm: list[float | None]
    corner: list[float]


def plain_array(request: Request, array: zarr.Array) -> Description:
    """An array that is no level of an OME-Zarr image.

    Raises
    ------
    InputError
        If its attributes state what is not understood and the caller does not say better (``axes``, ``voxel_nm``).
    """
    label = f"'{request.path}'" + (f" array '{request.array}'" if request.array else "")
    attributes = _with_groups(request, array)
    names = _stated_names(array, attributes, label) if request.axes is None else None
    axes = axes_of(request.axes, names, array.shape, label)
    try:
        place = _place(request, array, axes, attributes, label)
    except InputError:
        if request.voxel_nm is None:
            raise
        place = _unknown(array.ndim)
    scale = [1.0 if size is None else size for size in place.size]
    revision = store_revision(request.path, [array], attributes)
    stored = Stored(ZarrSource(array, label, request.missing), scale, place.corner)
    metadata = {"format": f"zarr {array.metadata.zarr_format}"}
    return Description([stored], axes, place.unit_nm, revision, metadata=metadata)


def _with_groups(request: Request, array: zarr.Array) -> dict[str, Any]:
    """An array's attributes, with what its group states of geometry where the array states none and is alone there."""
    own = array.attrs.asdict()
    keys = {*SIZES, *CORNERS, *CENTRES, *UNITS, *AXES, "transform", "pixelResolution", "axistags"} - {"dimension_names"}
    if keys & set(own):
        return own
    for path, inner, name in above(request.path, request.array)[:1]:
        try:
            group = open_node(path, inner)
        except InputError:
            return own
        stated = {key: value for key, value in group.attrs.asdict().items() if key in keys}
        if isinstance(group, zarr.Group) and stated and "/" not in name and _is_alone(group):
            return {**stated, **own}
        if stated and request.voxel_nm is None:
            told = ", ".join(sorted(stated))
            raise InputError(f"the group of '{name}' states {told}, but not of which of its arrays; {_SAY}")
    return own


def _is_alone(group: zarr.Group) -> bool:
    return group.store.supports_listing and sum(1 for _ in islice(group.members(), 2)) == 1


def _unknown(ndim: int) -> _Place:
    return _Place([None] * ndim, [None] * ndim, [0.0] * ndim)


def _stated_names(array: zarr.Array, attributes: Mapping[str, Any], label: str) -> list[str] | None:
    """The names of axes, from wherever they are stated."""
    told = [getattr(array.metadata, "dimension_names", None), *(attributes.get(key) for key in AXES)]
    told.append(_mapping(attributes, "transform").get("axes"))
    if "axistags" in attributes:
        if not (tags := axistags(_document(attributes["axistags"]))):
            raise InputError(f"{label}: its axistags are not those of vigra; {say(array.ndim)}")
        told.append([tag.get("key") for tag in tags])
    found = []
    for names in told:
        if isinstance(names, list | tuple) and names and all(isinstance(name, Mapping) for name in names):
            names = [name.get("name") for name in names]
        if isinstance(names, list | tuple | str) and (known := understood(names, array.shape, label)):
            found.append(known)
    if any(names != found[0] for names in found):
        raise InputError(f"{label} names its axes {found[0]} and {found[-1]}; {say(array.ndim)}")
    return found[0] if found else None


def _document(value: Any) -> Any:
    """What JSON text says; anything else as it is."""
    return parse_json(value, "axistags") if isinstance(value, str) else value


def _place(
    request: Request, array: zarr.Array, axes: Sequence[str], attributes: Mapping[str, Any], label: str
) -> _Place:
    transform, n5 = _mapping(attributes, "transform"), attributes.get("pixelResolution")
    space = [i for i, axis in enumerate(axes) if axis in "zyx"]
    if any(key in transform for key in ("scale", "translate")):
        return _from_attributes({**attributes, **transform}, {"scale": None}, array.ndim, space, label)
    if attributes.get("downsamplingFactors", 1) not in (1, [1] * len(space), [1] * array.ndim):
        raise InputError(f"{label} states downsamplingFactors, which are counted from another array; {_SAY}")
    if isinstance(n5, Mapping):
        sizes = _along(n5.get("dimensions"), array.ndim, space, label)
        if len({sizes[i] for i in space}) > 1:
            raise InputError(f"{label} states pixelResolution {n5.get('dimensions')}, x y z or z y x; {_SAY}")
        return _from_attributes({**attributes, "resolution": n5["dimensions"], **n5}, SIZES, array.ndim, space, label)
    if request.voxel_nm is not None and not any(key in attributes for key in SIZES):
        given = dict(zip("zyx", request.voxel_nm, strict=True))
        attributes = {"voxel_nm": [given.get(axis, 1.0) for axis in axes], "unit": "nm", **attributes}
    found = _from_attributes(attributes, SIZES, array.ndim, space, label)
    if request.voxel_nm is not None and any(size is not None for size in found.size):
        return found
    counted = _from_coordinates(request, array, axes, label)
    return _agreed(found, counted, space, label) if any(size is not None for size in found.size) else counted


def _agreed(found: _Place, counted: _Place, space: Sequence[int], label: str) -> _Place:
    """What attributes state, where coordinates that state a length too do not differ."""
    for i in space:
        size, unit, other, other_nm = found.size[i], found.unit_nm[i], counted.size[i], counted.unit_nm[i]
        if size and unit and other and other_nm and not math.isclose(size * unit, other * other_nm, rel_tol=1e-3):
            told = f"{size * unit:g} nm, its coordinates {other * other_nm:g} nm"
            raise InputError(f"{label} states a voxel size of {told} along one axis; {_SAY}")
    return found


def _from_attributes(
    attributes: Mapping[str, Any], known: Mapping[str, float | None], ndim: int, space: Sequence[int], label: str
) -> _Place:
    sizes = [key for key in known if key in attributes]
    size = [_along(attributes[key], ndim, space, label) for key in sizes]
    stated = _units(attributes, ndim, space, label)
    units = [_units_of(key, values, stated, space) for key, values in zip(sizes, size, strict=True)]
    if any(not _same(size[0], units[0], *other, space) for other in zip(size, units, strict=True)):
        raise InputError(f"{label} states {' and '.join(sizes)}, which differ; {_SAY}")
    moves = [key for key in (*CORNERS, *CENTRES) if key in attributes]
    move = [_along(attributes[key], ndim, space, label) for key in moves]
    moved = any(values[i] for values in move for i in space)
    if moved and (not size or (sizes[0] == "element_size_um" and not stated and not own_unit(moves[0]))):
        raise InputError(f"{label} states {moves[0]} {attributes[moves[0]]} and no voxel size in its unit; {_SAY}")
    if not size:
        return _unknown(ndim)
    if len(move) > 1:
        raise InputError(f"{label} states {' and '.join(moves)}; one origin is needed: remove the others, or {_SAY}")
    if not all(size[0][i] > 0 for i in space):
        raise InputError(f"{label} states {sizes[0]} {attributes[sizes[0]]}; sizes are positive numbers: {_SAY}")
    corner = [0.0] * ndim
    for i in space if move else ():
        unit = own_unit(moves[0]) or (stated[i] if stated else None)
        corner[i] = move[0][i] * (unit / nm if unit and (nm := units[0][i]) else 1.0)
        corner[i] -= size[0][i] / 2 if moves[0] in CENTRES else 0.0
    return _Place(list(size[0]), units[0], corner)


def _units_of(
    name: str, size: Sequence[float], stated: list[float | None] | None, space: Sequence[int]
) -> list[float | None]:
    """Nm per unit of a size: as its name says, else as is stated, else as is usual."""
    if own := own_unit(name):
        return [own] * len(size)
    return stated or [size_unit(name, [size[i] for i in space])] * len(size)


def _same(
    size: Sequence[float],
    unit_nm: Sequence[float | None],
    other: Sequence[float],
    other_nm: Sequence[float | None],
    space: Sequence[int],
) -> bool:
    return all(
        math.isclose(size[i] * (unit_nm[i] or 1.0), other[i] * (other_nm[i] or 1.0), rel_tol=1e-3) for i in space
    )


def _units(attributes: Mapping[str, Any], ndim: int, space: Sequence[int], label: str) -> list[float | None] | None:
    """Nm per unit of each axis; None where no unit is stated."""
    stated = next((attributes[key] for key in UNITS if attributes.get(key)), None)
    if stated is None and isinstance(axes := attributes.get("axes"), list) and len(axes) == ndim:
        stated = [axis.get("unit") for axis in axes if isinstance(axis, Mapping)]
    if stated is None or (isinstance(stated, list) and not any(stated)):
        return None
    if isinstance(stated, str):
        return [unit_nm(stated)] * ndim
    if not isinstance(stated, list) or len(stated) not in (ndim, len(space)):
        raise InputError(f"{label} states units {stated!r} for {ndim} axes; {_SAY}")
    units: list[float | None] = [None] * ndim
    for i, unit in zip(range(ndim) if len(stated) == ndim else space, stated, strict=True):
        units[i] = unit_nm(unit)
    return units


def _along(values: Any, ndim: int, space: Sequence[int], label: str) -> list[float]:
    """Numbers of all axes, of those of space, or one for all, as one per axis; 1 where there is none."""
    if isinstance(values, int | float):
        values = [values] * len(space)
    if not isinstance(values, list) or len(values) not in (ndim, len(space)):
        raise InputError(f"{label} states {values!r} for {ndim} axes; {_SAY}")
    found = numbers(values, len(values), label.strip("'"))
    whole = [1.0] * ndim
    for i, value in zip(range(ndim) if len(values) == ndim else space, found, strict=True):
        whole[i] = value
    return whole


def _from_coordinates(request: Request, array: zarr.Array, axes: Sequence[str], label: str) -> _Place:
    """xarray keeps an array of coordinates, of centres, beside the data under the name of each dimension."""
    names = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS")
    found, parents = _unknown(array.ndim), above(request.path, request.array)
    if not isinstance(names, list | tuple) or not parents:
        return found
    path, inner, _ = parents[0]
    for i, (axis, name, n) in enumerate(zip(axes, names, array.shape, strict=True)):
        if axis in "zyx" and isinstance(name, str) and (node := _coordinates(path, f"{inner}/{name}".strip("/"), n)):
            values = np.asarray(node[...], float)
            step = (values[-1] - values[0]) / (n - 1)
            unit = next((node.attrs[key] for key in ("units", "unit") if node.attrs.get(key)), None)
            if not step > 0 or not np.allclose(np.diff(values), step, rtol=1e-3):
                raise InputError(
                    f"{label} has coordinates along '{name}' that are not evenly spaced and increasing; {_SAY}"
                )
            if unit is not None or not np.array_equal(values, np.arange(n)):
                found.size[i], found.unit_nm[i], found.corner[i] = (
                    float(step),
                    unit_nm(unit),
                    float(values[0] - step / 2),
                )
    return found


def _coordinates(path: str, inner: str, n: int) -> zarr.Array | None:
    try:
        node = open_node(path, inner)
    except InputError:
        return None
    good = isinstance(node, zarr.Array) and node.shape == (n,) and n > 1 and node.dtype.kind in "iuf"
    return node if good and isinstance(node, zarr.Array) else None


def _mapping(attributes: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = attributes.get(key)
    return found if isinstance(found, Mapping) else {}

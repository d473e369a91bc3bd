"""Axes, voxel size, units and origin stated by an HDF5 dataset: used or refused, never ignored."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.io.volumes.attribute_names import AXES, CENTRES, CORNERS, SIZES, UNITS, own_unit, size_unit
from napari_connecto.io.volumes.axis_names import axes_of, axistags, say, understood
from napari_connecto.io.volumes.hdf5.attributes import (
    attributes_of,
    dimension_names,
    dimension_scales,
    from_json,
    texts,
    words,
)
from napari_connecto.io.volumes.levels import Request, unit_nm

SPACE = "zyx"
_CORRECT = "correct the attribute, or give the size: voxel_nm= (--voxel-nm Z Y X)"


@dataclass(frozen=True)
class Stated:
    """Per name of a spatial axis: its voxel size, nm per unit (None where it is no length), the corner of voxel 0."""

    size: dict[str, float]
    unit_nm: dict[str, float | None]
    corner: dict[str, float]


def stated_axes(dataset: h5py.Dataset, request: Request, where: str) -> list[str]:
    """Letters of the stored axes: as the caller gave them, as the file names them, else by their number.

    Read are ``axistags`` (vigra, ilastik), the attributes `AXES`, and the labels and scales of HDF5's own dimensions.

    Raises
    ------
    InputError
        If names are not understood, or two of these differ.
    """
    if request.axes is not None:
        return axes_of(request.axes, None, dataset.shape, where)
    understood_names = [
        (name, understood(names, dataset.shape, f"{where}, {name},")) for name, names in _names(dataset, request, where)
    ]
    found = {name: letters for name, letters in understood_names if letters is not None}
    if len({tuple(letters) for letters in found.values()}) > 1:
        told = ", ".join(f"{name}: {' '.join(letters)}" for name, letters in found.items())
        raise InputError(f"{where} names its axes differently ({told}); {say(dataset.ndim)}")
    return next(iter(found.values())) if found else axes_of(None, None, dataset.shape, where)


def _names(dataset: h5py.Dataset, request: Request, where: str) -> Iterator[tuple[str, list[object]]]:
    attrs = attributes_of(dataset, request, where)
    if "axistags" in attrs:
        if not (tags := axistags(from_json(attrs["axistags"]))):
            raise InputError(f"{where}: its axistags are not those of vigra; {say(dataset.ndim)}")
        yield "axistags", [tag.get("key") for tag in tags]
    for name in (key for key in AXES if key in attrs):
        yield name, words(attrs[name], dataset.ndim)
    yield "dimensions", dimension_names(dataset)


def stated_geometry(dataset: h5py.Dataset, axes: Sequence[str], request: Request, where: str) -> Stated:
    """Voxel size, units and origin.

    Raises
    ------
    InputError
        If what is stated is not understood or contradicts itself, and the caller gave no voxel size.
    """
    attrs = attributes_of(dataset, request, where)
    sizes: list[tuple[str, dict[str, float], dict[str, float | None]]] = []
    try:
        sizes += [found for found in _sizes(attrs, axes, where) if found[1]]
        _check_same(sizes, where)
        if sizes and request.voxel_nm is None and (counted := _from_coordinates(dataset, axes, where)):
            _check_same([sizes[0], ("coordinates", counted.size, counted.unit_nm)], where)
    except InputError:
        if request.voxel_nm is None:
            raise
    if not sizes and request.voxel_nm is not None:
        sizes.append(("voxel_nm", dict(zip(SPACE, request.voxel_nm, strict=True)), dict.fromkeys(SPACE, 1.0)))
    if not sizes and (found := _from_coordinates(dataset, axes, where)):
        return found
    name, size, units = sizes[0] if sizes else ("", {}, {})
    return Stated(size, units, _corner(attrs, axes, name, size, units, where))


def _from_coordinates(dataset: h5py.Dataset, axes: Sequence[str], where: str) -> Stated | None:
    """From the scales of netCDF and xarray: the coordinates of voxels' centres along each dimension."""
    size: dict[str, float] = {}
    units: dict[str, float | None] = {}
    corner: dict[str, float] = {}
    for a, (_, scale), n in zip(axes, dimension_scales(dataset), dataset.shape, strict=True):
        if scale is None or a not in SPACE or n == 1 or scale.shape != (n,) or scale.dtype.kind not in "iuf":
            continue
        values, unit = np.asarray(scale[...], float), scale.attrs.get("units", scale.attrs.get("unit"))
        if unit is None and (not values.any() or np.array_equal(values, np.arange(n))):
            continue  # netCDF's dimensions without coordinates
        step = float(values[-1] - values[0]) / (n - 1)
        if not step > 0 or not np.allclose(np.diff(values), step, rtol=1e-3):
            raise InputError(f"{where} has coordinates along {a} that are not evenly spaced and increasing; {_CORRECT}")
        size[a], units[a], corner[a] = step, unit_nm(texts(unit)[0]), float(values[0]) - step / 2
    return Stated(size, units, corner) if size else None


def _corner(
    attrs: Mapping[str, Any],
    axes: Sequence[str],
    name: str,
    size: Mapping[str, float],
    units: Mapping[str, float | None],
    where: str,
) -> dict[str, float]:
    """The corner of voxel 0 in the units of the size that is called ``name``."""
    stated = [key for key in (*CORNERS, *CENTRES) if key in attrs]
    if len(stated) > 1:
        raise InputError(f"{where} has {' and '.join(stated)}; one origin is needed: remove the others")
    if not stated:
        return {}
    found = _spread(_numbers(attrs[stated[0]]), axes, f"{where} has an {stated[0]}")
    told = f"{where} has an {stated[0]} of {tuple(found.values())}"
    if not all(map(math.isfinite, found.values())):
        raise InputError(f"{told}; correct it or remove it")
    beside = _units(attrs, axes, own_unit(stated[0]))
    own = {a: own_unit(stated[0]) or beside.get(a) for a in found}
    if all(own.values()):
        found = {a: v * (own[a] or 1.0) / (units.get(a) or 1.0) for a, v in found.items()}
    elif any(found.values()) and name in ("", "element_size_um", "pixelResolution", "axistags"):
        do = "write the attribute resolution (nm) beside it, remove it, or give the voxel size (--voxel-nm Z Y X)"
        raise InputError(f"{told} without a resolution, which would say its unit; {do}")
    if stated[0] in CENTRES:
        found = {a: v - size.get(a, 1.0) / 2 for a, v in found.items()}
    return found


def _sizes(
    attrs: Mapping[str, Any], axes: Sequence[str], where: str
) -> Iterator[tuple[str, dict[str, float], dict[str, float | None]]]:
    """Name, sizes and units of each attribute that states a voxel size."""
    found: dict[str, tuple[dict[str, float], dict[str, float | None]]] = {}
    for name in (key for key in SIZES if key in attrs and key != "element_size_um"):
        sizes = _spread(_numbers(attrs[name]), axes, f"{where} has a {name}")
        nm = size_unit(name, [v for v in sizes.values() if v > 0])
        found[name] = sizes, dict.fromkeys(SPACE, nm) if own_unit(name) else _units(attrs, axes, nm)
    if "element_size_um" in attrs:  # of Fiji and ilastik, (z, y, x) whatever is stored
        values = _numbers(attrs["element_size_um"])
        if len(values) not in (2, 3):
            raise InputError(f"{where} has an element_size_um of {len(values)} numbers, it is (z, y, x); {_CORRECT}")
        found["element_size_um"] = dict(zip(SPACE[-len(values) :], values, strict=True)), dict.fromkeys(SPACE, 1e3)
    if "pixelResolution" in attrs:  # of N5, (x, y, z): the reverse of the array's order
        value = from_json(attrs["pixelResolution"])
        stated = value if isinstance(value, dict) else {"dimensions": value}
        sizes = _spread(_numbers(stated.get("dimensions"))[::-1], axes, f"{where} has a pixelResolution")
        found["pixelResolution"] = sizes, dict.fromkeys(SPACE, unit_nm(stated.get("unit")))
    if "downsamplingFactors" in attrs:
        factors = _numbers(attrs["downsamplingFactors"])[::-1]
        times = _spread(factors, axes, f"{where} has downsamplingFactors")
        if found and "pixelResolution" not in found and set(times.values()) != {1.0}:
            raise InputError(f"{where} has downsamplingFactors without a pixelResolution to multiply; {_CORRECT}")
        sizes, units = found.get("pixelResolution", (dict.fromkeys(times, 1.0), _no_unit()))
        found["pixelResolution"] = {a: sizes.get(a, 1.0) * v for a, v in times.items()}, units
    tags = axistags(from_json(attrs.get("axistags")))
    if len(tags) == len(axes):
        numbers = {a: _numbers(tag.get("resolution", 0.0)) for a, tag in zip(axes, tags, strict=True) if a in SPACE}
        found["axistags"] = {a: v[0] for a, v in numbers.items() if len(v) == 1}, _no_unit()
    for name, (sizes, units) in found.items():
        sound = {a: float(v) for a, v in sizes.items() if math.isfinite(v) and v > 0}
        yield name, sound, {a: units.get(a) for a in sound}


def _check_same(sizes: Sequence[tuple[str, dict[str, float], dict[str, float | None]]], where: str) -> None:
    for name, size, units in sizes[1:]:
        for a, nm in units.items():
            first = sizes[0][2].get(a)
            if nm and first and not math.isclose(size[a] * nm, sizes[0][1][a] * first, rel_tol=1e-3):
                told = f"{sizes[0][0]} {sizes[0][1][a] * first:g} nm, {name} {size[a] * nm:g} nm along {a}"
                raise InputError(f"{where} states two voxel sizes ({told}); {_CORRECT}")


def _spread(values: Sequence[float], axes: Sequence[str], what: str) -> dict[str, float]:
    """Numbers by spatial axis: one per stored spatial axis, (z, y, x), one per stored axis, or one for all."""
    stored = [a for a in axes if a in SPACE]
    if len(values) == len(stored):
        return dict(zip(stored, values, strict=True))
    if len(values) == 3:
        return dict(zip(SPACE, values, strict=True))
    if len(values) == len(axes):
        return {a: v for a, v in zip(axes, values, strict=True) if a in SPACE}
    if len(values) == 1:
        return dict.fromkeys(stored, values[0])
    raise InputError(f"{what} of {len(values)} numbers for the axes {' '.join(axes)}; {_CORRECT}")


def _units(attrs: Mapping[str, Any], axes: Sequence[str], otherwise: float | None) -> dict[str, float | None]:
    """Nm per unit of each spatial axis; ``otherwise`` where no unit is stated."""
    name = next((name for name in UNITS if name in attrs), None)
    if name is None:
        return dict.fromkeys(SPACE, otherwise)
    units = texts(attrs[name])
    stored = [a for a in axes if a in SPACE]
    if len(units) == 1:
        return dict.fromkeys(SPACE, unit_nm(units[0]))
    named = next((names for names in (stored, list(axes), list(SPACE)) if len(names) == len(units)), [])
    return {a: unit_nm(word) for a, word in zip(named, units, strict=False)}


def _no_unit() -> dict[str, float | None]:
    return dict.fromkeys(SPACE, None)


def _numbers(value: Any) -> list[float]:
    value = from_json(value)
    try:
        return [float(v) for v in np.ravel(np.asarray(value, float))]
    except (TypeError, ValueError):
        return []

"""From what a file states about its geometry to a `Volume`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from napari_connecto.core.errors import InputError, VoxelSizeError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.volume import FARTHEST_NM, Kind, Level, Volume
from napari_connecto.io.volumes.axis_names import axes_of
from napari_connecto.io.volumes.views import ChannelChoice, Source, view

NM_PER_UNIT = {
    "angstrom": 0.1,
    "ångström": 0.1,
    "å": 0.1,
    "femtometer": 1e-6,
    "fm": 1e-6,
    "picometer": 1e-3,
    "picometre": 1e-3,
    "pm": 1e-3,
    "nanometer": 1.0,
    "nanometre": 1.0,
    "nm": 1.0,
    "micrometer": 1e3,
    "micrometre": 1e3,
    "micron": 1e3,
    "um": 1e3,
    "µm": 1e3,  # micro sign
    "μm": 1e3,  # Greek mu
    "millimeter": 1e6,
    "millimetre": 1e6,
    "mm": 1e6,
    "centimeter": 1e7,
    "centimetre": 1e7,
    "cm": 1e7,
    "decimeter": 1e8,
    "decimetre": 1e8,
    "dm": 1e8,
    "inch": 2.54e7,
    "inches": 2.54e7,
    "in": 2.54e7,
    "thou": 2.54e4,
    "li": 2.54e7 / 12,
    "pt": 2.54e7 / 72,
    "foot": 3.048e8,
    "ft": 3.048e8,
    "yard": 9.144e8,
    "mile": 1.609344e12,
    "meter": 1e9,
    "metre": 1e9,
    "m": 1e9,
    "hectometer": 1e11,
    "kilometer": 1e12,
    "kilometre": 1e12,
    "km": 1e12,
}


def unit_nm(unit: object) -> float | None:
    """Nanometres per unit of length; None for "pixel" and other words that are no length."""
    word = str(unit or "").replace("\\u00B5", "µ").replace("\\u00b5", "µ").strip().lower()
    return NM_PER_UNIT.get(word) or NM_PER_UNIT.get(word.removesuffix("s") if len(word) > 4 else word)


@dataclass(frozen=True)
class Request:
    """What the caller of `open_volume` asked for."""

    path: str
    array: str | None = None
    voxel_nm: FVec3 | None = None
    channel: ChannelChoice = None
    time: int | None = None
    missing: str = "fill"
    axes: str | None = None
    """Names of the stored axes where the caller gave them; see `axis_names.axes_of`."""
    origin_nm: FVec3 | None = None

    @property
    def name(self) -> str:
        """Short name of the volume."""
        last = (self.array or self.path).rstrip("/").replace("\\", "/").split("/")[-1]
        return last.split(".")[0] or last


@dataclass(frozen=True)
class Stored:
    """One stored resolution: its source and, along the *stored* axes, what is stated of its geometry.

    ``scale`` is the voxel size and ``corner`` the world position of the corner of voxel 0, both in ``unit_nm``.
    """

    source: Source
    scale: Sequence[float]
    corner: Sequence[float] | None = None


@dataclass(frozen=True)
class Description:
    """All that a format knows of an image.

    Parameters
    ----------
    axes
        Name of each stored axis, of "t", "c", "z", "y", "x".
    unit_nm
        Nanometres per unit of each stored axis; None where no length is stated.
    revision
        Text that changes when the source does.
    """

    levels: Sequence[Stored]
    axes: Sequence[str]
    unit_nm: Sequence[float | None]
    revision: str
    kind: Kind = "image"
    name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    flat_nm: tuple[float, float] | None = None
    """Thickness and lower face of an image without a z axis, where they are stated."""


def volume_of(request: Request, found: Description) -> Volume:
    """The volume that was asked for.

    A 2-D image that states no thickness gets the z size of its own y, the same on every level. Where a spatial axis
    states no length the volume is not calibrated; its sizes are what is stated without a unit, 1 where nothing is or
    where other axes state lengths, for the two have no ratio.
    """
    if request.axes is not None:
        axes = axes_of(request.axes, None, found.levels[0].source.shape, f"'{request.path}'")
        found = replace(found, axes=axes)
    where = {name: i for i, name in enumerate(found.axes)}
    calibrated = all(found.unit_nm[where[a]] is not None for a in "zyx" if a in where)
    if not calibrated and any(found.unit_nm[where[a]] is not None for a in "zyx" if a in where):
        found = replace(found, levels=[_in_voxels(stored, found.levels[0].scale) for stored in found.levels])
    levels = [_level(request, found, stored, calibrated) for stored in found.levels]
    levels.sort(key=lambda level: math.prod(level.voxel_nm))
    if request.voxel_nm is not None:
        levels = _with_voxel_size(levels, request.voxel_nm)
    identity = json.dumps([found.revision, request.array, request.channel, request.time, *filter(None, [request.axes])])
    volume = Volume(
        tuple(levels),
        name=found.name or request.name,
        kind=found.kind,
        calibrated=calibrated or request.voxel_nm is not None,
        source=request.path,
        metadata={**found.metadata, "revision": hashlib.sha256(identity.encode()).hexdigest()[:16]},
    )
    return volume if request.origin_nm is None else volume.placed_at(request.origin_nm)


def _in_voxels(stored: Stored, unit: Sequence[float]) -> Stored:
    """Scale and corner in voxels of the finest level."""
    scale = [a / b for a, b in zip(stored.scale, unit, strict=True)]
    corner = None if stored.corner is None else [a / b for a, b in zip(stored.corner, unit, strict=True)]
    return replace(stored, scale=scale, corner=corner)


def _level(request: Request, found: Description, stored: Stored, calibrated: bool) -> Level:
    where = {name: i for i, name in enumerate(found.axes)}

    def spatial(values: Sequence[float], absent: float) -> FVec3:
        z, y, x = (
            float(values[where[a]]) * ((found.unit_nm[where[a]] or 1.0) if calibrated else 1.0)
            if a in where
            else absent
            for a in "zyx"
        )
        return (z, y, x)

    array = view(stored.source, found.axes, request.channel, request.time)
    thickness, below = found.flat_nm if found.flat_nm and calibrated else (spatial(found.levels[0].scale, 0.0)[1], 0.0)
    corner = (below, 0.0, 0.0) if stored.corner is None else spatial(stored.corner, below)
    return Level(array, spatial(stored.scale, thickness), corner)


def _with_voxel_size(levels: Sequence[Level], voxel_nm: FVec3) -> list[Level]:
    """Level 0 gets this size, the others in proportion."""

    def times(values: FVec3) -> FVec3:
        z, y, x = (v * new / old for v, new, old in zip(values, voxel_nm, levels[0].voxel_nm, strict=True))
        return (z, y, x)

    return [Level(level.array, times(level.voxel_nm), times(level.origin_nm)) for level in levels]


def check_voxel_size(values: Sequence[float] | None) -> FVec3 | None:
    """Three positive numbers (z, y, x); two (y, x) are those of a 2-D image.

    Raises
    ------
    VoxelSizeError
        If they are not.
    """
    if values is None:
        return None
    numbers = _numbers(values)
    if len(numbers) == 2:
        numbers.insert(0, numbers[0])
    if len(numbers) != 3 or not all(math.isfinite(v) and v > 0 for v in numbers):
        raise VoxelSizeError(f"got voxel_nm={values!r}; give three positive numbers in nm (z, y, x)")
    return (numbers[0], numbers[1], numbers[2])


def check_origin(values: Sequence[float] | None) -> FVec3 | None:
    """Three numbers (z, y, x).

    Raises
    ------
    InputError
        If they are not.
    """
    if values is None:
        return None
    numbers = _numbers(values)
    if len(numbers) != 3 or not all(abs(v) <= FARTHEST_NM for v in numbers):
        raise InputError(f"got origin_nm={values!r}; give three numbers in nm (z, y, x)")
    return (numbers[0], numbers[1], numbers[2])


def _numbers(values: Sequence[float]) -> list[float]:
    """As floats; none where one of them is no number."""
    try:
        return [float(v) for v in values]
    except (TypeError, ValueError):
        return []


def ratio_scales(shapes: Sequence[Sequence[int]]) -> list[list[float]]:
    """Voxel sizes of levels that state none, from their shapes: whole factors wherever rounding explains the shape."""

    def factor(full: int, part: int) -> float:
        whole = max(1, round(full / part))
        return float(whole) if part in (full // whole, -(-full // whole), round(full / whole)) else full / part

    for shape in shapes:
        if 0 in shape:
            raise InputError(f"got an empty array of shape {tuple(shape)}; every axis needs at least one voxel")
    return [[factor(full, part) for full, part in zip(shapes[0], shape, strict=True)] for shape in shapes]

"""Voxel sizes stated by a TIFF, per axis, in the conventions of the program that wrote it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import tifffile

from napari_connecto.io.volumes.levels import unit_nm
from napari_connecto.io.volumes.tiff.ome import OmeImage

Size = dict[str, tuple[float, float | None]]
"""Voxel size by axis, with nm per unit; None where the unit is no length."""

_OWN_UNITS = {4: 1e6, 5: 1e3}
"""Nm per ResolutionUnit that no printer uses: millimetre, micrometre."""


@dataclass(frozen=True)
class TiffSize:
    """Voxel size by axis, and where voxel 0's corner is, in the same units."""

    size: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    corner: Mapping[str, float] = field(default_factory=dict)

    def along(self, axes: Sequence[str]) -> tuple[list[float], list[float | None], list[float]]:
        """Size, nm per unit and corner of each axis."""
        found = [self.size.get(a, (1.0, None)) for a in axes]
        return [size for size, _ in found], [nm for _, nm in found], [self.corner.get(a, 0.0) for a in axes]


def stated_size(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, image: OmeImage | None) -> TiffSize:
    """From OME-XML, ImageJ, Zeiss LSM, Aperio or tifffile's own description of this series.

    Resolution tags count where one of these gives them a unit, or where their own is a micrometre or millimetre: in
    inches and centimetres they are the size of a print more often than not.
    """
    if image is not None:
        return TiffSize(image.size)
    page = series.keyframe
    if series.kind == "imagej" and file.imagej_metadata:
        return _imagej(page, file.imagej_metadata)
    if series.kind == "lsm" and file.lsm_metadata:
        stated = {a: _number(file.lsm_metadata.get(f"VoxelSize{a.upper()}")) for a in "zyx"}
        return TiffSize(_sound({a: (v, 1e9) for a, v in stated.items()}))
    if series.kind == "svs":
        microns = re.search(r"\bMPP\s*=\s*([\d.]+)", page.description)
        return TiffSize(_sound({a: (_number(microns[1] if microns else 0), 1e3) for a in "yx"}))
    return _shaped(page)


def _imagej(page: tifffile.TiffPage, stated: Mapping[str, Any]) -> TiffSize:
    """Pixels per ``unit`` from the resolution tags, ``spacing`` in ``zunit``, and the origin in pixels."""
    units = {a: str(stated.get(f"{a}unit") or stated.get("unit") or "") for a in "zyx"}
    sizes = {**_tags(page), "z": abs(_number(stated.get("spacing")))}
    size = _sound({a: (v, unit_nm(units[a])) for a, v in sizes.items()})
    origin = {a: _number(stated.get(f"{a}origin")) for a in "zyx"}
    return TiffSize(size, {a: 0.0 - origin[a] * size[a][0] for a in size if math.isfinite(origin[a])})


def _shaped(page: tifffile.TiffPage) -> TiffSize:
    """The words of OME or ImageJ that a program passed to tifffile as ``metadata``."""
    try:
        stated = json.loads(page.shaped_description or "")
    except ValueError:
        stated = {}
    if not isinstance(stated, dict):
        stated = {}
    names = {a: f"PhysicalSize{a.upper()}" for a in "zyx"}
    size = _sound({a: (_number(stated.get(n)), unit_nm(stated.get(f"{n}Unit", "µm"))) for a, n in names.items()})
    if size:
        return TiffSize(size)
    unit = int(page.tags.valueof("ResolutionUnit", 1))
    nm = _OWN_UNITS.get(unit, unit_nm(stated.get("unit")) if unit == 1 else None)
    sizes = {a: (v, nm) for a, v in _tags(page).items() if unit == 1 or nm}
    return TiffSize(_sound({**sizes, "z": (_number(stated.get("spacing")), unit_nm(stated.get("unit")))}))


def _tags(page: tifffile.TiffPage) -> dict[str, float]:
    """Size of a pixel in the unit of the resolution tags, whichever that is."""
    found = {}
    for a in "yx":
        tag = page.tags.get(f"{a.upper()}Resolution")
        numerator, denominator = tag.value if tag is not None else (0, 0)
        if numerator and denominator:
            found[a] = denominator / numerator
    return found


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return 0.0


def _sound(size: Size) -> Size:
    """Without what is no size: 0, negative, infinite or NaN."""
    return {a: (v, nm) for a, (v, nm) in size.items() if math.isfinite(v) and v > 0}

"""Attribute names by which plain zarr or HDF5 arrays state axes, voxel sizes, positions and units."""

from __future__ import annotations

AXES = ("_ARRAY_DIMENSIONS", "dimension_names", "axis_names", "axes", "axis_labels", "dims")
SIZES = {  # nm where no unit is stated, None where that is not known
    "resolution": 1.0,
    "voxel_size": 1.0,
    "voxelSize": 1.0,
    "voxel_size_nm": 1.0,
    "resolution_nm": 1.0,
    "voxel_nm": 1.0,
    "element_size_um": 1e3,
    "voxel_size_um": 1e3,
    "spacing": None,
    "pixel_size": None,
    "pixelSize": None,
    "scale": None,
}
CORNERS = ("offset", "offset_nm", "voxel_offset_nm")
CENTRES = ("origin", "translation", "translate")
UNITS = ("units", "unit", "spatial_unit", "spatial_units", "resolution_unit", "voxel_size_unit", "voxel_size_units")


def size_unit(name: str, sizes: list[float]) -> float | None:
    """Nm per unit of a size that states no unit; None where it is not known.

    Below 1 nm a size is more likely in micrometres, unless its name says nm.
    """
    nm = SIZES[name]
    return None if nm == 1.0 and not name.endswith("_nm") and min(sizes, default=1.0) < 1 else nm


def own_unit(name: str) -> float | None:
    """Nm per unit that a name itself states, as "voxel_size_um" does, whatever unit is stated beside it; else None."""
    return {"_nm": 1.0, "_um": 1e3}.get(name[-3:])

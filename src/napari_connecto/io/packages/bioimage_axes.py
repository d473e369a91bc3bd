"""Axes of bioimage.io tensors (format 0.5): order, extents, and the position of the output on the image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any

from napari_connecto.core.errors import ModelError

UNITS_NM = {"nanometer": 1.0, "angstrom": 0.1, "picometer": 1e-3, "micrometer": 1e3, "millimeter": 1e6}
LARGEST = 2**14
"""Voxels along an axis that a network may ask for at least."""
LETTERS = {"batch": "b", "channel": "c"}


@dataclass(frozen=True)
class PackageAxis:
    """One axis of the image that goes in, and what becomes of it.

    Parameters
    ----------
    least, step
        Allowed extents are ``least + k * step`` voxels; step 0 is one extent.
    nm
        Voxel size in nm, None where not stated.
    stride, trimmed, halo
        Of the answer: input voxels per output voxel, input voxels the network takes off each side by itself, and input
        voxels to take off each side besides.
    """

    least: int
    step: int
    nm: float | None = None
    stride: int = 1
    trimmed: int = 0
    halo: int = 0


def letters_of(axes: Any) -> str:
    """Axes by letters, of b c z y x; raises `ModelError` for others."""
    letters = "".join(LETTERS.get(str(axis.id), str(axis.id)) for axis in axes)
    odd = [str(axis.id) for axis in axes if axis.type not in ("batch", "channel", "space")]
    if odd or set(letters) - set("bczyx") or len(letters) != len(axes) or not {"y", "x"} <= set(letters):
        raise ModelError(
            f"got axes {[str(a.id) for a in axes]}; supported are batch, channel, z, y, x; y and x must be there"
        )
    return letters


def channel_count(axes: Any, letters: str) -> int:
    """Channels of the axes; 1 where there is no axis of them."""
    return len(axes[letters.index("c")].channel_names) if "c" in letters else 1


def output_names(given: Any) -> tuple[str, ...]:
    """A name per channel of the output, fit for file names."""
    channels = [axis for axis in given.axes if axis.type == "channel"]
    names = [str(name) for name in channels[0].channel_names] if channels else [str(given.id)]
    names = [str(given.id)] if names == ["channel0"] else names  # 0.4 names no channels
    safe = ["".join(c if c.isalnum() or c in "_-" else "_" for c in name)[:60] for name in names]
    return tuple(safe) if len(set(safe)) == len(safe) else tuple(f"channel{i}" for i in range(len(safe)))


def space_of(taken: Any, given: Any) -> dict[str, PackageAxis]:
    """The axes z, y, x, as far as there are, of an input and what becomes of them in the output.

    Raises
    ------
    ModelError
        If the output's extent does not follow from the input's by whole numbers, or is beyond reason.
    """
    by_id = {str(axis.id): axis for axis in taken.axes}
    found = {}
    for axis in given.axes:
        if axis.type == "space":
            least, step = _extent(by_id[str(axis.id)], by_id)
            found[str(axis.id)] = _answered(axis, by_id[str(axis.id)], least, step)
    return found


def _extent(axis: Any, by_id: Mapping[str, Any]) -> tuple[int, int]:
    size = axis.size
    if isinstance(size, int):
        return size, 0
    if hasattr(size, "step"):
        return int(size.min), int(size.step)
    other = by_id.get(str(size.axis_id))
    plain = other is not None and not hasattr(other.size, "axis_id") and other.scale == axis.scale and not size.offset
    if not plain or {str(axis.id), str(size.axis_id)} != {"y", "x"}:
        raise ModelError(f"the extent along {axis.id} hangs on '{size.axis_id}'; supported are y and x of equal extent")
    return _extent(other, by_id)


def _answered(axis: Any, source: Any, least: int, step: int) -> PackageAxis:
    nm = UNITS_NM[str(source.unit)] * float(source.scale) if str(source.unit) in UNITS_NM else None
    halo = int(getattr(axis, "halo", 0))
    if isinstance(axis.size, int):
        if step or least % axis.size:
            raise ModelError(f"an output of {axis.size} voxels along {axis.id} for {least} in; give the relation")
        return PackageAxis(least, step, nm, least // axis.size)
    origin = {str(source.id), str(getattr(source.size, "axis_id", source.id))}
    if str(getattr(axis.size, "axis_id", "")) not in origin:
        raise ModelError(f"the output's extent along {axis.id} does not follow from the input's; this is not supported")
    stride, offset = axis.scale / source.scale, int(axis.size.offset)
    whole = round(stride) if isfinite(stride) else 0
    if max(least, step, whole, -offset, halo) > LARGEST:
        raise ModelError(f"got extents, scales or halos along {axis.id} beyond {LARGEST} voxels; allowed are fewer")
    if abs(stride - whole) > 1e-6 or whole < 1 or offset > 0 or (offset * whole) % 2:
        raise ModelError(
            f"output voxels along {axis.id} are {stride:g} of the input's, {offset} are added; supported are whole "
            "numbers, and an even one taken off"
        )
    return PackageAxis(least, step, nm, whole, -offset * whole // 2, halo * whole)

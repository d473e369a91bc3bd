"""A volume: one image at several resolutions, in nanometres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.content import content_digest
from napari_connecto.core.errors import ConnectoError, InputError, VoxelSizeError
from napari_connecto.core.geometry import LARGEST_NM, SMALLEST_NM, Box, FVec3, Vec3, fvec3, sound_size, vec3
from napari_connecto.core.shown import brief, shown

FARTHEST_NM = 1e18
THUMBNAIL_BYTES = 10**6
Kind = Literal["image", "labels"]
UNIT, PIXEL = "unit", "pixel"
"""Key of ``Volume.metadata`` and of a cascade's, and its value where "nm" are the pixels of an unknown size."""
PLACED = "placed"
"""Key of ``Volume.metadata``: the origin was given by the caller, not by the source."""


def voxel_type(dtype: Any) -> np.dtype:
    """The type that voxels stored as ``dtype`` are read as: bool as uint8 (0 and 1), others as they are.

    C has two names for a 64-bit integer, and numpy a type for each; here they are one.
    """
    found = np.dtype(dtype)
    return np.dtype(np.uint8) if found.kind == "b" else np.dtype(found.str)


@shown
@dataclass(frozen=True)
class Level:
    """One resolution of a volume.

    Parameters
    ----------
    array
        Lazy or in-memory array, (z, y, x) or, with channels, (c, z, y, x). Only sliced with step 1.
    voxel_nm
        Voxel size in nm, (z, y, x).
    origin_nm
        World position of the *corner* of voxel (0, 0, 0): voxel i spans ``origin + [i, i + 1) * voxel_nm``.
    """

    array: Any
    voxel_nm: FVec3
    origin_nm: FVec3 = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        if len(self.array.shape) not in (3, 4):
            raise InputError(f"got an array of shape {self.array.shape}; a level is (z, y, x) or (c, z, y, x)")
        if 0 in self.array.shape:
            raise InputError(f"got an empty array of shape {self.array.shape}; every axis needs at least one voxel")
        if not sound_size(self.voxel_nm):
            raise VoxelSizeError(
                f"got voxel size {self.voxel_nm} nm; all three (z, y, x) must be positive numbers, "
                f"{SMALLEST_NM:g} to {LARGEST_NM:g}"
            )
        if not all(abs(v) <= FARTHEST_NM for v in self.origin_nm):
            raise InputError(f"got an origin at {self.origin_nm} nm; allowed are positions within {FARTHEST_NM:g} nm")

    @property
    def shape(self) -> Vec3:
        """Extent in voxels, (z, y, x)."""
        return vec3(self.array.shape[-3:])

    @property
    def channels(self) -> int | None:
        """Number of channels, or None where the array has no channel axis."""
        return int(self.array.shape[0]) if len(self.array.shape) == 4 else None

    @property
    def dtype(self) -> np.dtype:
        """Type of one voxel as it is read; that of a mask of bool is uint8."""
        return voxel_type(self.array.dtype)

    @property
    def nbytes(self) -> int:
        """Uncompressed size in bytes."""
        return int(np.prod([int(n) for n in self.array.shape], dtype=object)) * self.dtype.itemsize

    @property
    def box(self) -> Box:
        """All of it."""
        return Box.of(self.shape)

    def read(self, box: Box) -> np.ndarray:
        """Voxels of ``box``, which must lie inside: (z, y, x), or (c, z, y, x) with channels."""
        if not self.box.contains(box):
            raise InputError(f"got {box}, outside a level of shape {self.shape}; clip it first")
        return np.asarray(self.array[(..., *box.slices)], self.dtype)

    def read_padded(self, box: Box) -> np.ndarray:
        """Voxels of ``box``, which may stick out; outside repeats the nearest edge voxel."""
        inside = box.clip(self.shape)
        if inside.size == 0:
            raise InputError(f"got {box}, which does not touch a level of shape {self.shape}")
        block = self.read(inside)
        if inside == box:
            return block
        width = [(a - b, d - c) for a, b, c, d in zip(inside.start, box.start, inside.stop, box.stop, strict=True)]
        return np.pad(block, [(0, 0)] * (block.ndim - 3) + width, mode="edge")

    def to_nm(self, voxels: Any) -> np.ndarray:
        """World position in nm of continuous voxel coordinates (n, 3); a voxel's centre is index + 0.5."""
        return np.asarray(voxels, float) * self.voxel_nm + self.origin_nm

    def to_voxels(self, nm: Any) -> np.ndarray:
        """Continuous voxel coordinates (n, 3) of world positions in nm; inverse of `to_nm`."""
        return (np.asarray(nm, float) - self.origin_nm) / self.voxel_nm

    def factor_to(self, other: Level) -> FVec3:
        """Voxels of ``other`` per voxel of this one, per axis; above 1 where ``other`` is finer."""
        z, y, x = (a / b for a, b in zip(self.voxel_nm, other.voxel_nm, strict=True))
        return (z, y, x)

    def box_in(self, box: Box, other: Level) -> Box:
        """The smallest box of ``other``'s voxels that covers ``box`` of this level; not clipped."""
        start = other.to_voxels(self.to_nm(box.start))
        stop = other.to_voxels(self.to_nm(box.stop))
        return Box(vec3(np.floor(start + 1e-6).tolist()), vec3(np.ceil(stop - 1e-6).tolist()))


@shown
@dataclass(frozen=True)
class Volume:
    """One image at several resolutions, finest first.

    Parameters
    ----------
    levels
        At least one; all of one dtype and channel count.
    calibrated
        False if the source states no voxel size; then ``voxel_nm`` holds mere ratios and `level_at` refuses to match a
        model.
    source
        Where it came from (path or URL), "" for memory. Together with `fingerprint` it identifies the input of a job.
    metadata
        Further information: channel names, "simulated", the revision of the source.
    """

    levels: tuple[Level, ...]
    name: str = "volume"
    kind: Kind = "image"
    calibrated: bool = True
    source: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.levels:
            raise InputError("got a volume without levels; at least one is needed")
        kinds = [(str(level.dtype.newbyteorder("=")), level.channels) for level in self.levels]
        if len(set(kinds)) > 1:
            told = ", ".join(f"{dtype}" + ("" if n is None else f" with {n} channels") for dtype, n in kinds)
            raise InputError(
                f"got levels of {told} in '{self.name}'; all levels must have one type: open level 0 alone "
                "(--array NAME), or save the pyramid again"
            )
        sizes = [float(np.prod(level.voxel_nm)) for level in self.levels]
        if sizes != sorted(sizes):
            raise InputError(f"got levels with voxel volumes {sizes} nm^3; they must go from finest to coarsest")

    def _rows(self) -> list[tuple[str, str]]:
        unit = "nm" if self.calibrated else "(relative)"
        kind = f"{self.kind}, {self.levels[0].dtype}"
        kind += "" if self.levels[0].channels is None else f", {self.levels[0].channels} channels"
        rows = [("name", brief(self.name)), ("kind", kind)]
        for k, level in enumerate(self.levels):
            shape, voxel = " x ".join(map(str, level.shape)), " x ".join(f"{v:.4g}" for v in level.voxel_nm)
            rows.append((f"level {k}", f"{shape} voxels of {voxel} {unit}"))
        return rows + ([("source", brief(self.source))] if self.source else [])

    def _picture(self) -> np.ndarray | None:
        """The middle section of the coarsest level, as 0..255; None if it is large or damaged."""
        coarsest = self.levels[-1]
        if coarsest.nbytes > THUMBNAIL_BYTES:
            return None
        z = coarsest.shape[0] // 2
        try:
            section = coarsest.read(Box((z, 0, 0), (z + 1, *coarsest.shape[1:])))
        except ConnectoError:
            return None
        grey = np.nan_to_num(np.asarray(section, np.float64).reshape(-1, *section.shape[-2:])[0])
        low, high = float(grey.min()), float(grey.max())
        return np.rint((grey - low) / max(high - low, 1e-12) * 255).astype(np.uint8)

    @classmethod
    def from_array(cls, array: Any, voxel_nm: Sequence[float], *, name: str = "volume", kind: Kind = "image") -> Volume:
        """A volume of one level from a (y, x), (z, y, x) or (c, z, y, x) array."""
        array = array[None] if len(array.shape) == 2 else array
        z, y, x = voxel_nm
        return cls((Level(array, (float(z), float(y), float(x))),), name=name, kind=kind)

    def level_at(self, voxel_nm: Sequence[float], *, tolerance: float = 0.25) -> Level:
        """The level whose voxels are nearest in size to ``voxel_nm`` (z, y, x), in the log of the ratio.

        Raises
        ------
        VoxelSizeError
            If the volume states no voxel size, or the nearest level is off by more than ``tolerance`` on an axis.
        """
        if not self.calibrated:
            raise VoxelSizeError(f"'{self.name}' states no voxel size; give it in nm (voxel_nm=, --voxel-nm Z Y X)")
        ratios = [np.array(level.voxel_nm) / np.array(voxel_nm, float) for level in self.levels]
        distance = [float(np.abs(np.log(r)).max()) for r in ratios]
        best = int(np.argmin(distance))
        worst = np.maximum(ratios[best], 1 / ratios[best]).max()
        if worst > 1 + tolerance + 1e-9:
            have = ", ".join(_by(level.voxel_nm) for level in self.levels)
            least, most = (_by(np.array(voxel_nm) * f) for f in (1 / (1 + tolerance), 1 + tolerance))
            raise VoxelSizeError(
                f"'{self.name}' has voxels of {have} nm, the model needs {_by(voxel_nm)} nm "
                f"within {percent(tolerance)} ({least} to {most}); correct the voxel size, or choose another model"
            )
        return self.levels[best]

    def in_pixels(self) -> Volume:
        """A volume without a voxel size in its own unit: code that only compares sizes takes its ratios as nm."""
        return self if self.calibrated else replace(self, calibrated=True, metadata={**self.metadata, UNIT: PIXEL})

    def placed_at(self, origin_nm: Sequence[float]) -> Volume:
        """The volume with the corner of its finest level's voxel 0 at ``origin_nm`` (z, y, x).

        The coarser levels keep their offset from it. The volume itself where it is there already.
        """
        shift = np.asarray(origin_nm, float) - self.levels[0].origin_nm
        if (np.abs(shift) <= 1e-6 * np.asarray(self.levels[0].voxel_nm)).all():
            return self
        moved = [replace(lv, origin_nm=fvec3((np.asarray(lv.origin_nm) + shift).tolist())) for lv in self.levels]
        return replace(self, levels=tuple(moved), metadata={**self.metadata, PLACED: True})

    @cached_property
    def content(self) -> str:
        """Digest of the voxels, see `content_digest`; computed once, so arrays must not change in place afterwards."""
        return content_digest(self.levels)

    def fingerprint(self) -> dict[str, Any]:
        """What must not change between a run and its resumption; JSON.

        A volume in memory is identified by its voxels, which are read once for that.
        """
        return self.outline() | ({} if self.source else {"content": self.content})

    def outline(self) -> dict[str, Any]:
        """What is known without reading a voxel; JSON. A source knows its own origin."""
        origin = self.levels[0].origin_nm
        own = not self.metadata.get(PLACED) and (bool(self.source) or not any(origin))
        return ({} if own else {"origin_nm": list(origin)}) | {
            "source": self.source,
            "revision": str(self.metadata.get("revision", "")),
            "shapes": [list(level.shape) for level in self.levels],
            "voxel_nm": [list(level.voxel_nm) for level in self.levels],
            "dtype": str(self.levels[0].dtype),
        }


def _by(voxel_nm: Iterable[float]) -> str:
    return "x".join(f"{v:.4g}" for v in voxel_nm)

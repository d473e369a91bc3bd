"""Boxes of voxels: half-open, (z, y, x)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import TypeAlias

Vec3: TypeAlias = tuple[int, int, int]
FVec3: TypeAlias = tuple[float, float, float]


SMALLEST_NM, LARGEST_NM = 1e-6, 1e12
"""Range of plausible voxel sizes, nm; beyond it products and ratios of sizes overflow."""


def sound_size(voxel_nm: Sequence[float]) -> bool:
    """Whether these are plausible voxel sizes, nm."""
    return all(SMALLEST_NM <= v <= LARGEST_NM for v in voxel_nm)


def vec3(values: Sequence[float] | int) -> Vec3:
    """Three ints from one or three numbers, (z, y, x)."""
    if isinstance(values, int):
        return (values, values, values)
    z, y, x = (int(v) for v in values)
    return (z, y, x)


def fvec3(values: Sequence[float] | float) -> FVec3:
    """Three floats from one or three numbers, (z, y, x)."""
    if isinstance(values, int | float):
        return (float(values), float(values), float(values))
    z, y, x = (float(v) for v in values)
    return (z, y, x)


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box of voxels, ``start <= index < stop``, axes (z, y, x)."""

    start: Vec3
    stop: Vec3

    @classmethod
    def of(cls, shape: Sequence[int]) -> Box:
        """The box of a whole array of this (z, y, x) shape."""
        return cls((0, 0, 0), vec3(shape))

    @classmethod
    def from_row(cls, row: Sequence[int]) -> Box:
        """From six numbers: start (z, y, x), stop (z, y, x)."""
        numbers = [int(v) for v in row]
        return cls(vec3(numbers[:3]), vec3(numbers[3:]))

    @property
    def shape(self) -> Vec3:
        """Extent in voxels; never negative."""
        z, y, x = (max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def size(self) -> int:
        """Number of voxels."""
        z, y, x = self.shape
        return z * y * x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Index of this box in a (z, y, x) array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    @property
    def centre(self) -> FVec3:
        """Middle in continuous voxel coordinates (voxel i spans [i, i + 1))."""
        z, y, x = ((a + b) / 2 for a, b in zip(self.start, self.stop, strict=True))
        return (z, y, x)

    def grow(self, halo: Sequence[int]) -> Box:
        """Wider by ``halo`` voxels on each side; negative values shrink."""
        return Box(
            vec3([a - h for a, h in zip(self.start, halo, strict=True)]),
            vec3([b + h for b, h in zip(self.stop, halo, strict=True)]),
        )

    def shift(self, offset: Sequence[int]) -> Box:
        """Moved by ``offset`` voxels."""
        return Box(
            vec3([a + o for a, o in zip(self.start, offset, strict=True)]),
            vec3([b + o for b, o in zip(self.stop, offset, strict=True)]),
        )

    def clip(self, bounds: Box | Sequence[int]) -> Box:
        """The part inside ``bounds`` (a box, or the shape of an array); may be empty."""
        other = bounds if isinstance(bounds, Box) else Box.of(bounds)
        start = vec3([max(a, c) for a, c in zip(self.start, other.start, strict=True)])
        stop = vec3([min(b, d) for b, d in zip(self.stop, other.stop, strict=True)])
        return Box(start, vec3([max(a, b) for a, b in zip(start, stop, strict=True)]))

    def rescale(self, factor: Sequence[float]) -> Box:
        """The smallest box of a grid ``factor`` times as fine that covers this one.

        A ``factor`` of (1, 2, 2) goes from a coarse level to one with half its voxel size in y and x.
        Rounding errors below 1e-6 voxels do not widen the box.
        """
        return Box(
            vec3([floor(a * f + 1e-6) for a, f in zip(self.start, factor, strict=True)]),
            vec3([ceil(b * f - 1e-6) for b, f in zip(self.stop, factor, strict=True)]),
        )

    def contains(self, other: Box) -> bool:
        """Whether ``other`` lies inside."""
        return all(a <= c for a, c in zip(self.start, other.start, strict=True)) and all(
            d <= b for b, d in zip(self.stop, other.stop, strict=True)
        )

    def overlaps(self, other: Box) -> bool:
        """Whether the two share a voxel."""
        return self.clip(other).size > 0

"""One segment cut in two: which part of a box belongs to the new one."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import StoreError
from napari_connecto.core.geometry import Box, FVec3, vec3
from napari_connecto.workflows.segment.records import Record, write_arrays

ADVICE = "restore the folder's copy, or delete its folder 'proofread' to start over"


@dataclass(frozen=True)
class Cut:
    """Voxels of ``atom`` inside ``box`` where ``side`` is true belong to ``new``.

    Parameters
    ----------
    atom, new
        Numbers of segments.
    start
        Corner of the box, in cut voxels.
    factor
        Finest voxels per cut voxel, (z, y, x): 1 unless the segment is too large to be cut at the finest level.
    side
        Boolean (z, y, x); where there is none of the segment, that of its nearest voxel.
    """

    atom: int
    new: int
    start: tuple[int, int, int]
    factor: FVec3
    side: np.ndarray

    @property
    def box(self) -> Box:
        """Where it applies, in finest voxels."""
        inner = Box(self.start, vec3([a + n for a, n in zip(self.start, self.side.shape, strict=True)]))
        return inner.rescale(self.factor)

    def apply(self, block: np.ndarray, start: tuple[int, int, int], step: FVec3) -> None:
        """Renumber a block (z, y, x) in place, whose voxel 0 is number ``start`` of a level.

        ``step``: finest voxels per voxel of that level.
        """
        picked, at = [], []
        for axis, n in enumerate(block.shape):
            fine = (np.arange(start[axis], start[axis] + n) + 0.5) * step[axis]
            index = np.floor(fine / self.factor[axis] + 1e-6).astype(int) - self.start[axis]
            inside = np.flatnonzero((index >= 0) & (index < self.side.shape[axis]))
            if not len(inside):
                return
            picked.append(slice(int(inside[0]), int(inside[-1]) + 1))
            at.append(index[inside])
        part = block[tuple(picked)]
        part[self.side[np.ix_(*at)] & (part == self.atom)] = self.new

    def save(self, path: Path) -> None:
        """Write it; the file is whole or absent."""
        content: dict[str, np.ndarray] = {
            "numbers": np.array([self.atom, self.new, *self.start], np.int64),
            "factor": np.array(self.factor, np.float64),
            "shape": np.array(self.side.shape, np.int64),
            "side": np.packbits(self.side),
        }
        write_arrays(path, content)

    @classmethod
    def load(cls, path: Path) -> Cut:
        """Read it; `StoreError` if it is absent or damaged."""
        with Record(path) as record:
            numbers, factor = record["numbers"], record["factor"]
            shape, packed = record["shape"], record["side"]
        try:
            atom, new, *start = (int(v) for v in numbers)
            z, y, x = (float(v) for v in factor)
            size = vec3(shape.tolist())
            count = prod(size)
            if not (min(z, y, x) >= 1e-6 and min(size) >= 1) or packed.dtype != np.uint8:
                raise ValueError(f"factor {factor}, shape {shape}, {packed.dtype}")
            if packed.shape != (-(-count // 8),):  # numpy would fill what is missing with zeros, of any number
                raise ValueError(f"shape {shape} with {packed.size} bytes")
            side = np.unpackbits(packed, count=count).astype(bool).reshape(size)
            return cls(atom, new, vec3(start), (z, y, x), side)
        except (ValueError, TypeError, OverflowError) as error:
            raise StoreError(f"'{path}' is damaged ({error!r:.200}); {ADVICE}") from error

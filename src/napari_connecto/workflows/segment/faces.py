"""What blocks tell of themselves: their pieces, how these touch, and what they look like where a neighbour begins."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.workflows.segment.agglomerate import Graph, Touching, touching
from napari_connecto.workflows.segment.records import Record, write_arrays

EDGES, STEPS = "edges", "steps"


@dataclass(frozen=True)
class Blocks:
    """The blocks of a job and the folder of their records; picklable.

    Parameters
    ----------
    plan
        What each block owns, and its halo.
    folder
        Of the records.
    mode
        "2d", "2d-linked" or "3d", see `SegmentParams`.
    """

    plan: TilePlan
    folder: Path
    mode: str

    def read_box(self, tile: Tile) -> Box:
        """The box a block reads; its halo is clipped at the volume."""
        return tile.read.clip(self.plan.shape)

    def axes(self) -> tuple[int, ...]:
        """Axes along which contacts of pieces are counted."""
        return (1, 2) if self.mode == "2d" else (0, 1, 2)

    def overlap(self, axis: int) -> bool:
        """Whether blocks see each other's voxels along an axis."""
        return axis > 0 or self.mode == "3d"

    def save(self, tile: Tile, labels: np.ndarray, boundary: np.ndarray, threshold: float) -> tuple[np.ndarray, int]:
        """Write a block's record.

        Parameters
        ----------
        tile
            Of the plan.
        labels
            Pieces of `read_box`, (z, y, x), from 1 on; those of later sections have greater numbers in the 2-D modes.
        boundary
            Boundary probability there, float32.
        threshold
            Boundary probability above which a voxel is boundary.

        Returns
        -------
        own, count
            The block's own voxels, renumbered to those present, 1 to ``count``; uint32.
        """
        at = tile.write.shift([-s for s in self.read_box(tile).start])
        present = np.bincount(labels[at.slices].ravel(), minlength=int(labels.max()) + 1) > 0
        labels = np.where(present, np.cumsum(present), 0).astype(np.uint32)[labels]
        own, boundary = labels[at.slices], boundary[at.slices]
        graph = Graph.of(own, boundary, flat=self.mode != "3d")
        inside = np.bincount(own[boundary < threshold], minlength=len(graph.sizes))
        content = {"sizes": graph.sizes, "inside": inside, **_named(EDGES, (graph.edges, graph.heights, graph.areas))}
        if self.mode == "2d-linked":
            content |= _named(STEPS, touching(own[:-1], own[1:], boundary[:-1], boundary[1:]))
        for axis, upper in self._faces(tile):
            plane = -1 if upper else 0
            content[f"labels{axis}{upper:d}"] = own.take(plane, axis)
            content[f"boundary{axis}{upper:d}"] = boundary.take(plane, axis)
            if self.overlap(axis):
                beyond = at.stop[axis] if upper else at.start[axis] - 1
                first, second = (part for other, part in enumerate(at.slices) if other != axis)
                content[f"beyond{axis}{upper:d}"] = labels.take(beyond, axis)[first, second]
        write_arrays(self._path(tile.index), content)
        return own, len(graph.sizes) - 1

    def _faces(self, tile: Tile) -> Iterator[tuple[int, bool]]:
        """Axis and side of a block's faces to its neighbours."""
        for axis in self.axes():
            if tile.write.start[axis] > 0:
                yield axis, False
            if tile.write.stop[axis] < self.plan.shape[axis]:
                yield axis, True

    def record(self, index: int) -> Record:
        """Saved record of a block; `StoreError` if it is absent or damaged."""
        return Record(self._path(index))

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:09d}.npz"


def contacts(record: Record, name: str, offset: int) -> Touching:
    """Saved contacts within a block, its pieces numbered from ``offset`` + 1 on."""
    return record[name] + offset, record[f"{name}_heights"], record[f"{name}_areas"]


def across(before: Record, after: Record, axis: int, offsets: tuple[int, int]) -> Touching:
    """Contacts between two neighbouring blocks, ``after`` on the far side along ``axis``."""
    labels = (before[f"labels{axis}1"].astype(np.int64), after[f"labels{axis}0"].astype(np.int64))
    here, there = (own + offset for own, offset in zip(labels, offsets, strict=True))
    return touching(here, there, before[f"boundary{axis}1"], after[f"boundary{axis}0"])


def matches(before: Record, after: Record, axis: int, offsets: tuple[int, int]) -> np.ndarray:
    """Pairs of pieces (n, 2) of two neighbouring blocks that both blocks see as one, on most of the face of each.

    Both see a place on the face as one if each finds both of its sides in a single piece.
    """
    a, b = before[f"labels{axis}1"], after[f"labels{axis}0"]
    one = (a == before[f"beyond{axis}1"]) & (b == after[f"beyond{axis}0"])
    pairs, common = np.unique(np.stack([a[one], b[one]], axis=1).astype(np.int64), axis=0, return_counts=True)
    faces = np.maximum(np.bincount(a.ravel())[pairs[:, 0]], np.bincount(b.ravel())[pairs[:, 1]])
    return pairs[2 * common > faces] + np.array(offsets)


def _named(name: str, found: Touching) -> dict[str, np.ndarray]:
    edges, heights, areas = found
    return {name: edges, f"{name}_heights": heights, f"{name}_areas": areas}

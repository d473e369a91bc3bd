"""Instance segmentation of one block, and the block as a unit of work for any worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.model import ModelCard, Output, Scaling
from napari_connecto.core.predict import Blocks as Predicted
from napari_connecto.core.tiles import Tile
from napari_connecto.core.volume import Level
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.segment.agglomerate import Graph, absorb, merge_tree
from napari_connecto.workflows.segment.faces import Blocks, link_sections
from napari_connecto.workflows.segment.mode import resolved
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments

BOUNDARY, LABELS = "boundary", "labels"


def segment_array(boundary: np.ndarray, params: SegmentParams, voxel: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Instances in a boundary probability that fits in memory.

    Parameters
    ----------
    boundary
        Float in 0..1 or uint8 in 0..255, (z, y, x).
    params
        See `SegmentParams`; blocks and halo do not matter here.
    voxel
        Size of a voxel, (z, y, x); only ratios matter.

    Returns
    -------
    numpy.ndarray
        uint32 (z, y, x), 1 to n, every voxel labelled.
    """
    params = resolved(params, boundary.shape, voxel)
    labels = partition(as_probability(boundary), params, voxel)
    return link_sections(labels, params.link) if params.mode == "2d-linked" else labels


def partition(
    boundary: np.ndarray,
    params: SegmentParams,
    voxel: Sequence[float] = (1.0, 1.0, 1.0),
    open_sides: Sequence[tuple[bool, bool]] = ((False, False),) * 3,
) -> np.ndarray:
    """Segments of a block, not linked across sections.

    Parameters
    ----------
    boundary
        Float32 in 0..1, (z, y, x).
    params, voxel
        As for `segment_array`; the mode is not "auto".
    open_sides
        Per axis, whether the volume continues before and behind the block; segments at such a side are never too small.

    Returns
    -------
    numpy.ndarray
        uint32 (z, y, x), 1 to n.
    """
    labels = fragments(boundary, params, voxel)
    graph = Graph.of(labels, boundary, flat=params.mode != "3d")
    group = merge_tree(graph, params.merge_threshold).cut(params.merge_threshold)
    if params.min_size > 1:
        group = absorb(graph, group, params.min_size, np.unique(group[_at(labels, open_sides)]))
    return group[labels].astype(np.uint32)


def _at(labels: np.ndarray, sides: Sequence[tuple[bool, bool]]) -> np.ndarray:
    """Fragments at the open sides."""
    planes = [
        np.unique(labels.take(index, axis))
        for axis, both in enumerate(sides)
        for index, goes_on in zip((0, -1), both, strict=True)
        if goes_on
    ]
    return np.concatenate(planes) if planes else np.empty(0, np.int64)


def as_probability(boundary: np.ndarray) -> np.ndarray:
    """Float32 in 0..1, from float or uint8.

    Raises
    ------
    InputError
        If it is another type, or holds values outside 0..1.
    """
    values = scaling_of(boundary.dtype)(boundary)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-3 and high <= 1 + 1e-3):
        raise InputError(
            f"got boundary values from {low:g} to {high:g}; a boundary map is a probability, 0..1 (uint8: 0..255): "
            "apply the sigmoid first, or give the model"
        )
    return np.clip(values, 0.0, 1.0)


def scaling_of(dtype: np.dtype) -> Scaling:
    """Scaling that makes a boundary map of this type a probability; `InputError` for unsupported types."""
    if dtype == np.uint8:
        return Scaling(0.0, 255.0)
    if dtype.kind not in "fb":
        raise InputError(f"got a boundary map of {dtype}; allowed: float in 0..1 or uint8 in 0..255; convert it first")
    return Scaling()


@dataclass(frozen=True)
class Passing:
    """A predictor that returns its input, to pass a boundary map through the machinery that runs models."""

    card: ModelCard

    @classmethod
    def over(cls, level: Level, tile: Vec3) -> Passing:
        """For blocks of shape ``tile``, halo included."""
        return cls(ModelCard("boundary map", "boundary", level.voxel_nm, tile, (0, 0, 0), (Output(BOUNDARY),)))

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        return {BOUNDARY: batch[:, 0]}


@dataclass(frozen=True)
class SegmentBlock:
    """Sink: segment a block on the worker that read it, keep its own voxels and its record, return its count.

    Parameters
    ----------
    params
        See `SegmentParams`.
    voxel
        Size of a voxel, (z, y, x).
    blocks
        Folder of the records.
    store
        Store of the labels, numbered separately in each block.
    """

    params: SegmentParams
    voxel: FVec3
    blocks: Blocks
    store: TileStore

    def __call__(self, tile: Tile, predicted: Predicted) -> int:
        tile = self.blocks.plan[tile.index]
        seen, shape = self.blocks.read_box(tile), self.blocks.plan.shape
        sides = [(a > 0, b < n) for a, b, n in zip(seen.start, seen.stop, shape, strict=True)]
        if self.blocks.plan.halo[0] == 0:
            sides[0] = (False, False)
        boundary = as_probability(predicted[BOUNDARY])
        labels = partition(boundary, self.params, self.voxel, sides)
        own, count = self.blocks.save(tile, labels, boundary < self.params.boundary_threshold)
        self.store.write_blocks(tile, {LABELS: own})
        return count

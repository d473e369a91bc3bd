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
from napari_connecto.workflows.segment.agglomerate import Graph, caution_of, merge_tree, settled
from napari_connecto.workflows.segment.faces import Blocks
from napari_connecto.workflows.segment.link import link_sections
from napari_connecto.workflows.segment.mode import resolved
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.watershed import fragments

BOUNDARY, LABELS = "boundary", "labels"
EARLY = 0.8
"""Share of the merge threshold up to which a block merges by itself: the mean boundary between two pieces changes where
they continue in other blocks."""


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
    boundary = as_probability(boundary)
    labels = fragments(boundary, params, voxel)
    graph = Graph.of(labels, boundary, flat=params.mode != "3d")
    labels = settled(graph, params)[labels].astype(np.uint32)
    return link_sections(labels, boundary, params) if params.mode == "2d-linked" else labels


def pieces(boundary: np.ndarray, params: SegmentParams, voxel: Sequence[float] = (1.0, 1.0, 1.0)) -> np.ndarray:
    """Fragments of a block, merged as far as is safe without its neighbours: `EARLY` of the merge threshold.

    Parameters
    ----------
    boundary
        Float32 in 0..1, (z, y, x).
    params, voxel
        As for `segment_array`; the mode is not "auto".

    Returns
    -------
    numpy.ndarray
        uint32 (z, y, x), 1 to n; in the 2-D modes later sections have greater numbers.
    """
    labels, early = fragments(boundary, params, voxel), EARLY * params.merge_threshold
    graph = Graph.of(labels, boundary, flat=params.mode != "3d")
    return merge_tree(graph, early, caution_of(params)).cut(early)[labels].astype(np.uint32)


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
        boundary = as_probability(predicted[BOUNDARY])
        labels = pieces(boundary, self.params, self.voxel)
        own, count = self.blocks.save(tile, labels, boundary, self.params.boundary_threshold)
        self.store.write_blocks(tile, {LABELS: own})
        return count

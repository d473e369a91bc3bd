"""What the live views of all workflows share: the pyramid they are shown on, and how many tiles they may hold."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from napari_connecto.compute.live.mosaic import Grid, Part
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Output
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.volumes import pyramid
from napari_connecto.workflows.shared.region import region_in

SMALLEST = 256
"""Voxels along the longest axis of the coarsest level at most, for a viewer reads all of that."""


def grids(level: Level) -> tuple[Grid, ...]:
    """The pyramid over a level, finest first; of any depth, for it is computed where it is read."""
    first = pyramid.Grid(level.shape, level.voxel_nm, level.origin_nm)
    return tuple(pyramid.grids(first, until=SMALLEST))


def part(name: str, level: Level, plan: TilePlan, output: Output) -> Part:
    """The map of a model's output over a level."""
    return Part(name, level, plan, output.stride, output.trimmed)


def in_view(
    plan: TilePlan, level: Level, volume: Volume, view: Box, among: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """Tiles of ``plan`` over ``level`` that a view (voxels of the volume's finest level) needs, nearest first.

    ``among``: only these.
    """
    if view.size == 0:
        return np.empty(0, np.int64)
    here = region_in(view, volume, level)
    assert here is not None  # only of no region
    return plan.order(plan.touching([here]) if among is None else among, here.centre)


def room(plan: TilePlan, bytes_per_voxel: float, limit: int) -> int:
    """How many tiles fit into ``limit`` bytes; at least 1."""
    return max(1, int(limit / (prod(plan.tile) * bytes_per_voxel)))

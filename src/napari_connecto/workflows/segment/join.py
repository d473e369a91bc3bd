"""Join the pieces of blocks into segments of the whole, on the evidence that decides within a block.

Each block merges its pieces only as far as its neighbours could hardly change that, and leaves a small record. Here the
region graph of all blocks is put together, contacts across faces included, and agglomerated as that of a single block
would be. Memory grows with pieces, not voxels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.tiles import Tile
from napari_connecto.workflows.segment.agglomerate import Graph, Touching, absorb, groups, settled
from napari_connecto.workflows.segment.faces import EDGES, STEPS, Blocks, across, contacts, matches
from napari_connecto.workflows.segment.link import linked
from napari_connecto.workflows.segment.params import SegmentParams

NONE = np.empty((0, 2), np.int64)


def join(blocks: Blocks, params: SegmentParams) -> Job[tuple[np.ndarray, np.ndarray]]:
    """Number the pieces of all blocks by their segment.

    Parameters
    ----------
    blocks
        All with their records.
    params
        With a mode. In the 2-D modes, one layer of blocks is agglomerated at a time.

    Returns
    -------
    first, final
        Piece i >= 1 of block b is in segment ``final[first[b] + i]``, 1 to n; ``final[0]`` is 0.
    """
    counts, final, sizes, inside = [0], np.zeros(1, np.int64), [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
    within, steps, same = list[Touching](), list[Touching](), [NONE]
    for tile in blocks.plan:
        offset = counts[-1]
        with blocks.record(tile.index) as here:
            sizes.append(here["sizes"][1:])
            inside.append(here["inside"][1:])
            counts.append(offset + len(sizes[-1]))
            within.append(contacts(here, EDGES, offset))
            if blocks.mode == "2d-linked":
                steps.append(contacts(here, STEPS, offset))
            for axis, index in _behind(blocks, tile):
                offsets = (counts[index], offset)
                with blocks.record(index) as before:
                    (within if blocks.overlap(axis) else steps).append(across(before, here, axis, offsets))
                    if blocks.overlap(axis):
                        same.append(matches(before, here, axis, offsets))
        if _ends(blocks, tile):
            start = len(final) - 1
            own, cores = (np.r_[0, np.concatenate(parts)[start + 1 :]] for parts in (sizes, inside))
            graph = Graph.of_contacts(own, [(edges - start, heights, areas) for edges, heights, areas in within])
            group = _with_walls(graph, groups(len(own) - 1, np.concatenate(same) - start), cores)
            final = np.concatenate([final, settled(graph.contracted(group), params)[group][1:] + final.max()])
            within, same = [], [NONE]
        yield Progress(tile.index + 1, len(blocks.plan), "join")
    if steps:
        edges, heights, areas = (np.concatenate(parts) for parts in zip(*steps, strict=True))
        final = linked((final[edges], heights, areas), np.bincount(final, np.concatenate(sizes)), params)[final]
    return np.array(counts[:-1]), final


def _with_walls(graph: Graph, group: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Groups of pieces that are boundary and nothing else, the rim of what lies in another block, join a neighbour."""
    return absorb(replace(graph, sizes=inside), group, 1)


def _behind(blocks: Blocks, tile: Tile) -> Iterator[tuple[int, int]]:
    """Axis and index of the neighbours before a block."""
    for axis, step in enumerate(_strides(blocks.plan.grid)):
        if tile.write.start[axis] > 0 and axis in blocks.axes():
            yield axis, tile.index - step


def _ends(blocks: Blocks, tile: Tile) -> bool:
    """Whether nothing can be added to the graph that blocks up to this one make."""
    layer = _strides(blocks.plan.grid)[0]
    return tile.index + 1 == len(blocks.plan) or (blocks.mode != "3d" and (tile.index + 1) % layer == 0)


def _strides(grid: Vec3) -> Vec3:
    """Index distance of neighbouring blocks, per axis."""
    return (grid[1] * grid[2], grid[2], 1)

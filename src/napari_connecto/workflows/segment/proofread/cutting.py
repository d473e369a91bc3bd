"""Cut a segment where it is false, at the finest level that its size allows."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, aside_job
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.segment.proofread.cut import Cut
from napari_connecto.workflows.segment.proofread.decisions import State
from napari_connecto.workflows.segment.proofread.flood import divide, nearest_inside, smaller_part
from napari_connecto.workflows.segment.proofread.forest import joined
from napari_connecto.workflows.segment.proofread.reach import blocks_of, reach_job
from napari_connecto.workflows.segment.proofread.sources import Result
from napari_connecto.workflows.segment.proofread.view import Corrected

MOST = 24_000_000
"""Voxels of the box in which a segment is cut; of a larger one, a coarser level is cut."""
Pair: TypeAlias = tuple[Vec3, Vec3]


def cut_job(
    volume: Volume, state: State, result: Result, atom: int, points: Pair, new: int
) -> Job[tuple[Cut, tuple[int, ...]]]:
    """Where a segment is cut so that two of its voxels come apart, and what goes with the new part.

    Parameters
    ----------
    volume
        Labels as corrected, see `view.corrected`.
    state
        The decisions that it shows.
    result
        Gives the boundary.
    atom
        The segment at both points, before merges.
    points
        Voxels of the finest level.
    new
        Number of the part that is taken off.

    Raises
    ------
    InputError
        If both points are one voxel of the level at which it must be cut, or it is too large for any and they are too
        far apart.
    """
    group = np.array(sorted(joined(state.edges, atom)))
    level, box = yield from _where_job(volume, state, group, points)
    yield Progress(0, 1, "splitting")
    atoms = level.array.atoms(state, box.slices)
    if not (atoms == atom).any():  # a small one, merged with so large ones that this level has none of it
        level, box = volume.levels[0], _around(points, volume.levels[0])
        atoms = level.array.atoms(state, box.slices)
    step, own, inside = level.factor_to(volume.levels[0]), atoms == atom, np.isin(atoms, group)
    places = [_within([int(p // s) - a for p, s, a in zip(q, step, box.start, strict=True)], box) for q in points]
    seeds = [nearest_inside(own, place) for place in places]
    if seeds[0] == seeds[1]:
        raise InputError("the two places are too near each other for so large a segment; choose places farther apart")
    boundary, margin = result.boundary_on(level, box), 0 if step == (1.0, 1.0, 1.0) else 1

    def divided() -> tuple[np.ndarray, tuple[int, Vec3, np.ndarray]]:
        sides = divide(inside, boundary, seeds, level.voxel_nm)
        return sides, smaller_part(sides, own, margin)

    sides, (side, start, part) = yield from aside_job(divided, "splitting")
    moved = [g for g in map(int, group) if g != atom and _mostly(sides[atoms == g], side)]
    corner = vec3([a + b for a, b in zip(start, box.start, strict=True)])
    return Cut(atom, new, corner, step, part), tuple(moved)


def _where_job(volume: Volume, state: State, group: np.ndarray, points: Pair) -> Job[tuple[Level, Box]]:
    """The finest level at which the whole segment is small enough; else the finest, around the points alone."""
    for level in volume.levels:
        step, view = level.factor_to(volume.levels[0]), level.array

        def mask(box: Box, view: Corrected = view) -> np.ndarray:
            return np.isin(view.atoms(state, box.slices), group)

        seeds = [_within([int(p // s) for p, s in zip(q, step, strict=True)], level.box) for q in points]
        found = yield from reach_job(mask, level.shape, blocks_of(view, level.shape), seeds, MOST)
        if found is not None and found.size:
            return level, found
    return volume.levels[0], _around(points, volume.levels[0])


def _mostly(sides: np.ndarray, side: int) -> bool:
    return 2 * int(np.count_nonzero(sides == side)) > len(sides)


def _within(point: list[int], box: Box) -> Vec3:
    return vec3([min(max(p, 0), n - 1) for p, n in zip(point, box.shape, strict=True)])


def _around(points: Pair, level: Level) -> Box:
    """A box around two voxels, as large as can be cut."""
    low, high = np.min(points, axis=0), np.max(points, axis=0) + 1
    box = Box(vec3(low.tolist()), vec3(high.tolist()))
    if box.size > MOST:
        raise InputError("the two places are too far apart in so large a segment; choose places nearer to each other")
    while True:
        wider = box.grow([1, 8, 8]).clip(level.shape)
        if wider == box or wider.size > MOST:
            return box
        box = wider

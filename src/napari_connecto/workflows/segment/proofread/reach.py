"""Where a segment lies: followed from a voxel of it from block to block, so that nothing else is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress

LARGEST_BLOCK = (32, 512, 512)


def reach_job(
    mask: Callable[[Box], np.ndarray], shape: Vec3, block: Vec3, seeds: list[Vec3], most: int
) -> Job[Box | None]:
    """The box around what hangs together with the seeds.

    Parameters
    ----------
    mask
        Whether voxels of a box belong to the segment, boolean (z, y, x).
    shape, block
        Of the level and of the blocks that are read, in voxels.
    seeds
        Voxels of the segment.
    most
        Largest box, in voxels.

    Returns
    -------
    Box or None
        None as soon as it is larger than ``most``.
    """
    waiting = [vec3([p // b for p, b in zip(seed, block, strict=True)]) for seed in seeds]
    known, low, high = set(waiting), np.array(shape), np.zeros(3, int)
    for done in range(2**62):
        if not waiting:
            break
        yield Progress(done, done + len(waiting), "finding the extent of the segment")
        index = waiting.pop()
        start = vec3([i * b for i, b in zip(index, block, strict=True)])
        box = Box(start, vec3([s + b for s, b in zip(start, block, strict=True)])).clip(shape)
        inside = mask(box)
        at = [np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
        if not len(at[0]):
            continue
        low = np.minimum(low, [a + i[0] for a, i in zip(start, at, strict=True)])
        high = np.maximum(high, [a + i[-1] + 1 for a, i in zip(start, at, strict=True)])
        if int(np.prod(high - low)) > most:
            return None
        for other in _beside(index, at, box, shape):
            if other not in known:
                known.add(other)
                waiting.append(other)
    return Box(vec3(low.tolist()), vec3(np.maximum(high, low).tolist()))


def _beside(index: Vec3, at: list[np.ndarray], box: Box, shape: Vec3) -> Iterator[Vec3]:
    """Neighbours of a block at whose face the segment lies."""
    for axis in range(3):
        for step, touches in ((-1, at[axis][0] == 0), (1, at[axis][-1] == box.shape[axis] - 1)):
            edge = box.start[axis] == 0 if step < 0 else box.stop[axis] == shape[axis]
            if touches and not edge:
                yield vec3([i + step * (a == axis) for a, i in enumerate(index)])


def blocks_of(array: object, shape: Vec3) -> Vec3:
    """Blocks to read: the array's chunks, if they are not very large."""
    chunks = getattr(array, "chunks", None) or LARGEST_BLOCK
    return vec3([min(int(c), most, n) for c, most, n in zip(chunks, LARGEST_BLOCK, shape, strict=True)])

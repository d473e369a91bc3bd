"""Boxes of the view and of what is translated so far; no Qt, no napari."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.volume import Level, Volume


def inside(view: Box, finest: Level, volume: Volume) -> Box:
    """A box of a layer's finest level in voxels of a volume's, clipped."""
    level = volume.levels[0]
    return finest.box_in(view, level).clip(level.shape)


def translated(box: Box, aleatoric: Level, epistemic: Level) -> Box:
    """The translated part of a box: along each axis the sections around its middle, up to the first gap.

    The translated part is a block of tiles, so its ends follow from three lines through the middle. Empty if the middle
    is
    not translated.
    """
    middle, box = [(a + b) // 2 for a, b in zip(box.start, box.stop, strict=True)], box.clip(aleatoric.shape)
    if box.size == 0:
        return box
    start, stop = list(middle), list(middle)
    for axis in range(3):
        low, high = (
            [m if i != axis else e for i, m in enumerate(middle)] for e in (box.start[axis], box.stop[axis] - 1)
        )
        line = Box(vec3(low), vec3([h + 1 for h in high]))
        computed = (aleatoric.read(line).ravel() > 0) | (epistemic.read(line).ravel() > 0)
        here = middle[axis] - box.start[axis]
        gaps = np.flatnonzero(~computed)
        before, after = gaps[gaps <= here], gaps[gaps >= here]
        start[axis] = box.start[axis] + (int(before[-1]) + 1 if len(before) else 0)
        stop[axis] = box.start[axis] + (int(after[0]) if len(after) else len(computed))
    return Box(vec3(start), vec3([max(a, b) for a, b in zip(start, stop, strict=True)]))


def part(volume: Volume, box: Box) -> Volume:
    """A part of the finest level, read into memory."""
    from napari_connecto.workflows.cascade.training.examples import crop

    level = crop(volume.levels[0], box)
    metadata = {**volume.metadata, "revision": f"{box.start} to {box.stop}"}
    return replace(volume, levels=(level,), metadata=metadata)

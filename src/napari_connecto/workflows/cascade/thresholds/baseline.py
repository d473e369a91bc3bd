"""A plain threshold fitted to the same labels: what a trained cascade must beat.

Gaussian smoothing, a global threshold or one above the local background, and watershed between touching objects: the
textbook way (e.g. the examples of scikit-image and CellProfiler). Smoothing and background follow from the objects'
size; everything else is chosen on the training block.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibrate import (
    CANDIDATES,
    BlockGrid,
    best_rule,
    block_grid,
    dice_at,
    held_out_of,
)
from napari_connecto.workflows.cascade.thresholds.held_out import HeldOut
from napari_connecto.workflows.cascade.training.labelled_region import Examples

COMPARING = "comparing with a plain threshold"
SMOOTH, AROUND = 0.1, 1.5
"""Sigma of the smoothing and of the local background, in widths of an object."""
LARGEST, TRIED = 2**21, 6
"""Voxels of the training block that are used at most, its middle; thresholds of highest Dice that are tried."""


def baseline_job(
    volume: Volume, examples: Examples, boxes: tuple[Box, Box], card: ModelCard, rule: ObjectRule
) -> Job[HeldOut | None]:
    """Held-out figures of a plain threshold on the level of a card.

    Parameters
    ----------
    volume, examples
        Image and truth.
    boxes
        Voxels of ``examples.target`` on which the threshold is chosen, and on which it is measured.
    card
        Of the finest stage.
    rule
        How objects are extracted; its threshold and whether it parts touching objects are chosen anew.

    Returns
    -------
    HeldOut or None
        None if objects are neither brighter nor darker than the rest.
    """
    whole, held_out = (block_grid(volume, examples, box, card) for box in boxes)
    part = _middle(boxes[0], LARGEST / max(1, whole.block.size))
    own, ways = block_grid(volume, examples, part, card), []
    for n, local in enumerate((False, True)):
        yield Progress(n, 4, COMPARING)
        values = _values(own, examples, local)
        ends = _ends(own, examples, values)
        if ends is not None:
            field = _field(values, ends)
            ways.append((float(dice_at(own, field, examples, CANDIDATES).max()), local, ends, field))
    if not ways:
        return None
    _, local, ends, field = max(ways, key=lambda way: way[0])
    yield Progress(2, 4, COMPARING)
    centres = examples.centres_nm[examples.inside(part)]
    chosen, _, _ = best_rule(own, field, rule, centres, examples, prefer=False, most=TRIED)
    yield Progress(3, 4, COMPARING)
    field = _field(_values(held_out, examples, local), ends)
    return held_out_of(held_out, field, chosen, examples.centres_nm[examples.inside(boxes[1])], examples)[0]


def _middle(box: Box, share: float) -> Box:
    """The middle of a box, in the plane, of this share of its voxels at most."""
    if share >= 1:
        return box
    less = [0, *(int(n * (1 - share**0.5) / 2) for n in box.shape[1:])]
    start = [a + m for a, m in zip(box.start, less, strict=True)]
    return Box(vec3(start), vec3([b - m for b, m in zip(box.stop, less, strict=True)]))


def _values(grid: BlockGrid, examples: Examples, local: bool) -> np.ndarray:
    """The smoothed block, less its background if ``local``; the mean of the channels."""
    image = grid.level.read(grid.block).astype(np.float32)
    image = image.mean(0) if image.ndim == 4 else image
    across = (examples.width_nm or examples.diameter_nm) / np.array(grid.level.voxel_nm)
    across[0] = 0 if examples.flat or image.shape[0] == 1 else across[0]
    smooth = ndimage.gaussian_filter(image, SMOOTH * across)
    return smooth - ndimage.gaussian_filter(image, AROUND * across) if local else smooth


def _ends(grid: BlockGrid, examples: Examples, values: np.ndarray) -> tuple[float, float] | None:
    """Values that are certainly background, and certainly object; the former is the greater one for dark objects."""
    share, box = examples.share_on(grid.level)
    own, known = grid.block.shift([-s for s in box.start]).slices, examples.known_on(grid.level, share)
    there = share[own] >= 128
    rest = ~there if known is None else ~there & known[own]
    if not (there.any() and rest.any()):
        return None
    low, middle = float(np.median(values[rest])), float(np.median(values[there]))
    high = float(np.percentile(values[there], 90 if middle > low else 10))
    return (low, high) if middle != low else None


def _field(values: np.ndarray, ends: tuple[float, float]) -> np.ndarray:
    """The values between both ends as a map of probability, uint8."""
    low, high = ends
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)

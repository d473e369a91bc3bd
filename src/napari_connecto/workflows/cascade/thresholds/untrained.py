"""The built-in detector of blobs on the held-out objects: what to use where there is too little to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard
from napari_connecto.core.views.channel import one_channel
from napari_connecto.core.volume import Volume
from napari_connecto.models.detectors.registered import registered
from napari_connecto.workflows.cascade.search.coarser import with_levels_at
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibrate import block_grid, measured_job
from napari_connecto.workflows.cascade.thresholds.held_out import LOW_F1, HeldOut
from napari_connecto.workflows.cascade.training.labelled_region import Examples

COMPARING = "comparing with blobs"
FEW = 20
"""Labelled objects below which a network may have too few to learn from."""
MOST = 256
"""Calls of the detector at most."""


@dataclass(frozen=True)
class Untrained:
    """What blobs find of the held-out objects, and with which options.

    Parameters
    ----------
    diameter_nm, dark
        Of the labelled objects.
    channel
        The channel in which they differ most from the rest; None if the image has none.
    held_out
        Of the same objects as the cascade's own.
    """

    diameter_nm: float
    dark: bool
    channel: int | None
    held_out: HeldOut

    @property
    def options(self) -> str:
        """For ``--detector-options``."""
        return f"diameter_nm={float(f'{self.diameter_nm:.3g}'):.12g}" + (" dark=true" if self.dark else "")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        own = {"diameter_nm": self.diameter_nm, "dark": self.dark, "channel": self.channel}
        return {**own, "held_out": self.held_out.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Untrained:
        """From the output of `to_json`; raises whatever damaged data raise."""
        channel = None if data["channel"] is None else int(data["channel"])
        held_out = HeldOut.from_json(data["held_out"])
        return cls(float(data["diameter_nm"]), bool(data["dark"]), channel, held_out)


def doubtful(examples: Examples, held_out: HeldOut | None) -> bool:
    """Whether training may have had too little: few objects are labelled, or few of the held-out ones are found."""
    return held_out is not None and (len(examples.centres_nm) < FEW or held_out.counts.f1 < LOW_F1)


def untrained_job(
    volume: Volume, examples: Examples, boxes: tuple[Box, Box], card: ModelCard, rule: ObjectRule
) -> Job[Untrained | None]:
    """Run blobs on the held-out block.

    Parameters
    ----------
    volume, examples
        Image and truth.
    boxes
        Voxels of ``examples.target`` by which contrast and channel are chosen, and on which blobs are measured.
    card, rule
        Of the finest stage, and how its objects are extracted.

    Returns
    -------
    Untrained or None
        None if that takes more than `MOST` calls, or cannot be done.
    """
    channel, dark = _contrast(volume, examples, boxes[0], card)
    grey = one_channel(volume, channel)
    try:
        blobs = registered("blobs", grey, {"diameter_nm": examples.diameter_nm, "dark": dark})
        grey = with_levels_at(grey, [blobs.card.voxel_nm])
        if len(block_grid(grey, examples, boxes[1], blobs.card).plan) > MOST:
            return None
        own = ObjectRule("masks", 0.5, examples.diameter_nm, 1, rule.flat)  # it leaves out specks itself
        held_out, _ = yield from measured_job(grey, examples, boxes[1], blobs, own)
    except (InputError, ModelError, VoxelSizeError):
        return None
    if rule.head == "centres":
        held_out = replace(held_out, dice=None)  # of a Gaussian there is no mask
    return Untrained(examples.diameter_nm, dark, channel if volume.levels[0].channels else None, held_out)


def _contrast(volume: Volume, examples: Examples, box: Box, card: ModelCard) -> tuple[int, bool]:
    """The channel in which objects differ most from the rest, in standard deviations, and whether they are darker."""
    grid = block_grid(volume, examples, box, card)
    image = grid.level.read(grid.block).astype(np.float32)
    image = image if image.ndim == 4 else image[None]
    share, covered = examples.share_on(grid.level)
    own, known = grid.block.shift([-s for s in covered.start]).slices, examples.known_on(grid.level, share)
    there = share[own] >= 128
    rest = ~there if known is None else ~there & known[own]
    if not (there.any() and rest.any()):
        return 0, False
    steps = [float(np.median(c[there]) - np.median(c[rest])) / float(c.std() + 1e-6) for c in image]
    channel = int(np.argmax(np.abs(steps)))
    return channel, steps[channel] < 0

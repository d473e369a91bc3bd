"""Boundary map and segments of a model, following the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_connecto.compute.lazy import Tiles
from napari_connecto.compute.live.answers import Answers
from napari_connecto.compute.live.mosaic import Blocks, Mosaic, Part, Picture
from napari_connecto.compute.live.work import Key
from napari_connecto.compute.options import default_batch
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import check_channels
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.segment.block import BOUNDARY, as_probability, segment_array
from napari_connecto.workflows.segment.mode import mode_of
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.live import grids, in_view, part, room

SEGMENTS = "segments"
APART = 100_003
"""Between the first numbers of two tiles, so that neighbours mostly differ in colour; below 2^31 in all."""


class LiveSegments:
    """See `LiveWork`: maps "boundary" and "segments", both in the model's tiles, kept in memory only.

    The boundary map is that of `predict`. Segments are those of `segment` within one tile: nothing is joined across
    tiles, so an object has another number, and may be cut differently, in each. A model of sections reads them along z
    alone.

    Parameters
    ----------
    volume, model, params, client
        As in `segment`.
    blocks
        Keeps what is shown; a boundary map that is in it is not computed again.

    Raises
    ------
    VoxelSizeError, InputError
        If volume and model do not fit.
    """

    def __init__(
        self, volume: Volume, model: Predictor, params: SegmentParams, blocks: Blocks, client: Any = None
    ) -> None:
        card = model.card
        output = card.output(BOUNDARY)
        self._level = fitting_level(volume, card)
        check_channels(self._level, card)
        self._plan = TilePlan(self._level.shape, card.tile, card.halo)
        mode, _ = mode_of(params, self._level.shape, self._level.voxel_nm, calibrated=volume.calibrated)
        self._params, self._volume, self._blocks = replace(params, mode=mode), volume, blocks
        self._batch = default_batch(card)
        self._answers = Answers(Tiles(volume, self._level, model), self._batch, client=client)
        self.threads = int(getattr(model, "calls", 1))
        self._room = room(self._plan, 1 + 4, blocks.limit // 2)
        blocks.drop(SEGMENTS)  # of other thresholds
        shown = grids(self._level)
        drawn = Part(SEGMENTS, self._level, self._plan)
        self.pictures = [
            Picture(BOUNDARY, Mosaic([part(BOUNDARY, self._level, self._plan, output)], blocks), shown),
            Picture(SEGMENTS, Mosaic([drawn], blocks, "labels"), shown),
        ]

    def order(self, view: Box) -> list[Key]:
        """See `LiveWork`: the segments of a tile come as soon as its boundary map is there."""
        indices = in_view(self._plan, self._level, self._volume, view)[: self._room].tolist()
        found = [
            (name, index)
            for index in indices
            for name in (BOUNDARY, SEGMENTS)
            if name == BOUNDARY or (BOUNDARY, index) in self._blocks
        ]
        self._blocks.want(found)
        return found

    def has(self, key: Key) -> bool:
        """See `LiveWork`."""
        return key in self._blocks

    def group(self, name: str) -> int:
        """See `LiveWork`."""
        return self._batch if name == BOUNDARY else 1

    def compute(self, keys: Sequence[Key]) -> bool:
        """See `LiveWork`."""
        name, indices = keys[0][0], [index for _, index in keys]
        if name == BOUNDARY:
            for index, answer in zip(indices, self._answers(indices), strict=True):
                assert answer is not None  # damaged chunks are errors
                block = np.rint(np.clip(answer[BOUNDARY], 0, 1) * 255).astype(np.uint8)  # as it is stored
                self._blocks.put((BOUNDARY, index), block)
            return True
        for index in indices:
            boundary = self._blocks.get((BOUNDARY, index))
            if boundary is not None:
                labels = segment_array(as_probability(boundary), self._params, self._level.voxel_nm)
                self._blocks.put((SEGMENTS, index), labels + np.uint32(index * APART % 2**31))
        return False

    def derive(self, view: Box) -> None:
        """See `LiveWork`: everything is in the tiles."""

    def close(self) -> None:
        """See `LiveWork`: nothing is open."""

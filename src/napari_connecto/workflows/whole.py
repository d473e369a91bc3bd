"""What a predictor says of an array in memory, put together from tiles. Ours."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.core.geometry import vec3
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.models.nets import divisor


def answers(predictor: Predictor, image: np.ndarray) -> Mapping[str, np.ndarray]:
    """Every output (z, y, x) float32 of a scaled image (z, y, x), its edges repeated outside; stride 1 only.

    Along a short axis of the image tiles are shorter than the card's: the predictor must take tiles of any shape that
    its network does, as torch's do and OpenVINO's do not.
    """
    card = predictor.card
    level = Level(image, card.voxel_nm)
    step = divisor(card.network)
    tile = vec3([min(t, -(-n // d) * d) for t, n, d in zip(card.tile, level.shape, step, strict=True)])
    found = {output.name: np.empty(image.shape, np.float32) for output in card.outputs}
    with closing(execute(level, TilePlan(level.shape, tile, card.halo), predictor)) as results:
        for done, blocks in results:
            for name, block in blocks.items():
                found[name][done.write.slices] = block
    return found

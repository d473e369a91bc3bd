"""A predictor's outputs for an array in memory, assembled from tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.core.geometry import Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level
from napari_connecto.models.inference.openvino import OpenVinoPredictor
from napari_connecto.models.nets.nets import divisor


def answers(predictor: Predictor, image: np.ndarray) -> Mapping[str, np.ndarray]:
    """Every output (z, y, x) float32 for a scaled image (z, y, x), edges repeated outside; stride 1 only.

    For an image smaller than the card's tile, native networks compute only the image and a halo.
    """
    return run(answers_job(predictor, image))


def answers_job(predictor: Predictor, image: np.ndarray, stage: str = "") -> Job[Mapping[str, np.ndarray]]:
    """`answers` as a job, with a report per tile."""
    card, level = predictor.card, Level(image, predictor.card.voxel_nm)
    predictor, tile = _fitted(predictor, level.shape)
    found = {output.name: np.empty(image.shape, np.float32) for output in card.outputs}
    plan = TilePlan(level.shape, tile, card.halo)
    with closing(execute(level, plan, predictor)) as results:
        for n, (done, blocks) in enumerate(results, start=1):
            for name, block in blocks.items():
                found[name][done.write.slices] = block
            yield Progress(n, len(plan), stage)
    return found


def boundary_of(model: Predictor, image: np.ndarray) -> np.ndarray:
    """The first output of a boundary model, see `answers`."""
    return answers(model, image)[model.card.outputs[0].name]


def _fitted(predictor: Predictor, shape: Sequence[int]) -> tuple[Predictor, Vec3]:
    """The smallest tile that holds this shape and fits the network, at most the card's; and the predictor for it."""
    card = predictor.card
    inner = predictor.model if isinstance(predictor, OpenVinoPredictor) else predictor
    if not getattr(inner, "any_tile", False):
        return predictor, card.tile
    step = divisor(card.network)
    tile = vec3([min(most, -(-n // s) * s) for most, n, s in zip(card.tile, shape, step, strict=True)])
    return (predictor if tile == card.tile else inner), tile

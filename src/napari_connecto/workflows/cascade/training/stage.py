"""Train one stage of a cascade within its share of the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.descent import HighestValue
from napari_connecto.workflows.cascade.training.contrast import contrast_factor
from napari_connecto.workflows.cascade.training.labelled_region import Examples, crop
from napari_connecto.workflows.cascade.training.new_stage import new_stage
from napari_connecto.workflows.cascade.training.samples import Patches
from napari_connecto.workflows.cascade.training.warp import warped_share

WARM = 0.1
"""Share of the learning rate for networks that are already trained."""
RATE = 1e-2
"""Peak learning rate; it rises over a tenth of the steps and falls to nothing by their end."""


@dataclass(frozen=True)
class Budget:
    """How long training takes at most, and the steps of the finest level after which more have not helped."""

    seconds: float
    steps: int


BUDGETS = {"quick": Budget(60, 3000), "standard": Budget(300, 6000), "best": Budget(1200, 20000)}
FINEST, COARSER = 0.7, 0.2
"""Shares of the time for the finest level, and for all others together; the rest is for measuring."""
VALIDATIONS = 10
"""How often the state is compared with the best one; half-way, errors of the network are searched for."""
CHECKED = 8
"""Samples, in batches of `TrainParams.batch`, on which states are compared."""
LOOK = 128
"""Number of chunks searched for errors of the network."""


def train_stage_job(
    volume: Volume,
    examples: Examples,
    boxes: tuple[Box, Box],
    card: ModelCard,
    params: TrainParams,
    k: int,
    levels: int,
    stop: Callable[[], bool] | None = None,
    start: TorchPredictor | None = None,
) -> Job[tuple[Predictor, int, int]]:
    """Fit in one schedule; from half-way on, chunks that the network gets wrong are drawn more often.

    ``boxes`` are voxels of ``examples.target`` for training, and for selecting the best state; stage 0 is the finest of
    ``levels``. ``start``, of the same card, replaces the random initial weights. Once ``stop`` is true, the best state
    so far is taken. Returns it, the number of steps, and how many were planned: ``params.steps``, or what fits into the
    budget's time, at most its steps.
    """
    level = volume.level_at(card.voxel_nm)
    scaling = card.normalisation.resolve(volume)
    train, held_out = (_patches(level, examples, box, card, scaling, _target(k, params)) for box in boxes)
    train.contrast = held_out.contrast = contrast_factor(train, held_out)
    train.warped = held_out.warped = warped_share(train.target, held_out.target)
    soft = k == 0 and params.head == "centres"  # Dice would turn a graded target into a mask
    steps, seconds = planned(params, k, levels)
    settings = FitParams(
        steps=steps,
        dice=0.0 if soft else 0.5,
        learning_rate=RATE if start is None else RATE * WARM,
        validate_every=max(1, steps // VALIDATIONS),
    )
    check = _Check(train, list(islice(held_out.draw(params.batch, seed=1), CHECKED)), params.seed)
    model = start or new_stage(card, params, k)
    job = fit(model, train.draw(params.batch, params.seed), settings, validate=check, stop=stop, seconds=seconds)
    made = last = 0
    try:
        while True:
            progress = next(job)
            made, last = progress.payload["step"], progress.done
            yield replace(progress, stage=f"training level {k}")
    except StopIteration as end:
        return end.value, made, round(made * steps / last) if last else steps
    finally:
        job.close()


def planned(params: TrainParams, k: int, levels: int) -> tuple[int, float]:
    """Steps of stage ``k`` of so many at most, and seconds (0: as long as they take)."""
    if params.steps:
        return params.steps, 0.0
    budget = BUDGETS[params.budget]
    if k == 0:
        return budget.steps, budget.seconds * (FINEST if levels > 1 else FINEST + COARSER)
    return budget.steps // 3, budget.seconds * COARSER / (levels - 1)


Target = Literal["any", "share", "soft"]


def _target(k: int, params: TrainParams) -> Target:
    """A coarse stage asks whether any of a voxel is object; the finest one draws masks, or the centres' Gaussians."""
    if k:
        return "any"
    return "soft" if params.head == "centres" else "share"


def _patches(
    level: Level, examples: Examples, box: Box, card: ModelCard, scaling: object, target_of: Target
) -> Patches:
    target, region = examples.share_on(level) if target_of == "share" else examples.on(level, soft=target_of == "soft")
    block = examples.target.box_in(box, level).clip(region)
    near = block.grow([t + h for t, h in zip(card.tile, card.halo, strict=True)]).clip(level.shape)
    image = crop(level, near)
    loaded = Level(np.asarray(image.array), image.voxel_nm, image.origin_nm)
    offset = [-s for s in near.start]
    own, known = block.shift([-s for s in region.start]).slices, examples.known_on(level, target)
    between = examples.between_on(level) if target_of == "share" else None
    return Patches(
        loaded,
        target[own],
        block.shift(offset),
        card,
        scaling,  # type: ignore[arg-type]
        known=None if known is None else known[own],
        between=None if between is None else between[own],
    )


@dataclass
class _Check:
    """Validation score: minus the mean cross-entropy on fixed held-out samples.

    Half-way through the training it also tells its samples which chunks the network gets wrong.
    """

    train: Patches
    samples: list[Sample]
    seed: int
    calls: int = 0

    def __call__(self, model: Predictor) -> float:
        self.calls += 1
        if self.calls == VALIDATIONS // 2:
            self.train.hard = _mistakes(self.train, model, self.seed)
        return score_on(model, self.samples)


def score_on(model: Predictor, samples: Sequence[Sample]) -> float:
    """Minus a model's mean cross-entropy on samples."""
    total = weight_sum = 0.0
    name = model.card.outputs[0].name
    for image, target, weight in samples:
        answer = np.clip(model(image, [0] * len(image))[name], 1e-4, 1 - 1e-4)
        loss = -(target[:, 0] * np.log(answer) + (1 - target[:, 0]) * np.log(1 - answer))
        total += float((loss * weight[:, 0]).sum())
        weight_sum += float(weight.sum())
    return -total / max(weight_sum, 1.0)


@dataclass(frozen=True)
class HighestKnown:
    """Sink: a chunk's highest value where ``known``, boolean on the grid of the tiles' level, is true."""

    output: str
    known: np.ndarray

    def __call__(self, tile: Tile, blocks: Blocks) -> float:
        block, own = blocks[self.output], self.known[tile.write.slices]
        for axis, n in enumerate(block.shape):  # a cell is known where all of it is
            own = np.logical_and.reduceat(own, np.arange(n) * own.shape[axis] // n, axis=axis)
        return float(np.where(own, block, 0).max())


def _mistakes(patches: Patches, model: Predictor, seed: int, look: int = LOOK, keep: int = 32) -> list[Box]:
    """Chunks of the training block without an object that score highest."""
    plan = TilePlan(patches.block.shape, model.card.tile, model.card.halo)
    rng = np.random.default_rng(seed)
    indices = np.sort(rng.permutation(len(plan))[:look])
    empty = [i for i in indices if not (patches.target[plan[i].write.slices] >= 128).any()]
    if patches.known is not None:
        empty = [i for i in empty if patches.known[plan[i].write.slices].any()]
    level = crop(patches.level, patches.block)
    options = ExecuteOptions(scaling=patches.scaling, batch=1)
    output = model.card.outputs[0].name
    sink = HighestValue(output) if patches.known is None else HighestKnown(output, patches.known)
    scored = [(score, tile) for tile, score in execute(level, plan.tiles(empty), model, sink, options=options)]
    scored.sort(key=lambda pair: -pair[0])
    return [tile.write.shift(patches.block.start) for score, tile in scored[:keep] if score > 0.2]

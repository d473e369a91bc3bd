"""Train one stage of a cascade: fit, find hard negatives, continue to fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.descent import HighestValue
from napari_connecto.workflows.cascade.training.labelled_region import Examples, crop
from napari_connecto.workflows.cascade.training.new_stage import new_stage
from napari_connecto.workflows.cascade.training.samples import Patches

WARM = 0.1
"""Share of the learning rate for networks that are already trained."""


@dataclass(frozen=True)
class Budget:
    """How long training takes at most, and the steps of the finest level after which more have not helped."""

    seconds: float
    steps: int


BUDGETS = {"quick": Budget(60, 1000), "standard": Budget(300, 3000), "best": Budget(1200, 12000)}
FINEST, LEAST, TIMED = 0.7, 100, 4
"""Share of the time for the finest level; least steps of a level; steps that are timed."""
LOOK = 256
"""Number of chunks searched for errors of the network."""


def train_stage_job(
    volume: Volume,
    examples: Examples,
    boxes: tuple[Box, Box],
    card: ModelCard,
    params: TrainParams,
    k: int,
    stop: Callable[[], bool] | None = None,
    start: TorchPredictor | None = None,
) -> Job[tuple[Predictor, int, int]]:
    """Fit, find hard negatives, continue to fit.

    ``boxes`` are voxels of ``examples.target`` for training, and for selecting the best state; stage 0 is the finest.
    ``start``, of the same card, replaces the random initial weights. Once ``stop`` is true, the best state so far is
    taken. Returns it, the number of steps, and how many were planned: ``params.steps``, or by the budget.
    """
    level = volume.level_at(card.voxel_nm)
    scaling = card.normalisation.resolve(volume)
    train, held_out = (_patches(level, examples, box, card, scaling, _target(k, params)) for box in boxes)
    check_samples = [s for s, _ in zip(held_out.draw(params.batch, seed=1), range(6), strict=False)]
    model = start or new_stage(card, params, k)
    boldness = 1.0 if start is None else WARM
    soft = k == 0 and params.head == "centres"  # Dice would turn a graded target into a mask
    planned = params.steps or (yield from _planned_job(model, train, params, k))
    first = max(5, planned * 2 // 3)
    names = [f"training level {k}{part}" for part in ("", ", finding hard negatives", ", hard negatives")]
    look_steps = LOOK / (3 * params.batch)  # a step takes about as long as three calls on each of its samples
    phases = Phases(dict(zip(names, (first, look_steps, max(0, planned - first)), strict=True)))
    counted, score = _Counted(), _Fit(check_samples)
    for part, steps in enumerate((first, planned - first)):
        if steps < 1 or counted.stopped(stop):
            break
        rate = boldness * (1e-2 if part == 0 else 3e-3)
        settings = FitParams(steps=steps, dice=0.0 if soft else 0.5, learning_rate=rate)
        draw = train.draw(params.batch, params.seed + part)
        job = fit(model, draw, settings, validate=score, stop=stop)
        trained = yield from phases.run(names[2 * part], counted.renamed(job, names[2 * part]))
        if part == 0 or not counted.stopped(stop) or score(trained) > score(model):
            model = trained
        if part == 0 and not counted.stopped(stop):
            train.hard = yield from phases.call(names[1], partial(_mistakes, train, model, params.seed))
    return model, counted.steps, planned


def _planned_job(model: TorchPredictor, patches: Patches, params: TrainParams, k: int) -> Job[int]:
    """Steps that fit into the budget, by a few that are timed and thrown away; the finest level gets most of it."""
    budget, share = BUDGETS[params.budget], FINEST if k == 0 else (1 - FINEST) / 2
    started = 0.0
    for progress in fit(model, patches.draw(params.batch, params.seed), FitParams(steps=TIMED + 1)):
        started = started or time.perf_counter()  # the first step also prepares
        yield replace(progress, stage=f"timing level {k}")
    step_s = (time.perf_counter() - started) / TIMED
    most = budget.steps if k == 0 else budget.steps // 3
    return int(min(most, max(LEAST, budget.seconds * share / max(step_s, 1e-6))))


@dataclass
class _Counted:
    """Number of training steps."""

    steps: int = 0

    def stopped(self, stop: Callable[[], bool] | None) -> bool:
        return stop is not None and stop()

    def renamed(self, job: Job, stage: str) -> Job:
        """The same job under another stage name."""
        try:
            while True:
                progress = next(job)
                self.steps += 1
                yield replace(progress, stage=stage)
        except StopIteration as end:
            return end.value
        finally:
            job.close()


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
    return Patches(
        loaded,
        target[own],
        block.shift(offset),
        card,
        scaling,  # type: ignore[arg-type]
        known=None if known is None else known[own],
    )


@dataclass(frozen=True)
class _Fit:
    """Validation score: minus the mean cross-entropy on fixed held-out samples."""

    samples: list[Sample]

    def __call__(self, model: Predictor) -> float:
        total = weight_sum = 0.0
        name = model.card.outputs[0].name
        for image, target, weight in self.samples:
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

"""A cascade around a detector, without labels: its own answers in a sample of places teach the gates."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import check_channels
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import PIXEL, UNIT, Level, Volume
from napari_connecto.models.inference.openvino import OpenVinoPredictor
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.training.distil.gates import (
    SHARE,
    gate_cards,
    train_gate_job,
    with_gate_levels,
)
from napari_connecto.workflows.cascade.training.distil.looks import Look, Looking
from napari_connecto.workflows.cascade.training.distil.measure import measure_job
from napari_connecto.workflows.cascade.training.distil.places import (
    Strata,
    candidates,
    features_job,
    likeness,
    spread,
)
from napari_connecto.workflows.cascade.training.distil.sizes import measured_rule, rule_of
from napari_connecto.workflows.cascade.training.stage import BUDGETS
from napari_connecto.workflows.ood.check import FITTING, source_gate_job
from napari_connecto.workflows.ood.gate import Gate

FEWEST = 3
"""Places with objects that gates can learn from, and as many to measure them on."""
LEAST_CALLS, TIMED_CALLS = 32, 4
"""Calls at least, however long one takes; calls that are timed first."""


@dataclass
class Survey:
    """What a detector found so far: places of a pool, by their position there.

    Parameters
    ----------
    level, plan, detector, rule
        Where and how it looks.
    pool
        Chunks that may be chosen.
    looks
        By position in the pool.
    seconds
        That all calls took.
    """

    level: Level
    plan: TilePlan
    detector: Predictor
    rule: ObjectRule
    options: ExecuteOptions
    pool: np.ndarray
    looks: dict[int, Look]
    seconds: float = 0.0

    def look_job(self, at: np.ndarray, planned: int, stop: Callable[[], bool] | None) -> Job[None]:
        """Run the detector on some of the places, neighbours after each other, until ``stop`` is true."""
        position = {int(self.pool[i]): int(i) for i in at if int(i) not in self.looks}
        sink = Looking(self.detector.card.outputs[0].name, self.rule, self.level)
        tiles = self.plan.tiles(self.plan.order(np.array(sorted(position), np.int64)))
        started, before = time.perf_counter(), self.seconds
        for tile, look in execute(self.level, tiles, self.detector, sink, options=self.options):
            self.looks[position[tile.index]] = look
            self.seconds = before + time.perf_counter() - started
            yield Progress(len(self.looks), planned, f"running {self.detector.card.name}")
            if stop is not None and stop():
                return

    @property
    def seen(self) -> np.ndarray:
        """(k,) positions in the pool."""
        return np.array(sorted(self.looks), np.int64)

    def positive(self, seen: np.ndarray) -> np.ndarray:
        """(k,) where it found something."""
        return np.array([len(self.looks[int(i)].sizes) > 0 for i in seen], bool)


def distil_job(
    volume: Volume, detector: Predictor, params: TrainParams, stop: Callable[[], bool] | None = None
) -> Job[Cascade]:
    """Train gates for a detector on what it finds in a sample of places; see `train_cascade`."""
    volume = with_gate_levels(volume.in_pixels(), detector.card)
    level = volume.level_at(detector.card.voxel_nm)
    check_channels(level, detector.card)
    looking, gates = "running the detector", "training gates"
    seconds = BUDGETS[params.budget].seconds
    phases = Phases({looking: (1 - SHARE) * seconds, gates: SHARE * seconds, "measuring": 0.1 * seconds, FITTING: 1.0})
    rule = rule_of(detector.card, params)
    survey, strata = yield from phases.run(looking, _survey_job(volume, level, detector, rule, params, stop))
    rule = measured_rule(list(survey.looks.values()), rule, level, params)
    seen = survey.seen
    told: dict[str, Any] = {
        "name": detector.card.name,
        "calls": len(seen),
        "places": len(survey.plan),
        "seconds_per_call": survey.seconds / len(seen),
        "positive": int(survey.positive(seen).sum()),
    }
    if not told["positive"]:
        raise InputError(
            f"{detector.card.name} finds nothing in {len(seen)} of {len(survey.plan)} places; check its options on a "
            "section with objects, or give more calls (calls=, --calls)"
        )
    held, cards = _held_out(survey, seen, params.seed), gate_cards(volume, detector.card, rule.diameter_nm, params)
    if min(survey.positive(seen[held]).sum(), survey.positive(seen[~held]).sum()) < FEWEST:
        held, cards = np.ones(len(seen), bool), ()  # too few to learn from: the detector alone
    learnt, measured = ([survey.looks[int(i)] for i in seen[which]] for which in (~held, held))
    stages = yield from phases.run(gates, _gates_job(volume, learnt, cards, level, params, rule.min_voxels, stop))
    told["gates"] = len(stages)
    rest = strata.weights(seen[held]), (detector, *stages), told["seconds_per_call"], rule.min_voxels
    measuring = measure_job(volume, survey.plan, measured, *rest)
    calibration = yield from phases.run("measuring", measuring)
    metadata: dict[str, Any] = {"params": asdict(params), "volume": volume.name, "version": __version__}
    metadata["detector"] = told
    if volume.metadata.get(UNIT) == PIXEL:
        metadata[UNIT] = PIXEL
    centres = np.concatenate([survey.looks[int(i)].centres for i in seen])
    gate = yield from phases.run(FITTING, _ood_job(volume, level, detector, centres, params.seed))
    return Cascade(params.name, (detector, *stages), rule, calibration, metadata, gate)


def _ood_job(volume: Volume, level: Level, detector: Predictor, centres: np.ndarray, seed: int) -> Job[Gate | None]:
    """The out-of-distribution check of a network of ours, fitted to the image; None for others."""
    if not isinstance(detector, TorchPredictor | OpenVinoPredictor):
        return None
    try:
        scaling = detector.card.normalisation.resolve(volume)
        return (yield from source_gate_job(level, scaling, detector, around=centres, seed=seed))
    except InputError:
        return None


def _survey_job(
    volume: Volume,
    level: Level,
    detector: Predictor,
    rule: ObjectRule,
    params: TrainParams,
    stop: Callable[[], bool] | None,
) -> Job[tuple[Survey, Strata]]:
    """Run the detector on places spread over the volume, then on more that resemble those with objects."""
    card = detector.card
    plan = TilePlan(level.shape, card.tile, card.halo)
    pool = candidates(plan, params.seed)
    options = ExecuteOptions(scaling=card.normalisation.resolve(volume), batch=1)
    survey = Survey(level, plan, detector, rule, options, pool, {})
    yield from survey.look_job(spread(pool, TIMED_CALLS, params.seed), TIMED_CALLS, stop)
    calls = _calls(survey, params)
    yield from survey.look_job(spread(pool, calls // 2, params.seed), calls, stop)
    coarse = max(volume.levels, key=lambda other: _near(other, level, card.tile))
    features = yield from features_job(coarse, level, plan, pool)
    seen = survey.seen
    strata = Strata.by(likeness(features, seen, survey.positive(seen)))
    if not (stop is not None and stop()):
        more = strata.more(seen, calls - len(seen), params.seed)
        yield from survey.look_job(more, calls, stop)
    return survey, strata


def _calls(survey: Survey, params: TrainParams) -> int:
    """As many as asked for, or as the budget allows."""
    if params.calls:
        return min(params.calls, len(survey.pool))
    each = survey.seconds / max(1, len(survey.looks))
    allowed = (1 - SHARE) * BUDGETS[params.budget].seconds / max(each, 1e-6)
    return int(min(len(survey.pool), max(LEAST_CALLS, allowed)))


def _near(other: Level, level: Level, tile: Sequence[int]) -> float:
    """How well a level suits comparing places: coarse, but with some 16 voxels across a place."""
    across = min(tile[1] * level.voxel_nm[1] / other.voxel_nm[1], tile[2] * level.voxel_nm[2] / other.voxel_nm[2])
    return -abs(float(np.log2(max(across, 1e-6) / 16)))


def _held_out(survey: Survey, seen: np.ndarray, seed: int) -> np.ndarray:
    """(k,) half of the places, with neighbours on the same side, and objects on both."""
    cells = survey.plan.cells(survey.pool[seen]) // [4, 2, 2]
    _, block = np.unique(cells, axis=0, return_inverse=True)
    positive = np.bincount(block.ravel(), survey.positive(seen)) > 0
    rng, side = np.random.default_rng(seed), np.zeros(len(positive), bool)
    for kind in (True, False):
        side[rng.permutation(np.flatnonzero(positive == kind))[::2]] = True
    return side[block.ravel()]


def _gates_job(
    volume: Volume,
    looks: Sequence[Look],
    cards: Sequence[Any],
    fine: Level,
    params: TrainParams,
    least: int,
    stop: Callable[[], bool] | None,
) -> Job[list[Predictor]]:
    stages: list[Predictor] = []
    names = [f"training level {k}" for k in range(1, len(cards) + 1)]
    phases = Phases(dict.fromkeys(names, 1.0) or {"": 1.0})
    seconds = SHARE * BUDGETS[params.budget].seconds / max(1, len(cards))
    for k, (card, name) in enumerate(zip(cards, names, strict=True), start=1):
        if stop is not None and stop():
            break
        seeded = replace(params, seed=params.seed + k)
        training = train_gate_job(volume, looks, card, fine, seeded, seconds, least, stop)
        stages.append((yield from phases.run(name, training)))
    return stages

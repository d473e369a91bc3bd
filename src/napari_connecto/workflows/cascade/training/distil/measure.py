"""Gates measured on places that they did not learn from: what a detector finds there is the truth."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.search.descent import HighestValue
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.training.distil.looks import Look
from napari_connecto.workflows.cascade.training.distil.places import seen_in


def measure_job(
    volume: Volume,
    plan: TilePlan,
    looks: Sequence[Look],
    weights: np.ndarray,
    stages: Sequence[Predictor],
    detector_s: float,
    least: int,
) -> Job[Calibration]:
    """Scores of all stages at sampled places.

    Parameters
    ----------
    volume, plan
        With all levels; the detector's chunks.
    looks, weights
        Places that no gate learnt from, and how many places each stands for.
    stages
        The detector, then the gates.
    detector_s
        Seconds per call of the detector.
    least
        Voxels of the smallest object.

    Returns
    -------
    Calibration
        Every place has a chunk of its own at every level, with the highest score of those that touch it, as a search
        passes it if one of them passes.
    """
    fine = volume.level_at(stages[0].card.voxel_nm)
    scores, costs, branching = [np.array([look.score for look in looks])], [detector_s], [1.0]
    for k, gate in enumerate(stages[1:], start=1):
        level = volume.level_at(gate.card.voxel_nm)
        found, seconds = yield from _scores_job(volume, level, fine, gate, looks, f"measuring level {k}")
        scores.append(found)
        costs.append(seconds)
        size = np.prod(np.array(gate.card.tile) * level.voxel_nm) / np.prod(np.array(plan.tile) * fine.voxel_nm)
        branching.append(max(1.0, float(size)))
    sizes = np.maximum.accumulate(branching)
    counts = [_objects(look, least) for look in looks]
    n = len(looks)
    return Calibration(
        scores=tuple(scores),
        parents=tuple(np.arange(n) for _ in stages[1:]),
        truth=np.array([look.mask(least).any() for look in looks]),
        objects=np.repeat(np.arange(n), counts),
        cost_s=tuple(costs),
        branching=tuple(float(b) for b in sizes[1:] / sizes[:-1]),
        weights=weights / weights.mean(),
    )


def _objects(look: Look, least: int) -> int:
    """Objects that the place holds, those that end elsewhere included."""
    return int(((look.sizes >= least) | ~look.whole).sum()) if look.mask(least).any() else 0


def _scores_job(
    volume: Volume, level: Level, fine: Level, gate: Predictor, looks: Sequence[Look], name: str
) -> Job[tuple[np.ndarray, float]]:
    """(n,) highest score of the gate's chunks that touch each place, and seconds per chunk."""
    plan = TilePlan(level.shape, gate.card.tile, gate.card.halo)
    touching = [plan.touching([seen_in(level, fine, look.box)]) for look in looks]
    wanted = plan.order(np.unique(np.concatenate(touching)))
    options = ExecuteOptions(scaling=gate.card.normalisation.resolve(volume))
    found: dict[int, float] = {}
    started, sink = time.perf_counter(), HighestValue(gate.card.outputs[0].name)
    for tile, score in execute(level, plan.tiles(wanted), gate, sink, options=options):
        found[tile.index] = score
        yield Progress(len(found), len(wanted), name)
    seconds = (time.perf_counter() - started) / len(wanted)
    return np.array([max(found[i] for i in own.tolist()) for own in touching]), seconds

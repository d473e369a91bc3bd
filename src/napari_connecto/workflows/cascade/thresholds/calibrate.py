"""Measure a cascade's detectors on labelled blocks held out from training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from math import ceil

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.geometry import Box, fvec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import Blocks, check_channels
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.search.descent import HighestValue
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.held_out import HeldOut, judge, measure_held_out
from napari_connecto.workflows.cascade.thresholds.score_curve import ScoreCurve
from napari_connecto.workflows.cascade.thresholds.weaker import curve_of
from napari_connecto.workflows.cascade.training.labelled_region import Examples

COARSE = 0.08
"""Cost of a call of a coarse level relative to one of the finest, measured on the sample cells; for progress only."""
CHOOSING = "choosing the threshold"
CANDIDATES = tuple(round(0.05 * k, 2) for k in range(3, 20))
TIE = 0.02
"""Difference of F1 plus Dice below which two thresholds count as equally good."""
LARGER = (2, 4)
"""Times the smallest size of a mask that are tried too: specks in tissue unlike the objects are no objects."""
LOWER = 4
"""Thresholds below the best one at which parting touching masks is tried too."""


@dataclass(frozen=True)
class BlockGrid:
    """A level's chunks inside the held-out block: a plan of the block, and tiles shifted to the level."""

    level: Level
    block: Box
    plan: TilePlan

    def tiles(self) -> list[Tile]:
        """The chunks, in voxels of the level."""
        offset = self.block.start
        return [Tile(t.index, t.write.shift(offset), t.read.shift(offset)) for t in self.plan]

    def map(self, field: np.ndarray) -> Level:
        """A map of the block, at its position."""
        return Level(field, self.level.voxel_nm, fvec3(self.level.to_nm(self.block.start).tolist()))

    def chunk_at(self, nm: np.ndarray) -> np.ndarray:
        """Chunk index (n,) of world positions (n, 3)."""
        voxel = np.floor(self.level.to_voxels(nm)).astype(int) - self.block.start
        cell = np.clip(voxel, 0, np.array(self.plan.shape) - 1) // self.plan.tile
        return np.ravel_multi_index(tuple(cell.T), self.plan.grid)


@dataclass
class _MapInMemory:
    """Sink: store the quantised map of the held-out block, return the score."""

    array: np.ndarray
    start: Sequence[int]
    output: str

    def __call__(self, tile: Tile, blocks: Blocks) -> float:
        block = np.rint(np.clip(blocks[self.output], 0, 1) * 255).astype(np.uint8)
        self.array[tile.write.shift([-s for s in self.start]).slices] = block
        return float(block.max()) / 255


def calibrate_job(
    volume: Volume,
    examples: Examples,
    measured: Box,
    stages: tuple[Predictor, ...],
    rule: ObjectRule,
    *,
    prefer: bool = False,
) -> Job[tuple[Calibration, ObjectRule]]:
    """Run every stage on every chunk of the measured block.

    Parameters
    ----------
    volume, examples
        Image and truth.
    measured
        In voxels of ``examples.target``.
    stages
        Finest first.
    rule
        Its threshold is replaced by the best one on the block (`best_rule`), with all labelled objects counted,
        including those below the minimum size.
    prefer
        Keep the rule's threshold unless another one is better on the block.

    Returns
    -------
    calibration, rule
        Input of `choose_thresholds`, and the rule with its threshold.
    """
    grids = [block_grid(volume, examples, measured, stage.card) for stage in stages]
    scores, costs = [], []
    names, calls = [f"measuring level {k}" for k in range(len(grids))], [float(len(grid.plan)) for grid in grids]
    work = {name: n * (1.0 if k == 0 else COARSE) for k, (name, n) in enumerate(zip(names, calls, strict=True))}
    phases = Phases(work | {CHOOSING: calls[0] / 2})
    field = np.zeros(grids[0].block.shape, np.uint8)
    for k, (grid, stage) in enumerate(zip(grids, stages, strict=True)):
        started = time.perf_counter()
        scoring = _scores_job(volume, grid, stage, field if k == 0 else None, names[k])
        scores.append((yield from phases.run(names[k], scoring)))
        costs.append((time.perf_counter() - started) / len(grid.plan))
    centres = examples.centres_nm[examples.inside(measured)]
    choosing = partial(best_rule, grids[0], field, rule, centres, examples, prefer=prefer)
    rule, held_out, curve = yield from phases.call(CHOOSING, choosing)
    calibration = Calibration(
        scores=tuple(scores),
        parents=tuple(_parents(fine, coarse) for fine, coarse in pairwise(grids)),
        truth=_truth(examples, grids[0]),
        objects=grids[0].chunk_at(centres),
        cost_s=tuple(costs),
        branching=tuple(_branching(fine, coarse) for fine, coarse in pairwise(grids)),
        held_out=held_out,
        score_curve=curve,
        judged=_judged(examples, grids[0]),
        grids=tuple(grid.plan.grid for grid in grids),
    )
    return calibration, rule


def measured_job(
    volume: Volume, examples: Examples, measured: Box, stage: Predictor, rule: ObjectRule
) -> Job[tuple[HeldOut, ScoreCurve]]:
    """Recall of the finest stage of any cascade on the labelled objects in the held-out block, by its own rule."""
    grid = block_grid(volume, examples, measured, stage.card)
    check_channels(grid.level, stage.card)
    field = np.zeros(grid.block.shape, np.uint8)
    yield from _scores_job(volume, grid, stage, field, "measuring the previous cascade")
    return held_out_of(grid, field, rule, examples.centres_nm[examples.inside(measured)], examples)


def _scores_job(
    volume: Volume, grid: BlockGrid, stage: Predictor, field: np.ndarray | None, name: str
) -> Job[np.ndarray]:
    """Scores (n,) of all chunks of a block; the map is written to ``field``, if given."""
    output = stage.card.outputs[0].name
    sink = HighestValue(output) if field is None else _MapInMemory(field, grid.block.start, output)
    options = ExecuteOptions(scaling=stage.card.normalisation.resolve(volume))
    found = np.zeros(len(grid.plan))
    for n, (tile, score) in enumerate(execute(grid.level, grid.tiles(), stage, sink, options=options), start=1):
        found[tile.index] = score
        yield Progress(n, len(grid.plan), name)
    return found


def block_grid(volume: Volume, examples: Examples, measured: Box, card: ModelCard) -> BlockGrid:
    """The chunks of a card's level inside a block, in voxels of ``examples.target``."""
    level = volume.level_at(card.voxel_nm)
    block = examples.target.box_in(measured, level).clip(examples.region(level))
    return BlockGrid(level, block, TilePlan(block.shape, card.tile, card.halo))


def _branching(fine: BlockGrid, coarse: BlockGrid) -> float:
    """Children per parent, away from borders."""
    voxels = np.prod(np.rint(coarse.level.factor_to(fine.level)))
    return max(1.0, float(voxels * np.prod(coarse.plan.tile) / np.prod(fine.plan.tile)))


def _parents(fine: BlockGrid, coarse: BlockGrid) -> np.ndarray:
    middles = np.array([tile.write.centre for tile in fine.tiles()])
    return coarse.chunk_at(fine.level.to_nm(middles))


def _truth(examples: Examples, grid: BlockGrid) -> np.ndarray:
    """(n,) whether a chunk holds a part of an object."""
    target, box = examples.on(grid.level)
    own = [tile.write.shift([-s for s in box.start]).slices for tile in grid.tiles()]
    return np.array([bool((target[slices] >= 128).any()) for slices in own])


def _judged(examples: Examples, grid: BlockGrid) -> np.ndarray | None:
    """(n,) whether all of a chunk is labelled; None where all chunks are."""
    target, box = examples.on(grid.level)
    known = examples.known_on(grid.level, target)
    if known is None:
        return None
    return np.array([bool(known[tile.write.shift([-s for s in box.start]).slices].all()) for tile in grid.tiles()])


def best_rule(
    grid: BlockGrid,
    field: np.ndarray,
    rule: ObjectRule,
    centres_nm: np.ndarray,
    examples: Examples,
    *,
    prefer: bool,
    most: int = len(CANDIDATES),
) -> tuple[ObjectRule, HeldOut, ScoreCurve]:
    """Of `CANDIDATES` the best threshold, parting touching masks or not; and what it finds.

    Of those that are as good but for chance the one nearest to 0.5: on new images high and low ones do worse. Chance is
    one object of those labelled here, and at least `TIE`: two objects cannot say that 0.95 is better than 0.5.
    Best for centres is the objects' F1; for masks the mean of that and of the voxels' Dice: a mask of half an object
    finds it and does not draw it. Of masks only the ``most`` thresholds of highest Dice are tried: where that is low,
    a map holds thousands of specks, which take minutes to extract.
    """
    level, everything = grid.map(field), np.arange(len(grid.plan))
    dice = dice_at(grid, field, examples, CANDIDATES) if rule.head == "masks" else np.zeros(len(CANDIDATES))

    def worth(candidate: ObjectRule) -> float:
        f1 = judge(find_objects(level, grid.plan, everything, candidate), centres_nm, examples).f1
        return f1 + float(dice[CANDIDATES.index(candidate.threshold)])

    wanted, chance = rule.threshold if prefer else 0.5, max(TIE, 1 / max(1, len(centres_nm)))
    rules = [replace(rule, threshold=threshold, split_nm=0.0) for threshold in CANDIDATES]
    tried = rules if rule.head == "centres" else [rules[k] for k in np.sort(np.argsort(-dice, kind="stable")[:most])]
    chosen, best = _best(tried, worth, wanted, chance)
    if rule.split_nm:
        k = CANDIDATES.index(chosen.threshold)  # objects that are parted may be drawn wider
        near = [one for one in rules[max(0, k - LOWER) : k + 1] if one in tried]
        split, value = _best([replace(one, split_nm=rule.split_nm) for one in near], worth, wanted, chance)
        chosen = split if value > best + chance else chosen
    if rule.head == "masks":
        larger = [replace(chosen, min_voxels=chosen.min_voxels * times) for times in LARGER]
        chosen = _without_specks(chosen, larger, worth)
    return chosen, *held_out_of(grid, field, chosen, centres_nm, examples)


def _without_specks(rule: ObjectRule, larger: list[ObjectRule], worth: Callable[[ObjectRule], float]) -> ObjectRule:
    """The rule, or the first of ``larger`` smallest sizes that is as good as the best of them, if that is better."""
    values = [worth(r) for r in (rule, *larger)]
    if max(values) <= values[0] + TIE:
        return rule
    return next(r for r, value in zip((rule, *larger), values, strict=True) if value >= max(values) - TIE)


def _best(
    rules: list[ObjectRule], worth: Callable[[ObjectRule], float], wanted: float, chance: float
) -> tuple[ObjectRule, float]:
    """Of the rules that are as good as the best but for ``chance`` the one nearest ``wanted``; its worth."""
    values = [worth(rule) for rule in rules]
    good = [k for k, value in enumerate(values) if value >= max(values) - chance]
    k = min(good, key=lambda k: abs(rules[k].threshold - wanted))
    return rules[k], values[k]


def dice_at(grid: BlockGrid, field: np.ndarray, examples: Examples, thresholds: Sequence[float]) -> np.ndarray:
    """Voxel overlap of map and labels at each threshold, where the labels say what is there."""
    share, box = examples.share_on(grid.level)
    own = grid.block.shift([-s for s in box.start]).slices
    object_there, known = share[own] >= 128, examples.known_on(grid.level, share)
    judged = np.ones(field.shape, bool) if known is None else known[own]
    there = np.bincount(field[object_there & judged], minlength=256)[::-1].cumsum()[::-1]
    everything = np.bincount(field[judged], minlength=256)[::-1].cumsum()[::-1]
    least = [max(1, ceil(threshold * 255 - 1e-6)) for threshold in thresholds]
    return np.asarray(2 * there[least] / np.maximum(1, everything[least] + there[0]))


def held_out_of(
    grid: BlockGrid, field: np.ndarray, rule: ObjectRule, centres_nm: np.ndarray, examples: Examples
) -> tuple[HeldOut, ScoreCurve]:
    """What a rule finds on the map of a block, and how its scores rank what is found."""
    held_out, found, judged = measure_held_out(grid.map(field), grid.plan, rule, centres_nm, examples)
    if rule.head == "masks":
        held_out = replace(held_out, dice=float(dice_at(grid, field, examples, [rule.threshold])[0]))
    return held_out, curve_of(grid.map(field), grid.plan, rule, found, judged, centres_nm, examples)

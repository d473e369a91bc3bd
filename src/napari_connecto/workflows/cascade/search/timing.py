"""Time the stages of a cascade on this machine, with the card's tile and with larger ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from math import inf, prod

import numpy as np

from napari_connecto.compute.trial import Trial, choose_batch
from napari_connecto.core.errors import ChunkError, ConnectoError, VoxelSizeError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.search.averaged import Averaged
from napari_connecto.workflows.cascade.search.calls import grouped
from napari_connecto.workflows.cascade.search.keeping import keeping_seconds
from napari_connecto.workflows.cascade.search.some_maps import some_maps
from napari_connecto.workflows.cascade.search.timed_before import keep_timings, timed_before
from napari_connecto.workflows.cascade.thresholds.prices import ONE, Price, Timings, calibrated
from napari_connecto.workflows.shared.region import region_in

TIMING = "timing the levels"
WORTH_A_TRIAL = 200
"""Number of chunks from which timing pays off."""
WORTH_LARGER = 0.02
"""A stage is timed with larger tiles if it takes at least this share of an exhaustive search when run everywhere."""
GAIN = 0.97
"""Cost per chunk, relative to the next smaller tile, from which still larger ones are tried."""
LONGEST_S = 1.0
"""Seconds of a call at most: one under way is finished when a search is cancelled."""
SAME = 1 / 255
"""By how much answers may depend on the tile: a step of the stored map."""


def worth_timing(volume: Volume, cascade: Cascade, region: Box | None = None) -> bool:
    """Whether a search (of a region, in voxels of the finest level) takes longer than the timing of its stages."""
    card = cascade.cards[0]
    level = volume.level_at(card.voxel_nm)
    within = region_in(region, volume, level) or level.box
    return len(TilePlan(within.shape, card.tile)) >= WORTH_A_TRIAL


def timings_job(volume: Volume, cascade: Cascade, scalings: Scalings, *, larger: bool = True) -> Job[Timings]:
    """What every stage takes on real tiles of a volume that has all levels, and what a chunk with an object takes.

    Measured once on a machine for a volume and a cascade, so that the same search has the same plan again. A stage
    that cannot be timed (its level is missing or its tiles are damaged) keeps the seconds of its calibration.
    ``larger``: time larger tiles, too.
    """
    cards = [[card.digest, card.tile, card.halo] for card in cascade.cards]
    runs = [[type(stage).__name__, str(getattr(stage, "device", ""))] for stage in cascade.stages]
    what = [volume.outline(), cards, runs, asdict(cascade.rule), larger]
    known = timed_before(what, len(cards))
    if known is None:
        known = yield from _measured_job(volume, cascade, scalings, larger=larger)
        keep_timings(what, known)
    return known


def widened(stage: Predictor, group: Vec3) -> Predictor | None:
    """A stage that takes ``group`` times its tile; None if it takes no other tile."""
    if group == ONE:
        return stage
    make = getattr(stage, "with_tile", None)
    if make is None:
        return None
    try:
        wide: Predictor = make(vec3([t * g for t, g in zip(stage.card.tile, group, strict=True)]))
    except ConnectoError:
        return None
    return wide


def larger_groups(tile: Vec3, grid: Vec3) -> Iterator[Vec3]:
    """Groups of chunks worth trying for one call, at most as many as there are along each axis."""
    wanted = [(1, 2, 2), (1, 4, 4)] if tile[0] == 1 else [(1, 2, 2), (2, 2, 2), (2, 4, 4)]
    before = ONE
    for group in wanted:
        fitting = vec3([min(g, n) for g, n in zip(group, grid, strict=True)])
        if fitting != before:
            yield fitting
        before = fitting


def _measured_job(volume: Volume, cascade: Cascade, scalings: Scalings, *, larger: bool) -> Job[Timings]:
    prices: list[tuple[Price, ...]] = []
    trials: list[Trial | None] = []
    exhaustive_s, block = 0.0, None
    for stage, known in zip(cascade.stages, calibrated(cascade.calibration), strict=True):
        ways, trial = known, None
        with suppress(ChunkError, VoxelSizeError):
            level, plan = _timed_on(volume, stage, block)
            worth_s = WORTH_LARGER * exhaustive_s if larger else inf
            ways, trial = yield from _ways_job(level, plan, stage, scalings.of(stage.card), worth_s)
            block = trial.blocks[0]
            exhaustive_s = exhaustive_s or len(plan) * min(price.chunk_s for price in ways)
        prices.append(ways)
        trials.append(trial)
    finest, trial = cascade.stages[0], trials[0]
    level = volume.level_at(finest.card.voxel_nm)  # its own, made or not: masks are drawn on a finer grid than that
    maps = [] if trial is None else some_maps(volume, finest, scalings.of(finest.card), trial)
    kept = keeping_seconds(volume, level, TilePlan(level.shape, finest.card.tile), cascade.rule, maps)
    return Timings(tuple(prices), *kept)


def _timed_on(volume: Volume, stage: Predictor, block: np.ndarray | None = None) -> tuple[Level, TilePlan]:
    """Its level; for one that is not made yet, what a finer stage read: the network takes as long for any voxels."""
    level = volume.level_at(stage.card.voxel_nm)
    plan = TilePlan(level.shape, stage.card.tile, stage.card.halo)
    if not isinstance(level.array, Averaged):
        return level, plan
    return (volume.levels[0] if block is None else Level(block, level.voxel_nm)), plan


def _ways_job(
    level: Level, plan: TilePlan, stage: Predictor, scaling: Scaling, worth_s: float
) -> Job[tuple[tuple[Price, ...], Trial]]:
    """Prices, and the trial of single chunks. Larger tiles: if all chunks take at least ``worth_s`` seconds."""
    yield Progress(0, 0, TIMING, overall=0.0)
    there = TilePlan(level.shape, plan.tile, plan.halo)
    trial = choose_batch(level, there, stage, scaling, seconds=0.5)
    found = [Price(ONE, trial.tile_s, trial.batch)]
    if len(plan) * trial.tile_s >= worth_s:
        found += yield from _larger_job(level, plan, stage, scaling, trial)
    return tuple(found), trial


def _larger_job(level: Level, plan: TilePlan, stage: Predictor, scaling: Scaling, one: Trial) -> Job[list[Price]]:
    """Prices of larger tiles, as long as they get cheaper per chunk and a call stays short enough to cancel.

    Nothing more is read for them: they are timed on the block of ``one``, and reading takes as long per voxel.
    """
    found: list[Price] = []
    before_s, block = one.tile_s, one.blocks[0]
    for group in larger_groups(plan.tile, plan.grid):
        wide, tiles = widened(stage, group), grouped(plan, group)
        larger = prod(tiles.read_shape) / prod(plan.read_shape)
        call_s = one.tile_s * larger * int(getattr(stage, "calls", 1))
        held = Level(np.resize(block, (len(block), *tiles.tile)), level.voxel_nm)
        if wide is None or call_s > LONGEST_S or not gives_same_answer(held, stage, wide, scaling):
            break
        yield Progress(0, 0, TIMING, overall=0.0)
        there = TilePlan(held.shape, tiles.tile, tiles.halo)
        trial = choose_batch(held, there, wide, scaling, sizes=(1, 2), seconds=0.2)
        seconds = replace(trial, read_s=one.read_s * larger).tile_s
        price = Price(group, seconds, trial.batch, len(tiles) / len(plan))
        if price.chunk_s > GAIN * before_s:
            break
        before_s = price.chunk_s
        found.append(price)
    return found


def gives_same_answer(level: Level, stage: Predictor, wide: Predictor, scaling: Scaling) -> bool:
    """Whether a chunk in the middle of a larger tile is answered as by itself; so where the halo suffices."""
    plan = TilePlan(level.shape, wide.card.tile, wide.card.halo)
    tile = plan[len(plan) // 2]
    block = level.read_padded(tile.read)
    block = scaling(block if block.ndim == 4 else block[None])
    noise = np.random.default_rng(0).random(block.shape, np.float32)  # a dark place would show nothing
    block = block + noise * np.linspace(0, 1, block.shape[-1], dtype=np.float32)  # nor would one that is alike all over
    halo, own = stage.card.halo, stage.card.tile
    start = [(w // t - 1) // 2 * t for w, t in zip(wide.card.tile, own, strict=True)]
    z, y, x = (slice(a, a + t + 2 * h) for a, t, h in zip(start, own, halo, strict=True))
    part = block[..., z, y, x]
    output = stage.card.outputs[0]
    whole = wide(np.stack([block]), [0])[output.name][0]
    alone = stage(np.stack([part]), [0])[output.name][0]
    there, here = [], []
    for a, t, h, trim, stride in zip(start, own, halo, output.trimmed, output.stride, strict=True):
        there.append(slice((a + h - trim) // stride, (a + h - trim + t) // stride))
        here.append(slice((h - trim) // stride, (h - trim + t) // stride))
    return bool(np.abs(whole[tuple(there)] - alone[tuple(here)]).max() <= SAME)

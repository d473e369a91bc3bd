"""Cost of a search before it is run; calls by the formulas of Athey, Sawmya, Shavit, arXiv 2504.21598."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.compute.options import default_batch
from napari_connecto.compute.trial import Trial, choose_batch
from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.geometry import Box, FVec3, Vec3
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Volume
from napari_connecto.io.stores.job_folder import SCRATCH
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.models.inference.device import describe_device
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.audit import best_possible_bound
from napari_connecto.workflows.cascade.search.averaged import Averaged
from napari_connecto.workflows.cascade.search.coarser import MADE_BYTES_S, making_bytes
from napari_connecto.workflows.cascade.search.descent import Step, plan_steps, roots
from napari_connecto.workflows.cascade.search.detect import one_level, with_levels
from napari_connecto.workflows.cascade.search.own_grid import drawing_level
from napari_connecto.workflows.cascade.search.run import MAP
from napari_connecto.workflows.shared.region import inside, region_in
from napari_connecto.workflows.shared.room import room_for, run_bytes

TIMED_WRITES = 5
REMEMBERED = 2**27
"""Largest map that a search keeps in memory, bytes, see `TileMemory`."""


@shown
@dataclass(frozen=True)
class LevelEstimate:
    """One level of a planned search."""

    name: str
    shape: Vec3
    voxel_nm: FVec3
    gb: float
    calls: float
    share: float
    seconds: float


@shown
@dataclass(frozen=True)
class Estimate:
    """Expected cost of a search.

    Parameters
    ----------
    levels
        Coarsest first; ``calls`` are expected calls, ``share`` of all chunks of that level.
    seconds, seconds_exhaustive
        Of the cascade (audit included), and of an exhaustive search, on this machine.
    memory_bytes, disk_bytes
        Peak memory of the process, including everything loaded; upper bound of the disk space, with the map
        uncompressed.
    notes
        Sentences for the user, the most important ones first.
    fits
        False if memory or disk do not suffice; ``notes`` says which.
    """

    levels: tuple[LevelEstimate, ...]
    seconds: float
    seconds_exhaustive: float
    memory_bytes: int
    disk_bytes: int
    device: str
    notes: tuple[str, ...]
    fits: bool

    def lines(self) -> Iterator[str]:
        """The estimate, one sentence per line."""
        for level in self.levels:
            voxel = "x".join(f"{v:g}" for v in level.voxel_nm)
            yield (
                f"{level.name} ({voxel} nm, {level.gb:.3g} GB): about {level.calls:.0f} chunks, "
                f"{level.share:.0%} of it, {seconds_text(level.seconds)}"
            )
        yield f"in all about {seconds_text(self.seconds)}; exhaustive search {seconds_text(self.seconds_exhaustive)}"
        yield f"on {self.device}; memory {self.memory_bytes / 1e9:.2g} GB, disk at most {self.disk_bytes / 1e9:.2g} GB"
        yield from self.notes


def estimate(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams | None = None,
    *,
    region: Box | None = None,
    out: str | Path | None = None,
    trial: bool = True,
) -> Estimate:
    """Expected calls, seconds, memory and disk space of a search, without running it.

    Parameters
    ----------
    volume, cascade, params, region, out
        As in `detect`.
    trial
        Time each level on two real tiles. False: use the seconds per call that were measured when the cascade was
        trained.

    Returns
    -------
    Estimate
        ``seconds``, ``seconds_exhaustive``, ``memory_bytes``, ``disk_bytes``, ``fits``, and per level the expected
        calls and the share of all chunks; ``lines()`` are sentences.

    Raises
    ------
    VoxelSizeError
        If no level is within 25 % of a stage's voxel size.
    InputError
        If ``region`` does not touch the volume.

    Examples
    --------
    >>> cascade = nc.load_cascade(nc.list_cascades()["cells"], device="cpu")
    >>> cost = nc.estimate(nc.open_sample("cells"), cascade, trial=False)
    >>> cost.fits and cost.seconds < cost.seconds_exhaustive
    True
    """
    params = params or DetectParams()
    region = None if region is None else inside(volume, region)
    choice = one_level(cascade) if params.exhaustive else cascade.choose(params.target_recall)
    volume = with_levels(volume, cascade, Path(out) if out is not None else None)
    steps = plan_steps(volume, cascade, choice)
    chunks = len(roots(steps[0], region_in(region, volume, steps[0].level)))
    scalings = Scalings(volume, damaged=params.damaged)
    trials = {step.stage: _trial(volume, step, scalings) if trial else None for step in steps}
    per_call = {k: t.tile_s if t else cascade.calibration.cost_s[k] for k, t in trials.items()}
    write_s = _write_seconds(steps[0]) if trial else 0.0
    kept = float(choice.rates[0].prevalence) * chunks  # chunks whose map is worth keeping, however they are found
    calls = {step.stage: float(chunks) if len(steps) == 1 else choice.calls[step.stage] * chunks for step in steps}
    levels = tuple(_level(step, calls[step.stage], per_call[step.stage]) for step in reversed(steps))
    rejected = max(0, chunks - round(calls[0]))
    audited = min(params.audit, rejected)
    memory = max(_memory(step, trials[step.stage]) for step in steps)
    disk = int(calls[0] * np.prod(steps[0].plan.tile) * (4 / 3) * _bytes_of_voxel(volume, steps[0], cascade))
    made = making_bytes(volume)
    making_s = made / MADE_BYTES_S
    notes, fits = room_for(memory, disk + made, out)
    if making_s >= 1:
        read_gb = volume.levels[0].nbytes / 1e9
        notes.append(
            f"Coarse levels are missing. They are computed first: reads {read_gb:.1f} GB once, takes about "
            f"{seconds_text(making_s)}."
        )
    if len(steps) > 1 and audited:
        bound = best_possible_bound(audited, rejected, max(1, round(choice.rates[0].prevalence * chunks)))
        notes.append(f"The audit of {audited} rejected chunks can show at best that at most {bound:.0%} were missed.")
    return Estimate(
        levels,
        making_s + sum(level.seconds for level in levels) + audited * per_call[0] + kept * write_s,
        chunks * per_call[0] + kept * write_s,
        memory,
        disk + made,
        describe_device(getattr(steps[0].predictor, "device", "cpu")),
        (*notes, choice.reason),
        fits,
    )


def _bytes_of_voxel(volume: Volume, step: Step, cascade: Cascade) -> float:
    """Of a voxel of the finest level in use, uncompressed: the map's byte, and labels where masks are drawn."""
    if cascade.rule.head != "masks":
        return 1.0
    return 1 + 4 * float(np.prod(step.level.voxel_nm) / np.prod(drawing_level(volume, step.level).voxel_nm))


def _trial(volume: Volume, step: Step, scalings: Scalings) -> Trial:
    """Of a level that is not made yet, on tiles of the finest: the network takes as long for any voxels."""
    scaling = scalings.of(step.predictor.card)
    level, plan = step.level, step.plan
    if isinstance(level.array, Averaged):
        level = volume.levels[0]
        plan = TilePlan(level.shape, plan.tile, plan.halo)
    return choose_batch(level, plan, step.predictor, scaling, seconds=0.5)


def _write_seconds(step: Step) -> float:
    """Seconds to keep one chunk's map, timed on a scratch store; two are written at a time."""
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        store = TileStore.open(scratch, step.level, step.plan.tile, {MAP: np.dtype("uint8")})
        tile = step.plan[0]
        block = np.random.default_rng(0).integers(0, 255, tile.write.shape, np.uint8)
        store.write_blocks(tile, {MAP: block})
        started = time.perf_counter()
        for _ in range(TIMED_WRITES):
            store.write_blocks(tile, {MAP: block})
        return (time.perf_counter() - started) / TIMED_WRITES / 2


def _level(step: Step, calls: float, seconds: float) -> LevelEstimate:
    return LevelEstimate(
        step.name,
        step.level.shape,
        step.level.voxel_nm,
        step.level.nbytes / 1e9,
        calls,
        min(1.0, calls / len(step.plan)),
        calls * seconds,
    )


def _memory(step: Step, trial: Trial | None) -> int:
    """Of a stage; maps of the finest are kept in memory too."""
    card = step.predictor.card
    needed = run_bytes(step.level, step.plan, card, trial, trial.batch if trial else default_batch(card))
    return needed + (min(step.level.box.size, REMEMBERED) if step.stage == 0 else 0)

"""Cost of a search before it is run; calls by the formulas of Athey, Sawmya, Shavit, arXiv 2504.21598."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from napari_connecto.compute.options import default_batch
from napari_connecto.compute.trial import choose_batch
from napari_connecto.core.amounts import percent, seconds_text
from napari_connecto.core.geometry import Box, FVec3, Vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.device import describe_device
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.audit import best_possible_bound, chunks_for
from napari_connecto.workflows.cascade.search.averaged import Averaged
from napari_connecto.workflows.cascade.search.calls import grouped
from napari_connecto.workflows.cascade.search.coarser import MAKING, making_bytes
from napari_connecto.workflows.cascade.search.descent import Step
from napari_connecto.workflows.cascade.search.detect import with_levels
from napari_connecto.workflows.cascade.search.own_grid import drawing_level
from napari_connecto.workflows.cascade.search.plan import AUDIT, Plan, make_plan
from napari_connecto.workflows.cascade.search.timing import timings_job, widened
from napari_connecto.workflows.cascade.thresholds.prices import Timings, calibrated
from napari_connecto.workflows.shared.region import inside
from napari_connecto.workflows.shared.room import room_for, run_bytes

REMEMBERED = 2**27
"""Largest map that a search keeps in memory, bytes, see `TileMemory`."""
AIM = 0.05
"""Bound of an audit that is offered where the one asked for shows less."""


@shown
@dataclass(frozen=True)
class LevelEstimate:
    """One level of a planned search: ``calls`` chunks, of which one call covers ``tile``."""

    name: str
    shape: Vec3
    voxel_nm: FVec3
    gb: float
    calls: float
    share: float
    seconds: float
    tile: Vec3


@dataclass(frozen=True)
class AuditOutlook:
    """What the audit can show at best, and what it takes to show that at most `AIM` was missed.

    Parameters
    ----------
    chunks
        Rejected chunks that it re-examines.
    bound
        Share missed that it can rule out if it finds nothing; 95 % confidence.
    needed, more_s
        Chunks that `AIM` takes, and the seconds more; those of this audit, and 0, where it shows as much.
    """

    chunks: int
    bound: float
    needed: int
    more_s: float

    @property
    def sentence(self) -> str:
        """The outlook in words."""
        best = f"can at best show that at most {percent(self.bound)} was missed"
        text = f"The audit of {self.chunks} rejected chunks {best}."
        if self.bound > AIM:
            more = f"{percent(AIM)} takes {self.needed} chunks, {seconds_text(self.more_s)} more"
            text += f" {more}: set the audit bound to {AIM:g}."
        return text


@shown
@dataclass(frozen=True)
class Estimate:
    """Expected cost of a search.

    Parameters
    ----------
    levels
        Coarsest first; ``calls`` are expected calls, ``share`` of all chunks of that level.
    seconds, seconds_exhaustive
        Of the plan (audit included), and of the best exhaustive search, on this machine.
    memory_bytes, disk_bytes
        Peak memory of the process, including everything loaded; upper bound of the disk space, with the map
        uncompressed.
    notes
        Sentences for the user, the most important ones first.
    fits
        False if memory or disk do not suffice; ``notes`` says which.
    exhaustive
        The best exhaustive search: the tile of least time, its calls, what it reads (GB, halos included), its seconds.
    phases
        Seconds by phase: coarse levels, the levels, objects, audit.
    audit
        What the audit can show; None without one.
    """

    levels: tuple[LevelEstimate, ...]
    seconds: float
    seconds_exhaustive: float
    memory_bytes: int
    disk_bytes: int
    device: str
    notes: tuple[str, ...]
    fits: bool
    exhaustive: LevelEstimate
    phases: Mapping[str, float]
    audit: AuditOutlook | None = None

    def lines(self) -> Iterator[str]:
        """The estimate, one sentence per line."""
        for level in self.levels:
            voxel = "x".join(f"{v:g}" for v in level.voxel_nm)
            yield (
                f"{level.name} ({voxel} nm, {level.gb:.3g} GB): about {level.calls:.0f} chunks, "
                f"{percent(level.share)} of it, {seconds_text(level.seconds)}"
            )
        tile = "x".join(map(str, self.exhaustive.tile))
        yield (
            f"about {seconds_text(self.seconds)} in all; the best exhaustive search takes "
            f"{seconds_text(self.seconds_exhaustive)}: {self.exhaustive.calls:.0f} tiles of {tile}, reads "
            f"{self.exhaustive.gb:.3g} GB"
        )
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
    return run(estimate_job(volume, cascade, params, region=region, out=out, trial=trial))


def estimate_job(
    volume: Volume,
    cascade: Cascade,
    params: DetectParams | None = None,
    *,
    region: Box | None = None,
    out: str | Path | None = None,
    trial: bool = True,
) -> Job[Estimate]:
    """`estimate` as a job."""
    params = params or DetectParams()
    region = None if region is None else inside(volume, region)
    volume = with_levels(volume, cascade, Path(out) if out is not None else None)
    scalings = Scalings(volume, damaged=params.damaged)
    timings = Timings(calibrated(cascade.calibration))
    if trial:
        timings = yield from timings_job(volume, cascade, scalings, larger=not params.damaged)
    plan = make_plan(volume, cascade, params, timings, region)
    finest = plan.steps[0]
    memory = max(_memory(step, scalings, trial=trial) for step in plan.steps)
    kept = plan.choice.calls[0] * plan.chunks * np.prod(finest.plan.tile)
    disk = int(kept * (4 / 3) * _bytes_of_voxel(volume, finest, cascade)) + making_bytes(volume)
    notes, fits = room_for(memory, disk, out)
    notes += _notes(volume, plan)
    return Estimate(
        tuple(_level(plan, step) for step in reversed(plan.steps)),
        sum(plan.seconds.values()),
        plan.exhaustive_s,
        memory,
        disk,
        describe_device(getattr(finest.predictor, "device", "cpu")),
        (*notes, plan.choice.reason),
        fits,
        _exhaustive(plan),
        plan.seconds,
        _outlook(plan),
    )


def _exhaustive(plan: Plan) -> LevelEstimate:
    """The best exhaustive search."""
    finest, price = plan.steps[0], plan.exhaustive
    calls = plan.chunks * price.calls
    tile = grouped(finest.plan, price.group).tile
    gb = plan.exhaustive_bytes / 1e9
    level = finest.level
    return LevelEstimate(finest.name, level.shape, level.voxel_nm, gb, calls, 1.0, plan.exhaustive_s, tile)


def _notes(volume: Volume, plan: Plan) -> Iterator[str]:
    if plan.seconds[MAKING] >= 1:
        yield (
            f"Coarse levels are missing. They are computed first: reads {volume.levels[0].nbytes / 1e9:.1f} GB once, "
            f"takes about {seconds_text(plan.seconds[MAKING])}."
        )
    if outlook := _outlook(plan):
        yield outlook.sentence


def _outlook(plan: Plan) -> AuditOutlook | None:
    if not plan.gated or not plan.audit:
        return None
    rejected, holding = plan.chunks - round(plan.choice.calls[0] * plan.chunks), max(1, round(plan.holding))
    bound = best_possible_bound(plan.audit, rejected, holding)
    if bound <= AIM:
        return AuditOutlook(plan.audit, bound, plan.audit, 0.0)
    needed = chunks_for(AIM, rejected, holding)
    return AuditOutlook(plan.audit, bound, needed, (needed - plan.audit) * plan.seconds[AUDIT] / plan.audit)


def _bytes_of_voxel(volume: Volume, step: Step, cascade: Cascade) -> float:
    """Of a voxel of the finest level in use, uncompressed: the map's byte, and labels where masks are drawn."""
    if cascade.rule.head != "masks":
        return 1.0
    return 1 + 4 * float(np.prod(step.level.voxel_nm) / np.prod(drawing_level(volume, step.level).voxel_nm))


def _level(plan: Plan, step: Step) -> LevelEstimate:
    calls = plan.choice.calls[step.stage] * plan.chunks if plan.gated else float(plan.chunks)
    return LevelEstimate(
        step.name,
        step.level.shape,
        step.level.voxel_nm,
        step.level.nbytes / 1e9,
        calls,
        min(1.0, calls / len(step.plan)),
        plan.seconds[step.name],
        grouped(step.plan, step.group).tile,
    )


def _memory(step: Step, scalings: Scalings, *, trial: bool) -> int:
    """Of a stage, by a call on a real tile where ``trial``; maps of the finest are kept in memory too."""
    predictor = widened(step.predictor, step.group) or step.predictor
    plan, card, batch = grouped(step.plan, step.group), predictor.card, step.batch or default_batch(predictor.card)
    tried = None
    if trial and not isinstance(step.level.array, Averaged):
        tried = choose_batch(step.level, plan, predictor, scalings.of(card), sizes=(batch,), seconds=0)
    needed = run_bytes(step.level, plan, card, tried, batch)
    return needed + (min(step.level.box.size, REMEMBERED) if step.stage == 0 else 0)

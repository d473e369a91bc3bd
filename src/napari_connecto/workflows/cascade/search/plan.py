"""Plan of a search: the levels, thresholds and tiles of least expected time, and what that time is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.audit import chunks_for
from napari_connecto.workflows.cascade.search.averaged import Averaged
from napari_connecto.workflows.cascade.search.coarser import MADE_BYTES_S, MAKING
from napari_connecto.workflows.cascade.search.descent import Step, plan_steps, roots
from napari_connecto.workflows.cascade.thresholds.choose import Choice, choose_thresholds, exhaustive_choice
from napari_connecto.workflows.cascade.thresholds.prices import Price, Timings, exhaustive_price
from napari_connecto.workflows.shared.region import region_in

OBJECTS, AUDIT = "objects", "audit"


@dataclass(frozen=True)
class Plan:
    """A planned search.

    Parameters
    ----------
    choice, steps
        Levels and thresholds, and the levels on a volume, finest first.
    chunks
        Level-0 chunks to search.
    holding
        Of these, the expected number that hold an object.
    audit
        Expected number of rejected chunks to re-examine.
    seconds
        Expected, by phase: coarse levels, "level 2", ..., "level 0", "objects", "audit".
    exhaustive, exhaustive_s
        The best exhaustive search: how its calls are made, and its expected seconds, storing and drawing included,
        and coarse levels where its own has to be computed.
    """

    choice: Choice
    steps: tuple[Step, ...]
    chunks: int
    holding: float
    audit: int
    seconds: Mapping[str, float]
    exhaustive: Price
    exhaustive_s: float

    @property
    def gated(self) -> bool:
        """Whether it is a cascade."""
        return len(self.steps) > 1

    @property
    def exhaustive_bytes(self) -> float:
        """What the best exhaustive search reads, halos included."""
        step = self.steps[0]
        read = [t * g + 2 * h for t, g, h in zip(step.plan.tile, self.exhaustive.group, step.plan.halo, strict=True)]
        voxels = self.chunks * self.exhaustive.calls * prod(read)
        return voxels * step.level.dtype.itemsize * (step.level.channels or 1)


def make_plan(
    volume: Volume, cascade: Cascade, params: DetectParams, timings: Timings, region: Box | None = None
) -> Plan:
    """The plan of least expected time among cascades and the finest level alone.

    A coarser level alone is none of them: only the finest stage draws objects.

    Parameters
    ----------
    volume, cascade, params
        As in `detect`; the volume with a level for every stage, see `with_levels`.
    timings
        What each stage takes on this machine.
    region
        Part to search, in voxels of the finest level.

    Raises
    ------
    VoxelSizeError, InputError
        See `plan_steps`.
    """
    calibration, threshold, prices = cascade.calibration, cascade.rule.threshold, timings.prices
    alone = exhaustive_choice(calibration, threshold, prices)
    (finest,) = plan_steps(volume, cascade, alone)
    chunks = len(roots(finest, region_in(region, volume, finest.level)))
    holding = float(alone.rates[0].prevalence) * chunks
    share = 1.0 if region is None else region.size / volume.levels[0].box.size
    base_s = share * making_s(volume, (finest,))
    if params.exhaustive:
        choice = alone
    else:
        audit = _audit(params, chunks, holding)
        made_s = share * making_s(volume, None) - base_s
        choice = choose_thresholds(
            calibration,
            params.target_recall,
            threshold=threshold,
            finder=cascade.detector or "level 0",
            prices=prices,
            extra_s=(audit * prices[0][0].seconds + made_s) / chunks,
            always=params.force_cascade,
        )
    steps = plan_steps(volume, cascade, choice)
    gated = len(steps) > 1
    audit = _audit(params, max(0, chunks - round(choice.calls[0] * chunks)), holding) if gated else 0
    seconds = {MAKING: share * making_s(volume, steps)}
    seconds |= {step.name: chunks * choice.level_s[step.stage] for step in reversed(steps)}
    seconds[finest.name] += holding * timings.write_s
    seconds |= {OBJECTS: holding * timings.object_s, AUDIT: audit * prices[0][0].seconds}
    best = exhaustive_price(prices)
    kept_s = holding * (timings.write_s + timings.object_s)
    return Plan(choice, steps, chunks, holding, audit, seconds, best, chunks * best.chunk_s + base_s + kept_s)


def making_s(volume: Volume, steps: tuple[Step, ...] | None) -> float:
    """Seconds to compute the missing levels that these steps read (None: all that are missing), and those between."""
    computed = [level for level in volume.levels if isinstance(level.array, Averaged)]
    if steps is not None:
        read = [prod(step.level.voxel_nm) for step in steps if isinstance(step.level.array, Averaged)]
        computed = [level for level in computed if prod(level.voxel_nm) <= max(read, default=0.0) * (1 + 1e-9)]
    return sum(level.nbytes for level in computed) / MADE_BYTES_S


def _audit(params: DetectParams, rejected: int, holding: float) -> int:
    """Chunks of the audit, at most all that are rejected."""
    return min(rejected, params.audit_size(lambda bound: chunks_for(bound, rejected, max(1, round(holding)))))

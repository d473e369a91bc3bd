"""The audit of a search: rejected chunks that are run through its finest level after all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.predict import Blocks
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.search.audit import Audit, audit_bound, audit_sample, chunks_for
from napari_connecto.workflows.cascade.search.descent import Step, passing, roots
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.search.run import Search
from napari_connecto.workflows.cascade.thresholds.prices import ONE
from napari_connecto.workflows.shared.region import region_in


@dataclass(frozen=True)
class HoldsObject:
    """Sink of the audit: the chunk's score if enough of it is above the threshold for part of an object, else 0."""

    output: str
    threshold: float
    least_voxels: int

    def __call__(self, tile: Tile, blocks: Blocks) -> float:
        block = np.rint(np.clip(blocks[self.output], 0, 1) * 255)
        enough = np.count_nonzero(block >= self.threshold * 255) >= self.least_voxels
        return float(block.max()) / 255 if enough else 0.0


def audit_job(search: Search, region: Box | None, found: Detections) -> Job[Audit]:
    """Run a sample of the rejected chunks through the finest level, for a bound on the objects missed."""
    step = search.steps[0]
    everything = roots(step, region_in(region, search.volume, step.level))
    rejected = np.setdiff1d(everything, search.seen[0])
    of_found = step.plan.touching(_around(found, step.plan))
    holding = len(np.intersect1d(of_found, search.seen[0]))
    size = search.params.audit_size(lambda bound: chunks_for(bound, len(rejected), holding))
    sample = audit_sample(rejected, _closeness(search, rejected), size, search.params.seed)
    sink = HoldsObject(step.predictor.card.outputs[0].name, search.rule.threshold, least_part(step, search.rule))
    single = replace(step, group=ONE, batch=0)
    for done, _, _ in search.run_chunks(single, sample.chunks, sink, search.audited, "audit"):
        yield Progress(done, len(sample.chunks), "audit")
    known = search.audited.indices()  # skipped damaged chunks give no information
    near, random = np.intersect1d(sample.near, known), np.intersect1d(sample.random, known)
    lost_near, lost_random = (
        len(np.setdiff1d(passing(chunks, search.audited.known, search.rule.threshold), of_found))
        for chunks in (near, random)
    )
    counts = (lost_near + lost_random, len(near) + len(random), len(rejected), holding)
    return audit_bound(*counts, near=len(near), near_positives=lost_near)


def _closeness(search: Search, rejected: np.ndarray) -> np.ndarray:
    """(n,) of rejected chunks, the score on the level that rejected each, relative to that level's threshold."""
    closest = np.full(len(rejected), np.inf)
    for step in search.steps[1:]:
        scores = np.full(len(step.plan), np.nan)
        scores[search.scores[step.stage].indices()] = list(search.scores[step.stage].known.values())
        ratio = scores[_chunks_above(search.steps[0], rejected, step)] / max(step.threshold, 1e-9)
        closest = np.fmin(closest, ratio)
    return np.where(np.isfinite(closest), closest, 0.0)


def least_part(step: Step, rule: ObjectRule) -> int:
    """Voxels of the smallest accepted object in one chunk: all, or fewer if it spans several thin chunks."""
    if rule.head == "centres":
        return 1
    if rule.flat or step.plan.shape[0] == 1:
        return max(1, rule.min_voxels)
    depth = step.plan.tile[0] * step.level.voxel_nm[0]
    return max(1, round(rule.min_voxels * min(1.0, depth / rule.diameter_nm)))


def _chunks_above(finest: Step, chunks: np.ndarray, step: Step) -> np.ndarray:
    """(n,) the chunk of a coarser step in which the middle of each chunk of the finest lies."""
    middle = finest.level.to_nm((finest.plan.cells(chunks) + 0.5) * finest.plan.tile)
    voxel = np.clip(np.floor(step.level.to_voxels(middle)).astype(np.int64), 0, np.array(step.plan.shape) - 1)
    above: np.ndarray = np.ravel_multi_index(tuple((voxel // step.plan.tile).T), step.plan.grid)
    return above


def _around(found: Detections, plan: TilePlan) -> Iterator[Box]:
    """Boxes of found objects, one voxel wider: a rejected chunk with only the rim of a found object misses nothing."""
    for row in found.box:
        yield Box.from_row(row).grow((1, 1, 1)).clip(plan.shape)

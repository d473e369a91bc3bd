"""One run of a cascade: chunks classified and passed on each level, and their cost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod
from typing import Any

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions, Meter, default_batch
from napari_connecto.compute.trial import choose_batch
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.model import Scaling
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import Blocks
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import storing
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.calls import EachChunk, calls
from napari_connecto.workflows.cascade.search.costs import Costs
from napari_connecto.workflows.cascade.search.descent import HighestValue, Scores, Step, children, passing, roots
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.own_grid import drawing_level, is_coarser, own_plan, refined
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.search.seen import only
from napari_connecto.workflows.cascade.search.tile_memory import TileMemory
from napari_connecto.workflows.cascade.search.timing import WORTH_A_TRIAL, widened
from napari_connecto.workflows.cascade.thresholds.prices import ONE
from napari_connecto.workflows.cascade.thresholds.score_curve import ScoreCurve
from napari_connecto.workflows.shared.region import region_in

MAP, LABELS, BATCHES, REPORT = "probability", "labels", "batches.json", "report.json"
"""The report is written last: a folder without it holds no finished search."""
WORKING = "working labels"
"""Folder of the objects on the grid of the finest level in use, until they are drawn on the image's own grid."""
WRITERS = 4
FLOOR = 0.1
"""Maps of chunks that never reach this probability are not stored."""


@dataclass(frozen=True)
class KeepMap:
    """Sink of the finest level: store the quantised map if it holds anything, return the chunk's score."""

    store: TileStore
    output: str
    memory: TileMemory | None = None

    def __call__(self, tile: Tile, blocks: Blocks) -> float:
        block = np.rint(np.clip(blocks[self.output], 0, 1) * 255).astype(np.uint8)
        score = float(block.max()) / 255
        if score >= FLOOR:
            self.store.write_blocks(tile, {MAP: block})
        if self.memory is not None:
            self.memory.remember(tile.index, block if score >= FLOOR else None)
        return score


@dataclass
class Search:
    """The state of one run; everything that must survive it is in the job's folder.

    Parameters
    ----------
    steps
        Levels used, finest first.
    rule
        How objects are extracted from the finest map.
    scalings
        Intensity scalings of the volume.
    params
        Say what to do with damaged chunks, and how many tiles a forward pass takes.
    client
        Client of a Dask cluster; None for this process.
    live
        Report objects as chunks are finished, for a viewer.
    score_curve
        Turns raw scores into probabilities; None leaves them.
    seen, passed
        Chunk indices per stage: classified, and passed.
    """

    volume: Volume
    steps: tuple[Step, ...]
    rule: ObjectRule
    job: JobFolder
    scalings: Scalings
    params: DetectParams
    score_curve: ScoreCurve | None = None
    client: Any = None
    live: bool = False
    seen: dict[int, np.ndarray] = field(default_factory=dict)
    passed: dict[int, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        finest = self.steps[0]
        self.scores = {step.stage: Scores.open(self.job.path / f"scores_{step.stage}.bin") for step in self.steps}
        self.batches = self.job.read_json(BATCHES) if (self.job.path / BATCHES).exists() else {}
        self.costs = Costs.open(self.job)
        self.audited = Scores.open(self.job.path / "scores_audit.bin")
        self.store = TileStore.open(self.job.path / "map", finest.level, finest.plan.tile, {MAP: np.dtype("uint8")})
        stored = self.store.volume(MAP).levels[0]
        self.memory = TileMemory(stored.array, finest.plan)
        self.map: Level = replace(stored, array=self.memory)

    def descend(self, region: Box | None) -> Job[None]:
        """Coarsest level to finest; each level scores the children of what passed above it."""
        above: Step | None = None
        passed = np.empty(0, np.int64)
        phases = Phases({step.name: step.work for step in reversed(self.steps)})
        for step in reversed(self.steps):
            within = region_in(region, self.volume, step.level)
            indices = roots(step, within) if above is None else children(above, passed, step, within)
            yield from phases.run(step.name, self._score(step, indices))
            passed = passing(indices, self.scores[step.stage].known, step.threshold)
            self.seen[step.stage], self.passed[step.stage] = indices, passed
            above = step

    def _score(self, step: Step, indices: np.ndarray) -> Job[None]:
        output = step.predictor.card.outputs[0].name
        here = self.memory if self.client is None else None  # workers do not share it
        sink = KeepMap(self.store, output, here) if step.stage == 0 else HighestValue(output)
        for done, tile, score in self.run_chunks(step, indices, sink, self.scores[step.stage], step.name):
            fresh = None
            if self.live and step.stage == 0 and tile is not None and score >= self.rule.threshold:
                fresh = self.scored(find_objects(self.map, step.plan, [tile.index], self.rule))
            yield Progress(done, len(indices), step.name, fresh)

    def run_chunks(
        self, step: Step, indices: np.ndarray, sink: Any, scores: Scores, label: str
    ) -> Iterator[tuple[int, Tile | None, float]]:
        """Run the chunks that have no score yet; yields the number finished, and the chunk just scored."""
        todo = np.setdiff1d(indices, scores.indices())
        done = len(indices) - len(todo)
        yield done, None, 0.0
        if not len(todo):
            return
        scaling = self.scalings.of(step.predictor.card)
        batch = self._batch(step, scaling, len(todo))
        meter = Meter()
        options = ExecuteOptions(scaling, batch, self.params.on_bad_chunk, meter=meter)
        each = EachChunk(step.plan, step.predictor.card.outputs[0], sink)
        predictor = widened(step.predictor, step.group) or step.predictor
        tiles = calls(step.plan, step.group, todo)
        results = execute(step.level, tiles, predictor, each, options=options, client=self.client)
        try:
            with closing(self.costs.counted(label, results, meter)) as counted:
                for _, chunks in counted:
                    for index, score in chunks:
                        scores.add(index, score)
                        done += 1
                        yield done, step.plan[index], score
        finally:
            scores.flush()
        yield len(indices), None, 0.0  # skipped damaged chunks count as finished

    def _batch(self, step: Step, scaling: Scaling, chunks: int) -> int:
        """Tiles per forward pass: as requested, else as when the job began (bits may depend on it), else timed."""
        if self.params.batch is not None:
            return self.params.batch
        name = step.name if step.group == ONE else f"{step.name}, {prod(step.group)} chunks"
        if name not in self.batches:
            card = step.predictor.card
            timed = chunks >= WORTH_A_TRIAL and step.group == ONE and not step.batch
            self.batches[name] = (
                choose_batch(step.level, step.plan, step.predictor, scaling, seconds=1.0).batch
                if timed
                else step.batch or default_batch(card)
            )
            self.job.write_json(BATCHES, self.batches)
        return int(self.batches[name])

    def objects(self) -> Job[Detections]:
        """Objects in all chunks classified at the finest level; masks are written as labels beside the map."""
        step = self.steps[0]
        tiles = np.sort(passing(self.seen[0], self.scores[0].known, FLOOR))
        yield Progress(0, len(tiles), "objects")
        with storing(self.job.path):
            (self.job.path / REPORT).unlink(missing_ok=True)  # of a run with another threshold
        if self.rule.head == "centres":
            found = find_objects(only(self.map, step.plan, self.seen[0]), step.plan, tiles, self.rule)
            yield Progress(len(tiles), len(tiles), "objects")
            return self.scored(replace(found, chunks=self.seen[0]))
        finder = MaskFinder(self.map, step.plan, self.rule)
        found = finder.find(tiles)
        own, drawn = drawing_level(self.volume, step.level), finder.relabelled(tiles)
        if is_coarser(step.level, own):
            phases = Phases({WORKING: 1, LABELS: 4})
            working = yield from phases.run(WORKING, self._labels(WORKING, step.level, step.plan, drawn, len(tiles)))
            plan, boxes = own_plan(step.level, own, step.plan.tile), map(Box.from_row, found.box)
            ids = working.volume("objects").levels[0]
            drawn = refined(self.map, ids, own, plan, boxes, self.rule.threshold)
            labels = yield from phases.run(LABELS, self._labels(LABELS, own, plan, drawn, len(tiles)))
            shutil.rmtree(self.job.path / WORKING, ignore_errors=True)
        else:
            labels = yield from self._labels(LABELS, step.level, step.plan, drawn, len(tiles))
        return self.scored(replace(found, chunks=self.seen[0], labels=labels.volume("objects")))

    def _labels(
        self, name: str, level: Level, plan: TilePlan, blocks: Iterator[tuple[Tile, np.ndarray]], about: int
    ) -> Job[TileStore]:
        """Write tiles of ids, ``about`` so many, into a folder of the job, instead of those of an earlier run."""
        shutil.rmtree(self.job.path / name, ignore_errors=True)
        store = TileStore.open(self.job.path / name, level, plan.tile, {"objects": np.dtype("uint32")})
        for n in _write_labels(store, blocks):
            yield Progress(min(n, about), about, "objects")
        return store

    def scored(self, found: Detections) -> Detections:
        """The objects with scores that are probabilities, where these were measured."""
        return found if self.score_curve is None else replace(found, score=self.score_curve(found.score))


def _write_labels(store: TileStore, blocks: Iterator[tuple[Tile, np.ndarray]]) -> Iterator[int]:
    """Write those that hold anything, a few at a time, because each waits for the disk; yields the number done."""
    done = 0
    with ThreadPoolExecutor(WRITERS, "labels") as pool:
        while group := list(islice(blocks, 4 * WRITERS)):
            writes = [pool.submit(store.write_blocks, tile, {"objects": b}) for tile, b in group if b.any()]
            for write in writes:
                write.result()
            done += len(group)
            yield done

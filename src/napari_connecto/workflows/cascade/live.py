"""A search that follows the view: coarse levels everywhere in it, finer ones where they may hold something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from napari_connecto.compute.lazy import Tiles
from napari_connecto.compute.live.answers import Answers
from napari_connecto.compute.live.mosaic import Blocks, Mosaic, Part, Picture
from napari_connecto.compute.live.work import Key
from napari_connecto.core.geometry import Box
from napari_connecto.core.predict import Blocks as Predicted
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.job_folder import JobFolder
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.descent import HighestValue, Step, children, passing
from napari_connecto.workflows.cascade.search.detect import fingerprint, with_levels
from napari_connecto.workflows.cascade.search.masks import MaskFinder
from napari_connecto.workflows.cascade.search.objects import find_objects
from napari_connecto.workflows.cascade.search.plan import make_plan
from napari_connecto.workflows.cascade.search.run import FLOOR, KeepMap, Search
from napari_connecto.workflows.cascade.search.seen import only
from napari_connecto.workflows.cascade.thresholds.prices import TIMINGS, Timings, calibrated
from napari_connecto.workflows.shared.live import grids, in_view, part, room
from napari_connecto.workflows.shared.region import region_in

SCORES, OBJECTS = "scores", "objects"
NOTHING = np.zeros((1, 1, 1), np.uint8)
"""Block of a chunk that holds nothing."""


@dataclass(frozen=True)
class Found:
    """Objects in the chunks of a view where the finest level has looked.

    Parameters
    ----------
    objects
        As `detect` finds them there.
    level, chunks
        Of the finest level of the search, and indices of its chunks; ``plan`` cuts the level into them.
    """

    objects: Detections
    level: Level
    plan: TilePlan
    chunks: np.ndarray

    def outside(self, centre_nm: np.ndarray) -> np.ndarray:
        """Which of these places (n, 3), nm, lie in other chunks, (n,)."""
        voxels = np.clip(self.level.to_voxels(centre_nm), 0, np.array(self.plan.shape) - 1)
        cells = (voxels // self.plan.tile).astype(np.int64).reshape(-1, 3)
        return ~np.isin(np.ravel_multi_index(tuple(cells.T), self.plan.grid), self.chunks)


class LiveSearch:
    """See `LiveWork`; maps are "level 2", ..., "level 0", as in a search, whose folder this fills.

    Parameters
    ----------
    volume, cascade, params, out, client
        As in `detect`. Levels are chosen as for a small region: by the seconds of the calibration, or those that a
        search in the folder measured.
    blocks
        Keeps what is shown.

    Raises
    ------
    VoxelSizeError, InputError, StoreError
        As `detect` does.
    """

    def __init__(
        self, volume: Volume, cascade: Cascade, params: DetectParams, out: Path, blocks: Blocks, client: Any = None
    ) -> None:
        timings = Timings(calibrated(cascade.calibration))
        make_plan(with_levels(volume, cascade), cascade, params, timings)  # raises before anything is written
        self._job = JobFolder.open(out, fingerprint(volume, cascade))
        try:
            self._open(with_levels(volume, cascade, self._job.path), cascade, params, blocks, client)
        except BaseException:
            self._job.close()
            raise

    def _open(self, volume: Volume, cascade: Cascade, params: DetectParams, blocks: Blocks, client: Any) -> None:
        scalings = Scalings(volume, damaged=params.damaged)
        timings = Timings(calibrated(cascade.calibration))
        if (self._job.path / TIMINGS).exists():
            timings = Timings.from_json(self._job.read_json(TIMINGS), len(cascade.stages))
        plan = make_plan(volume, cascade, params, timings)
        rule = replace(cascade.rule, threshold=params.threshold or cascade.rule.threshold)
        curve = cascade.calibration.score_curve
        self._search = Search(volume, plan.steps, rule, self._job, scalings, params, curve)
        self._volume, self._blocks, self._lock = volume, blocks, Lock()
        self._steps = {step.name: step for step in plan.steps}
        self._batch = params.batch or 1  # as a preview does: a first result soon
        self._answers = {step.name: self._answering(step, scalings, params, client) for step in plan.steps}
        self._derived: Any = None
        self.threads = max(int(getattr(step.predictor, "calls", 1)) for step in plan.steps)
        finest = plan.steps[0]
        self._room = room(finest.plan, 1 + 4 * self.masks, blocks.limit // 2)
        shown = grids(finest.level)
        maps = [self._part(step) for step in reversed(plan.steps)]
        self.pictures = [Picture(SCORES, Mosaic(maps, blocks), shown)]
        if self.masks:
            drawn = Part(OBJECTS, finest.level, finest.plan)
            blocks.drop(OBJECTS)  # of another threshold
            self.pictures.append(Picture(OBJECTS, Mosaic([drawn], blocks, "labels"), shown))

    @property
    def masks(self) -> bool:
        """Whether objects are masks, else they are centres."""
        return self._search.rule.head == "masks"

    @property
    def diameter_nm(self) -> float:
        """Of a typical object."""
        return self._search.rule.diameter_nm

    def scores(self, name: str) -> Mapping[int, float]:
        """Scores of the chunks of a level that are known, by index."""
        return self._search.scores[self._steps[name].stage].known

    def order(self, view: Box) -> list[Key]:
        """See `LiveWork`: coarse levels first, then the children of chunks that passed."""
        if view.size == 0:
            return []
        found: list[Key] = []
        above: Step | None = None
        passed = np.empty(0, np.int64)
        for step in reversed(self._search.steps):
            within = region_in(view, self._volume, step.level)
            chunks = None if above is None else children(above, passed, step, within)
            indices = in_view(step.plan, step.level, self._volume, view, chunks)[: self._room]
            found += [(step.name, int(index)) for index in indices]
            passed = passing(indices, self.scores(step.name), step.threshold)
            above = step
        self._blocks.want(found)
        return found

    def has(self, key: Key) -> bool:
        """See `LiveWork`."""
        return key in self._blocks

    def group(self, name: str) -> int:
        """See `LiveWork`."""
        return self._batch

    def compute(self, keys: Sequence[Key]) -> bool:
        """See `LiveWork`: chunks that an earlier search has scored are read, not computed."""
        step = self._steps[keys[0][0]]
        known = self.scores(step.name)
        todo = [index for _, index in keys if index not in known]
        blocks = {index: self._stored(step, index, known[index]) for _, index in keys if index in known}
        for index, answer in zip(todo, self._answers[step.name](todo) if todo else (), strict=True):
            blocks[index] = NOTHING if answer is None else self._keep(step, index, answer)
        for index, block in blocks.items():
            self._blocks.put((step.name, index), block)
        return step.stage > 0

    def derive(self, view: Box) -> Found | None:
        """See `LiveWork`: the objects of the view, or their masks, which are shown at once."""
        step = self._search.steps[0]
        chunks = np.sort([index for name, index in self.order(view) if name == step.name]).astype(np.int64)
        seen = chunks[[self.has((step.name, index)) for index in chunks.tolist()]] if len(chunks) else chunks
        tiles = passing(seen, self.scores(step.name), FLOOR)
        if self._derived is not None and np.array_equal(self._derived, seen):
            return None
        self._derived = seen
        if not self.masks:
            found = find_objects(only(self._search.map, step.plan, seen), step.plan, tiles, self._search.rule)
            return Found(self._search.scored(found), step.level, step.plan, seen)
        finder = MaskFinder(self._search.map, step.plan, self._search.rule)
        found = finder.find(tiles)
        for tile, ids in finder.relabelled(tiles):
            self._blocks.put((OBJECTS, tile.index), ids if ids.any() else NOTHING)
        return Found(self._search.scored(found), step.level, step.plan, seen)

    def close(self) -> None:
        """See `LiveWork`."""
        try:
            for scores in self._search.scores.values():
                scores.flush()
        finally:
            self._job.close()

    def _answering(self, step: Step, scalings: Scalings, params: DetectParams, client: Any) -> Answers:
        tiles = Tiles(self._volume, step.level, step.predictor, scalings.of(step.predictor.card))
        return Answers(tiles, self._batch, params.on_bad_chunk, client)

    def _part(self, step: Step) -> Part:
        return part(step.name, step.level, step.plan, step.predictor.card.outputs[0])

    def _keep(self, step: Step, index: int, answer: Predicted) -> np.ndarray:
        """Store the score, and the map of the finest level; the block that is shown."""
        output = step.predictor.card.outputs[0].name
        finest = step.stage == 0
        sink = KeepMap(self._search.store, output, self._search.memory) if finest else HighestValue(output)
        score = sink(step.plan[index], answer)
        with self._lock:
            self._search.scores[step.stage].add(index, score)
        if finest and score < FLOOR:
            return NOTHING
        return np.rint(np.clip(answer[output], 0, 1) * 255).astype(np.uint8)

    def _stored(self, step: Step, index: int, score: float) -> np.ndarray:
        """The block of a chunk with a score: its map where that is stored, else the score all over."""
        if step.stage > 0:
            return np.full((1, 1, 1), round(score * 255), np.uint8)
        return self._search.map.read(step.plan[index].write) if score >= FLOOR else NOTHING

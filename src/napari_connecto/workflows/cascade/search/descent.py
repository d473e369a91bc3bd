"""The gated descent of a cascade: coarse chunks first, then only the children of those that pass.

Gating rule: Athey, Sawmya, Shavit, arXiv 2504.21598.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.model import Predictor
from napari_connecto.core.predict import Blocks, check_channels
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.journal import Journal
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.thresholds.choose import Choice
from napari_connecto.workflows.cascade.thresholds.prices import ONE

PATIENCE_S = 0.1
"""Computing time lost at most when a search is killed."""
SCORES = np.dtype([("index", "<i8"), ("score", "<f4")])


@dataclass(frozen=True)
class Step:
    """One level of a search.

    Parameters
    ----------
    stage
        Of the cascade; 0 is the finest.
    level, plan
        Where it reads, and its chunks.
    predictor
        The cascade's stage, with its card's tile.
    threshold
        A chunk passes at this score.
    work
        Share of the work, for progress.
    group, batch
        Chunks that one call covers along each axis; tiles per forward pass, 0 if that was not timed.
    """

    stage: int
    level: Level
    plan: TilePlan
    predictor: Predictor
    threshold: float
    work: float = 1.0
    group: Vec3 = ONE
    batch: int = 0

    @property
    def name(self) -> str:
        """Name for users; stage 0 is the finest."""
        return f"level {self.stage}"


def plan_steps(volume: Volume, cascade: Cascade, choice: Choice) -> tuple[Step, ...]:
    """The levels a choice uses, finest first.

    Raises
    ------
    VoxelSizeError
        If the volume has no level within 25 % of a used stage's voxel size.
    InputError
        If the volume has other channels than a used stage takes.
    """
    steps: list[Step] = []
    for k, stage in enumerate(cascade.stages):
        threshold = choice.thresholds[k]
        if threshold is None:
            continue
        level = volume.level_at(stage.card.voxel_nm)
        check_channels(level, stage.card)
        plan = TilePlan(level.shape, stage.card.tile, stage.card.halo)
        way, work = choice.ways[k], max(choice.level_s[k], 1e-9)
        steps.append(Step(k, level, plan, stage, threshold, work, way.group, way.batch))
    return tuple(steps)


def children(parent: Step, passed: np.ndarray, child: Step, within: Box | None) -> np.ndarray:
    """Indices of the child chunks that overlap a passed parent chunk (and ``within``, child voxels).

    A pyramid's coarse level may end short of the fine one (33 voxels become 16): the last chunks cover the rest.
    """
    boxes = (_to_the_rim(parent, tile.write, child.level) for tile in parent.plan.tiles(passed))
    if within is not None:
        boxes = (box.clip(within) for box in boxes)
    return child.plan.touching(boxes)


def _to_the_rim(parent: Step, box: Box, level: Level) -> Box:
    """A parent's box in a finer level's voxels; at the parent level's end it reaches the finer level's end too."""
    there = parent.level.box_in(box, level)
    start = [0 if a == 0 else b for a, b in zip(box.start, there.start, strict=True)]
    rows = zip(box.stop, parent.level.shape, there.stop, level.shape, strict=True)
    return Box(vec3(start), vec3([max(n, end) if stop == size else end for stop, size, end, n in rows]))


def roots(step: Step, within: Box | None) -> np.ndarray:
    """Indices of the chunks with which a search begins."""
    return step.plan.touching([within if within is not None else step.level.box])


@dataclass(frozen=True)
class HighestValue:
    """Sink: a chunk's score, quantised to 255 steps like the map, so that both agree."""

    output: str

    def __call__(self, tile: Tile, blocks: Blocks) -> float:
        return float(np.rint(blocks[self.output].max() * 255) / 255)


@dataclass
class Scores:
    """Scores of one level's chunks: by index in memory, and on disk as they arrive."""

    journal: Journal
    known: dict[int, float]
    _waiting: list[tuple[int, float]] = field(default_factory=list, repr=False)
    _written: float = field(default=0.0, repr=False)

    @classmethod
    def open(cls, path: Path) -> Scores:
        """Scores of an earlier run, if any."""
        journal = Journal(path, SCORES)
        records = journal.records()
        return cls(journal, dict(zip(records["index"].tolist(), records["score"].tolist(), strict=True)))

    def indices(self) -> np.ndarray:
        """Indices of chunks with a score."""
        return np.fromiter(self.known, np.int64, len(self.known))

    def add(self, index: int, score: float) -> None:
        """Add one; written within `PATIENCE_S` or by `flush`, because opening the file costs more than a chunk."""
        self.known[index] = float(np.float32(score))
        self._waiting.append((index, score))
        if time.monotonic() - self._written > PATIENCE_S:
            self.flush()

    def flush(self) -> None:
        """Write all added scores to disk."""
        if self._waiting:
            self.journal.append(np.array(self._waiting, SCORES))
            self._waiting.clear()
        self._written = time.monotonic()


def passing(indices: np.ndarray, known: Mapping[int, float], threshold: float) -> np.ndarray:
    """Those of ``indices`` whose score reaches the threshold; chunks skipped as damaged do not pass."""
    return np.array([i for i in indices.tolist() if known.get(i, -1.0) >= threshold], np.int64)

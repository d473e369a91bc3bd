"""Instance segmentation of volumes of any size: segment blocks independently, then join them where they overlap."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, fvec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.job_folder import JobFolder, result_folder
from napari_connecto.io.stores.tile_store import TileStore
from napari_connecto.workflows.ood.check import STAGE, OodCheck, gate_check_job
from napari_connecto.workflows.ood.document import CHECK, KEY, stated
from napari_connecto.workflows.ood.gate import Gate
from napari_connecto.workflows.segment.block import LABELS, Passing, SegmentBlock, scaling_of
from napari_connecto.workflows.segment.choice import chosen, fingerprint
from napari_connecto.workflows.segment.faces import Blocks
from napari_connecto.workflows.segment.join import join
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.predict import predict_job
from napari_connecto.workflows.segment.write import Numbered, write_job
from napari_connecto.workflows.shared import judged
from napari_connecto.workflows.shared.judged import JUDGING, Judge, judging_job, need_judge_of
from napari_connecto.workflows.shared.region import inside, region_in

SUMMARY, LOCAL, RECORDS = "segments.json", "fragments", "records"
FLAT: tuple[Vec3, Vec3] = (16, 512, 512), (0, 32, 32)
DEEP: tuple[Vec3, Vec3] = (128, 256, 256), (16, 32, 32)
"""Block and halo by mode."""
VOXEL_BYTES = 60
"""Memory per voxel of a block while it is segmented, bytes."""

PREDICTING, THREE, FLIPPED = 6, 4, 4
"""Cost of the boundary map relative to segmenting, measured on the sample neuropil on two cores; for progress only."""


def segment(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | OodCheck | None = None,
    volumetric: Predictor | None = None,
    guard: Judge | None = None,
) -> Volume:
    """Segment a volume into instances, with ids that are consistent over all of it.

    Parameters
    ----------
    volume
        With ``model``, an image; else a boundary probability, float in [0, 1] or uint8 in 0..255. (z, y, x).
    params
        Thresholds, mode and smallest size, see `SegmentParams`.
    model
        Predicts the boundary probability; its first output is used.
    out
        Result folder: ``labels/labels.zarr``, ``segments.json`` and, with a model, ``boundary``. An unfinished result
        of the same job is resumed. Default: a temporary folder.
    region
        Part to segment, in voxels of the finest level. Default: all of it.
    client
        A ``distributed.Client``: blocks are predicted and segmented on its workers, joined and written here. ``out``
        must be a folder that the workers see.
    gate
        The model's `Gate`, or an earlier out-of-distribution check, as in `predict`.
    volumetric
        A model of volumes, averaged with ``model`` where that is run in three directions. Default: the one in the
        folder that ``model`` was loaded from, see `load_volumetric`; ``SegmentParams(volumetric=False)`` does without.
    guard
        The model's `Guard`: it judges the boundary map, and writes the error map and the worst places into
        ``out/check``, see `check_pair`. It learnt from answers in one direction. Default: no error map.

    Returns
    -------
    Volume
        Labels 1 to n, uint32 (uint64 beyond 2^32), of the region's shape and place; every voxel belongs to a segment.
        The grid is that of the stored level that was read, with ``grid="model"`` that of the model; coarser levels are
        made by mode. ``metadata`` has ``segments`` (n), ``mode``, ``reason`` (of the mode) and, with a model, ``ood``,
        with a guard ``guard``, the report of its check.

    Raises
    ------
    InputError
        If the region lies outside, or there is no model and the volume is not a boundary probability.
    ModelError
        If the guard was fitted to another model.
    VoxelSizeError
        If volume and model do not fit.
    StoreError
        If ``out`` belongs to something else.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> labels = nc.segment(volume, model=model, out="segments", region=nc.Box((0, 0, 0), (2, 64, 64)))
    >>> labels.levels[0].shape, labels.kind
    ((2, 64, 64), 'labels')
    >>> found = labels.levels[0].read(labels.levels[0].box)
    >>> int(found.max()) == labels.metadata["segments"]
    True
    """
    where: dict[str, Any] = {"out": out, "region": region, "client": client}
    return run(segment_job(volume, params, model=model, gate=gate, volumetric=volumetric, guard=guard, **where))


def segment_job(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | OodCheck | None = None,
    volumetric: Predictor | None = None,
    guard: Judge | None = None,
) -> Job[Volume]:
    """`segment` as a job: stages "predicting", "segment", "join" and "write", whose ``payload`` is the live labels."""
    need_judge_of(model, guard)
    region = inside(volume, region)
    choice = chosen(volume, params or SegmentParams(), model, region, volumetric)
    with JobFolder.open(result_folder(out), fingerprint(volume, choice, model, region)) as job:
        boundary = volume
        sections = (THREE if choice.params.directions == "three" else 1) * (FLIPPED if choice.params.flips else 1)
        predicting = 0 if model is None else PREDICTING * sections
        judging = {} if guard is None else {JUDGING: judged.WORK * PREDICTING}
        phases = Phases({STAGE: 0, "predicting": predicting, "segmenting": 1, **judging})
        if choice.model is not None and model is not None:
            if choice.model is not model:  # a check compares sections
                gate = yield from phases.run(STAGE, gate_check_job(volume, model, gate, region=region))
            where: dict[str, Any] = {"out": job.path / "boundary", "region": region, "client": client}
            boundary = yield from phases.run("predicting", predict_job(volume, choice.model, gate=gate, **where))
        box = volume.levels[0].box_in(region, boundary.levels[0])
        whole = Segmentation.of(boundary, box, choice.params)
        if choice.own is not None:
            whole = replace(whole, grid=geometry(choice.own, region_in(region, volume, choice.own) or choice.own.box))
        labels = yield from phases.run("segmenting", whole.make(job, client, choice.reason))
        if model is None:
            return labels
        check = stated(boundary.metadata)
        job.write_json(CHECK, check)
        told = {**labels.metadata, KEY: check}
        if guard is not None:
            judging_it = judging_job(guard, volume, boundary, job.path, region, client)
            told[judged.KEY] = yield from phases.run(JUDGING, judging_it)
        return replace(labels, metadata=told)


@shown
@dataclass(frozen=True)
class Segmentation:
    """A segmentation: ``box`` of ``level``, a boundary map, in blocks of ``plan`` (in voxels of the box).

    ``grid`` gives shape and position of the labels.
    """

    level: Level
    box: Box
    plan: TilePlan
    params: SegmentParams
    name: str
    grid: Level

    @classmethod
    def of(cls, boundary: Volume, box: Box, params: SegmentParams) -> Segmentation:
        """Check the map and plan the blocks."""
        level = boundary.levels[0]
        scaling_of(level.dtype)
        if (level.channels or 1) != 1:
            raise InputError(f"got a boundary map of {level.channels} channels; open the one that holds the boundary")
        box = box.clip(level.shape)
        return cls(level, box, plan_blocks(box.shape, params), params, boundary.name, geometry(level, box))

    def make(self, job: JobFolder, client: Any, reason: str) -> Job[Volume]:
        """Run the three passes; each keeps its finished parts."""
        if not (job.path / SUMMARY).exists():
            blocks = Blocks(self.plan, job.path / RECORDS, self.params.mode)
            shown = geometry(self.level, self.box)
            local = TileStore.open(job.path / LOCAL, shown, self.plan.tile, {LABELS: np.dtype("uint32")})
            phases = Phases({"segment": 20, "join": 1, "write": 3})  # seconds on the sample neuropil, times 30
            yield from phases.run("segment", self._segment(blocks, local, client))
            first, final = yield from phases.run("join", join(blocks, self.params))
            count = int(final.max())
            dtype = np.dtype("uint32" if count < 2**32 else "uint64")
            made = Numbered(local.volume(LABELS).levels[0], self.plan, first, final.astype(dtype))
            yield from phases.run("write", write_job(made, self._labels(job, dtype), self.grid))
            told = {"segments": count, "dtype": str(dtype), "blocks": len(self.plan)}
            job.write_json(SUMMARY, {**told, "mode": self.params.mode, "reason": reason})
        shutil.rmtree(job.path / LOCAL, ignore_errors=True)
        shutil.rmtree(job.path / RECORDS, ignore_errors=True)
        summary = job.read_json(SUMMARY)
        labels = self._labels(job, np.dtype(summary["dtype"])).volume(LABELS)
        mode = {"mode": summary.get("mode", self.params.mode), "reason": summary.get("reason", reason)}
        return replace(labels, metadata={"segments": summary["segments"], "of": self.name, **mode})

    def _labels(self, job: JobFolder, dtype: np.dtype) -> TileStore:
        tile = plan_blocks(self.grid.shape, replace(self.params, halo=None)).tile
        return TileStore.open(job.path / LABELS, self.grid, tile, {LABELS: dtype})

    def _segment(self, blocks: Blocks, local: TileStore, client: Any) -> Job[None]:
        todo = local.missing()
        done = len(self.plan) - len(todo)
        yield Progress(done, len(self.plan), "segment")
        sink = SegmentBlock(self.params, self.level.voxel_nm, blocks, local)
        options = ExecuteOptions(scaling_of(self.level.dtype), batch=1, calls=1, tiles_per_task=1)
        passing = Passing.over(self.level, self.plan.read_shape)
        results = execute(self.level, self._reads(todo), passing, sink, options=options, client=client)
        with closing(results):
            for tile, _ in results:
                local.mark(tile.index)
                done += 1
                yield Progress(done, len(self.plan), "segment")

    def _reads(self, indices: np.ndarray) -> Iterator[Tile]:
        """Blocks as tiles of the level that own all they read."""
        for tile in self.plan.tiles(indices):
            seen = tile.read.clip(self.plan.shape).shift(self.box.start)
            yield Tile(tile.index, seen, tile.read.shift(self.box.start))


def plan_blocks(shape: Vec3, params: SegmentParams) -> TilePlan:
    """Blocks and halo as requested, else by mode; a block is not much larger than the volume.

    Raises
    ------
    InputError
        If blocks do not overlap although they must.
    """
    block, halo = DEEP if params.mode == "3d" else FLAT
    block, halo = params.block or block, params.halo or halo
    fitting = vec3([min(b, -(-n // 16) * 16 if n > 1 else 1) for b, n in zip(block, shape, strict=True)])
    if params.mode != "3d":
        halo = (0, halo[1], halo[2])
    for axis in range(0 if params.mode == "3d" else 1, 3):
        if fitting[axis] < shape[axis] and halo[axis] < 1:
            raise InputError(f"got halo {halo} for several blocks along {'zyx'[axis]}; it must be 1 or more there")
    return TilePlan(shape, fitting, halo)


def geometry(level: Level, box: Box) -> Level:
    """Shape and position of a box of a level, without values."""
    return Level(np.broadcast_to(np.uint8(0), box.shape), level.voxel_nm, fvec3(level.to_nm(box.start).tolist()))

"""Instances in a volume of any size: blocks by themselves, then joined where they overlap. Ours."""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.compute.execute import execute
from napari_connecto.compute.options import ExecuteOptions
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.job_folder import JobFolder, result_folder
from napari_connecto.io.tile_store import TileStore
from napari_connecto.workflows.adapt_params import SegmentParams
from napari_connecto.workflows.faces import Blocks, join
from napari_connecto.workflows.gate import Gate
from napari_connecto.workflows.gate_check import CHECK, GateCheck
from napari_connecto.workflows.predict import predict_job
from napari_connecto.workflows.segment_block import LABELS, Passing, SegmentBlock, scaling_of

SUMMARY, LOCAL, RECORDS = "segments.json", "fragments", "records"
FLAT: tuple[Vec3, Vec3] = (16, 512, 512), (0, 32, 32)
DEEP: tuple[Vec3, Vec3] = (128, 256, 256), (16, 32, 32)
"""Block and halo by the mode."""
VOXEL_BYTES = 60
"""What a block takes per voxel while it is segmented."""
WRITERS = 2


def segment(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | GateCheck | None = None,
) -> Volume:
    """Segment into instances; blocks. See `segment_job`."""
    return run(segment_job(volume, params, model=model, out=out, region=region, client=client, gate=gate))


def segment_job(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    out: str | Path | None = None,
    region: Box | None = None,
    client: Any = None,
    gate: Gate | GateCheck | None = None,
) -> Job[Volume]:
    """Segment into instances, ids consistent over the whole volume.

    Parameters
    ----------
    volume
        An image if there is a model, else a boundary probability: float in 0..1 or uint8 in 0..255.
    params
        See `SegmentParams`.
    model
        Makes the boundary probability; its first output is taken.
    out
        Folder of the result: ``labels/labels.zarr``, ``segments.json``, with a model ``boundary``. An unfinished one
        of the same job is resumed. Without it, a temporary one.
    region
        What to segment, in voxels of the volume's finest level; everything without it.
    client
        A ``distributed.Client``: blocks are predicted and segmented on its workers, joined and written here. ``out``
        must be a folder that they see.
    gate
        The model's, as in `predict_job`.

    Yields
    ------
    Progress
        Stages "predicting", "segment", "join", "write"; ``payload`` of the last is the live labels.

    Returns
    -------
    Volume
        Labels 1 to n, uint32 (uint64 beyond 2^32), of the region's shape and place, coarser levels by mode; no voxel
        is left out. ``metadata["segments"]`` is n; with a model, ``metadata["gate"]``, also in
        ``out/gate_check.json``, is what its gate said.

    Raises
    ------
    InputError
        If the region lies outside, or what is given as boundary map is none.
    StoreError
        If ``out`` holds something else.
    """
    params = params or SegmentParams()
    region = inside(volume, region)
    with JobFolder.open(result_folder(out), _fingerprint(volume, params, model, region)) as job:
        boundary = volume
        if model is not None:
            boundary = yield from predict_job(
                volume, model, out=job.path / "boundary", region=region, client=client, gate=gate
            )
        box = volume.levels[0].box_in(region, boundary.levels[0])
        labels = yield from Segmentation.of(boundary, box, params).make(job, client)
        if model is None:
            return labels
        job.write_json(CHECK, boundary.metadata["gate"])
        return replace(labels, metadata={**labels.metadata, "gate": boundary.metadata["gate"]})


@dataclass(frozen=True)
class Segmentation:
    """What is to be segmented: ``box`` of ``level``, a boundary map, in blocks of ``plan`` (in voxels of the box)."""

    level: Level
    box: Box
    plan: TilePlan
    params: SegmentParams
    name: str

    @classmethod
    def of(cls, boundary: Volume, box: Box, params: SegmentParams) -> Segmentation:
        """Check the map and plan the blocks."""
        level = boundary.levels[0]
        scaling_of(level.dtype)
        if (level.channels or 1) != 1:
            raise InputError(f"got a boundary map of {level.channels} channels; open the one that holds the boundary")
        box = box.clip(level.shape)
        return cls(level, box, plan_blocks(box.shape, params), params, boundary.name)

    def make(self, job: JobFolder, client: Any) -> Job[Volume]:
        """The three passes; each leaves what is finished."""
        if not (job.path / SUMMARY).exists():
            linked = self.params.mode == "2d-linked"
            blocks = Blocks(self.plan, job.path / RECORDS, linked)
            local = self._store(job.path / LOCAL, np.dtype("uint32"))
            yield from self._segment(blocks, local, client)
            first, final = yield from join(blocks, self.params.link)
            count = int(final.max())
            dtype = np.dtype("uint32" if count < 2**32 else "uint64")
            yield from self._write(local, self._store(job.path / LABELS, dtype), first, final.astype(dtype))
            job.write_json(SUMMARY, {"segments": count, "dtype": str(dtype), "blocks": len(self.plan)})
        shutil.rmtree(job.path / LOCAL, ignore_errors=True)
        shutil.rmtree(job.path / RECORDS, ignore_errors=True)
        summary = job.read_json(SUMMARY)
        made = self._store(job.path / LABELS, np.dtype(summary["dtype"])).volume(LABELS)
        return replace(made, metadata={"segments": summary["segments"], "of": self.name})

    def _store(self, path: Path, dtype: np.dtype) -> TileStore:
        """Labels over the box alone."""
        origin = self.level.to_nm(self.box.start)
        place = (float(origin[0]), float(origin[1]), float(origin[2]))
        shown = Level(np.broadcast_to(np.uint8(0), self.box.shape), self.level.voxel_nm, place)
        return TileStore.open(path, shown, self.plan.tile, {LABELS: dtype})

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
        """Blocks as tiles of the level that own all they see."""
        for tile in self.plan.tiles(indices):
            seen = tile.read.clip(self.plan.shape).shift(self.box.start)
            yield Tile(tile.index, seen, tile.read.shift(self.box.start))

    def _write(self, local: TileStore, labels: TileStore, first: np.ndarray, final: np.ndarray) -> Job[None]:
        """Give all voxels their final ids, a few blocks at a time, for each waits for the disk."""
        todo = labels.missing()
        done, total = len(self.plan) - len(todo), len(self.plan)
        source, shown = local.volume(LABELS).levels[0], labels.volume(LABELS)
        yield Progress(done, total, "write", shown)

        def renumber(tile: Tile) -> int:
            own = source.read(tile.write).astype(np.int64)
            labels.write_blocks(tile, {LABELS: final[own + first[tile.index]]})
            return tile.index

        with ThreadPoolExecutor(WRITERS, "labels") as pool:
            writing: deque[Future[int]] = deque()
            for tile in labels.plan.tiles(todo):
                writing.append(pool.submit(renumber, tile))
                while len(writing) > WRITERS or (writing and tile.index == todo[-1]):
                    labels.mark(writing.popleft().result())
                    done += 1
                    yield Progress(done, total, "write", shown)


def plan_blocks(shape: Vec3, params: SegmentParams) -> TilePlan:
    """Blocks and halo as asked, else by the mode; a block is not much larger than the volume.

    Raises
    ------
    InputError
        If blocks would not overlap where they have to.
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


def inside(volume: Volume, region: Box | None) -> Box:
    """The region, or all of the volume, clipped to its finest level; `InputError` where nothing is left."""
    level = volume.levels[0]
    found = level.box if region is None else region.clip(level.shape)
    if found.size == 0 and region is not None:
        raise InputError(
            f"got the region {region.start} to {region.stop}; it must hold voxels of the finest level, {level.shape}"
        )
    return found


def _fingerprint(volume: Volume, params: SegmentParams, model: Predictor | None, region: Box) -> dict[str, Any]:
    return {
        "workflow": "segment",
        "volume": volume.fingerprint(),
        "model": model.card.digest if model is not None else "",
        "params": asdict(params),
        "region": [list(region.start), list(region.stop)],
    }

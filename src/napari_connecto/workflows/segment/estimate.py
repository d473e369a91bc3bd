"""Cost of a segmentation before it is run."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_connecto.compute.memory import pass_bytes, process_bytes
from napari_connecto.compute.options import default_batch
from napari_connecto.compute.trial import choose_batch
from napari_connecto.core.amounts import seconds_text
from napari_connecto.core.geometry import Box, FVec3, Vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import SECTIONS, Predictor
from napari_connecto.core.predict import predict, read_tile
from napari_connecto.core.shown import shown
from napari_connecto.core.tiles import Tile, TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.job_folder import SCRATCH
from napari_connecto.models.inference.device import describe_device
from napari_connecto.workflows.segment.block import as_probability
from napari_connecto.workflows.segment.choice import chosen
from napari_connecto.workflows.segment.directions import IN_PLANE, IN_SPACE, ThreeDirections
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.segment import VOXEL_BYTES, plan_blocks, segment_job
from napari_connecto.workflows.shared.region import inside, region_in
from napari_connecto.workflows.shared.room import room_for, run_bytes

VOLUMETRIC_COST = 0.1
"""Of a volumetric model, relative to that of a model of sections in three directions (measured: 7 s beside 69 s)."""
AT_ONCE = 2
"""Blocks segmented in parallel, see `compute.local.Pipeline`."""
TIMED, DEEP, HALF = 2, 8, (4, 128, 128)
"""Tiles that are segmented for timing, and the least depth to which they are repeated; without a model, half the extent
of the piece of the map that is used instead."""
SAMPLE = 2**20
"""Voxels that are segmented for timing, so that the cost of starting counts little."""


@shown
@dataclass(frozen=True)
class SegmentEstimate:
    """Expected cost of a segmentation.

    Parameters
    ----------
    shape, voxel_nm
        Of the part to segment, at the voxel size of the model, (z, y, x).
    resampled
        Whether no stored level has that size.
    labels
        Shape of the labels, (z, y, x).
    mode, reason
        Segmentation mode, and the reason.
    tiles, blocks
        Number of tiles of the model, 0 without one, and of blocks.
    predict_s, segment_s
        Seconds on this machine: the boundary map; blocks, joining and writing.
    memory_bytes, disk_bytes
        Peak memory of the process, including everything loaded; upper bound of the disk space, uncompressed.
    notes, fits
        As in `Estimate`.
    """

    shape: Vec3
    voxel_nm: FVec3
    resampled: bool
    labels: Vec3
    mode: str
    reason: str
    tiles: int
    blocks: int
    predict_s: float
    segment_s: float
    memory_bytes: int
    disk_bytes: int
    device: str
    notes: tuple[str, ...]
    fits: bool

    @property
    def seconds(self) -> float:
        """In all."""
        return self.predict_s + self.segment_s

    def lines(self) -> Iterator[str]:
        """The estimate, one sentence per line."""
        shape, voxel = " x ".join(f"{n}" for n in self.shape), "x".join(f"{v:g}" for v in self.voxel_nm)
        yield f"{shape} voxels of {voxel} nm{' (resampled)' if self.resampled else ''}"
        if self.labels != self.shape:
            yield f"labels on the image's own grid: {' x '.join(f'{n}' for n in self.labels)} voxels"
        yield self.reason
        if self.tiles:
            yield f"boundary map: {self.tiles} tiles, about {seconds_text(self.predict_s)}"
        yield f"segments: {self.blocks} blocks, about {seconds_text(self.segment_s)}"
        yield f"about {seconds_text(self.seconds)} in all, from two tiles timed here"
        yield f"on {self.device}; memory {self.memory_bytes / 1e9:.2g} GB, disk at most {self.disk_bytes / 1e9:.2g} GB"
        yield from self.notes


def estimate_segment(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    region: Box | None = None,
    out: str | Path | None = None,
    volumetric: Predictor | None = None,
) -> SegmentEstimate:
    """Seconds, memory and disk space of a segmentation; two tiles are predicted and segmented to measure the speed.

    Parameters
    ----------
    volume, params, model, region, out, volumetric
        As in `segment`.

    Returns
    -------
    SegmentEstimate
        ``seconds`` and its parts, ``memory_bytes``, ``disk_bytes``, ``fits``; ``lines()`` are sentences.

    Raises
    ------
    VoxelSizeError, InputError
        As in `segment`.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> model = nc.load_model(nc.list_models()["synthetic-neuropil"], device="cpu", tile=(1, 64, 64))
    >>> cost = nc.estimate_segment(volume, model=model, region=nc.Box((0, 0, 0), (2, 64, 64)))
    >>> cost.fits, cost.tiles
    (True, 2)
    """
    return run(estimate_segment_job(volume, params, model=model, region=region, out=out, volumetric=volumetric))


def estimate_segment_job(
    volume: Volume,
    params: SegmentParams | None = None,
    *,
    model: Predictor | None = None,
    region: Box | None = None,
    out: str | Path | None = None,
    volumetric: Predictor | None = None,
) -> Job[SegmentEstimate]:
    """`estimate_segment` as a job."""
    region = inside(volume, region)
    choice = chosen(volume, params or SegmentParams(), model, region, volumetric)
    params, level, own, model = choice.params, choice.level, choice.own, choice.model
    box = region_in(region, volume, level) or level.box
    labels = box if own is None else region_in(region, volume, own) or own.box
    blocks = plan_blocks(box.shape, params)
    yield Progress(0, 2, "timing two tiles")
    timed = _Timed.of_map(level, box) if model is None else _Timed.of_model(volume, level, box, model)
    yield Progress(1, 2, "timing two tiles")
    segment_s = box.size * _seconds_per_voxel(timed.maps, level.voxel_nm, params, box.size)
    seen = [min(read, n) for read, n in zip(blocks.read_shape, box.shape, strict=True)]
    at_once = min(AT_ONCE, len(blocks))
    memory = max(timed.memory_bytes, process_bytes() + int(np.prod(seen)) * VOXEL_BYTES * at_once)
    disk = int((4 / 3) * (4 * labels.size + box.size * (4 + (1 if model is not None else 0))))
    notes, fits = room_for(memory, disk, out, "use smaller blocks")
    return SegmentEstimate(
        box.shape,
        level.voxel_nm,
        not any(level is stored for stored in volume.levels),
        labels.shape,
        params.mode,
        choice.reason,
        timed.tiles,
        len(blocks),
        timed.seconds,
        segment_s,
        memory,
        disk,
        describe_device(getattr(model, "device", "cpu")),
        tuple(notes),
        fits,
    )


@dataclass(frozen=True)
class _Timed:
    """Boundary maps (z, y, x) of two tiles, and the cost of the whole map."""

    maps: Sequence[np.ndarray]
    tiles: int = 0
    seconds: float = 0.0
    memory_bytes: int = 0

    @classmethod
    def of_map(cls, level: Level, box: Box) -> _Timed:
        """The input is a boundary map: a piece from the middle of the box."""
        return cls([level.read(box.grow([-max(0, n // 2 - h) for n, h in zip(box.shape, HALF, strict=True)]))])

    @classmethod
    def of_model(cls, volume: Volume, level: Level, box: Box, model: Predictor) -> _Timed:
        """The input is an image: the model predicts two tiles."""
        scaling = model.card.normalisation.resolve(volume)
        plan = TilePlan(level.shape, model.card.tile, model.card.halo)
        touched, name, batch = plan.touching([box]), model.card.outputs[0].name, default_batch(model.card)
        if isinstance(model, ThreeDirections):
            timed, sections = model.model, 3 * model.card.tile[0] * _answers(model)
        else:
            timed, sections = model, 1
        small = TilePlan(level.shape, timed.card.tile, timed.card.halo)
        at_once = SECTIONS if sections > 1 else default_batch(timed.card)
        trial = choose_batch(level, small, timed, scaling, sizes=(at_once,), seconds=0.5)
        there = small.touching([box])
        some = small.tiles(there[len(there) // 2 :][:TIMED])
        maps = [made[name] for _, made in predict(level, some, timed, scaling=scaling)]
        seconds = trial.tile_s
        if sections > 1:  # a cube is read once for all of its sections
            seconds = sections * trial.model_s + _read_s(level, plan[touched[len(touched) // 2]]) / trial.calls
            trial = replace(trial, peak_bytes=process_bytes() + trial.calls * pass_bytes(model.card, batch))
        needed = run_bytes(level, plan, model.card, trial, batch)
        return cls(maps, len(touched), len(touched) * seconds, needed)


def _read_s(level: Level, tile: Tile) -> float:
    """Seconds to read a tile; 0 where it is damaged."""
    begin = time.perf_counter()
    return 0.0 if read_tile(level, tile, "skip") is None else time.perf_counter() - begin


def _answers(model: ThreeDirections) -> float:
    """How many times a direction costs what it does by the model of sections alone, without flips."""
    flat, solid = (2 ** len(axes) if model.flips else 1 for axes in (IN_PLANE, IN_SPACE))
    return flat if model.volumetric is None else flat + VOLUMETRIC_COST * solid


def _seconds_per_voxel(maps: Sequence[np.ndarray], voxel_nm: FVec3, params: SegmentParams, voxels: int) -> float:
    """Cost of segmenting, joining and writing ``voxels``, from boundary maps (z, y, x) stacked to some depth."""
    least = np.min([m.shape for m in maps], axis=0)
    stack = np.concatenate([as_probability(m[: least[0], : least[1], : least[2]]) for m in maps])
    bytes_ = np.rint(stack * 255).astype(np.uint8)
    plain = replace(params, block=None, halo=None, directions="one", flips=False)  # the maps are there already
    with tempfile.TemporaryDirectory(prefix=SCRATCH) as scratch:
        most = max(DEEP, min(SAMPLE, voxels) // stack[0].size)
        for n, depth in enumerate((DEEP, most)):  # the first loads libraries
            deep = np.concatenate([bytes_] * -(-depth // len(stack)))[:depth]
            sample = Volume.from_array(deep, voxel_nm, name="two tiles")
            started = time.perf_counter()
            run(segment_job(sample, plain, out=Path(scratch) / f"run-{n}"))
            seconds = time.perf_counter() - started
    return seconds / deep.size

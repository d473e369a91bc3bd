"""Coarse levels of a volume that lacks them, computed when they are read: no pyramid must be written first."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from math import prod
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import ChunkError
from napari_connecto.core.geometry import Box, FVec3, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.stores.chunk_folder import ChunkFolder, cached_levels
from napari_connecto.io.volumes.pyramid import Grid, grids
from napari_connecto.workflows.cascade.search.averaged import LEVEL_BYTES, Averaged
from napari_connecto.workflows.shared.region import region_in

MAKING = "computing coarse levels"
TOLERANCE = 0.25
"""Allowed relative difference of a level's voxel size from a model's, see `Volume.level_at`."""
IN_MEMORY = 2**29
"""Bytes of computed levels kept in memory if there is no folder."""
MADE_BYTES_S = 2e7
"""Approximate bytes of coarse levels computed per second; for estimates."""
THREADS = 2


def with_coarser(volume: Volume, beside: Path | None = None) -> Volume:
    """A volume of one level with the coarse levels that `save_volume` would store; any other volume unchanged.

    Parameters
    ----------
    volume
        Of any kind.
    beside
        Where computed chunks are stored if there is no room in the user's cache (see `settings`), or the volume is in
        memory and large; without it they are then recomputed.

    Returns
    -------
    Volume
        Nothing is read yet. Its `Volume.fingerprint` differs from the original's: use that of the original.
    """
    if len(volume.levels) > 1:
        return volume
    first = volume.levels[0]
    steps = grids(Grid(first.shape, first.voxel_nm, first.origin_nm))[1:]
    return _with(volume, [(grid, -1) for grid in steps], beside)


def with_levels_at(volume: Volume, sizes_nm: Sequence[FVec3], beside: Path | None = None) -> Volume:
    """`with_coarser`, with a level for each of these voxel sizes that averaging whole voxels of a finer level can give.

    So a cascade finds its levels in a pyramid that was halved along other axes. Impossible ones are left out.
    """
    volume = with_coarser(volume, beside)
    missing = [size for size in sizes_nm if not any(_fits(level.voxel_nm, size) for level in volume.levels)]
    steps: list[tuple[Grid, int]] = []
    for size in missing:
        found = _finest_source(volume, size)
        if found is not None and all(grid.voxel_nm != found[0].voxel_nm for grid, _ in steps):
            steps.append(found)
    return _with(volume, steps, beside)


def fill_job(volume: Volume, used: Sequence[Level], region: Box | None = None, *, damaged: bool = False) -> Job[None]:
    """Compute the chunks of the levels that a search will read, finest first; stored ones are skipped.

    Parameters
    ----------
    volume
        From `with_coarser` or `with_levels_at`.
    used
        Those of its levels that are read.
    region
        Part, in voxels of the finest level. Default: everywhere.
    damaged
        Skip chunks that cannot be read.
    """
    coarsest = max((prod(level.voxel_nm) for level in used if isinstance(level.array, Averaged)), default=0.0)
    todo: list[tuple[Averaged, Vec3]] = []
    for level in volume.levels:
        array = level.array
        if isinstance(array, Averaged) and prod(level.voxel_nm) <= coarsest * (1 + 1e-9):
            cells = array.cells(region_in(region, volume, level) or level.box)
            folder = array.maker.folder
            todo += [(array, cell) for cell in cells if folder is None or not folder.has(cell)]
    yield from _each(todo, damaged)


def making_bytes(volume: Volume) -> int:
    """Uncompressed bytes of the computed levels."""
    return sum(level.nbytes for level in volume.levels if isinstance(level.array, Averaged))


def _each(todo: Sequence[tuple[Averaged, Vec3]], damaged: bool) -> Job[None]:
    if not todo:
        return

    def make(array: Averaged, cell: Vec3) -> None:
        try:
            array.make(cell)
        except ChunkError:
            if not damaged:
                raise

    yield Progress(0, len(todo), MAKING)
    pool = ThreadPoolExecutor(THREADS, "coarse")
    try:
        for done, future in enumerate(_ahead(pool, make, todo), start=1):
            future.result()
            yield Progress(done, len(todo), MAKING)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _ahead(
    pool: ThreadPoolExecutor, make: Callable[[Averaged, Vec3], None], todo: Sequence[tuple[Averaged, Vec3]]
) -> Iterator[Future[None]]:
    """In order, a few at a time, so that finer chunks exist before those computed from them."""
    source = iter(todo)
    waiting: list[Future[None]] = [pool.submit(make, *one) for one in islice(source, 2 * THREADS)]
    while waiting:
        yield waiting.pop(0)
        waiting += [pool.submit(make, *one) for one in islice(source, 1)]


def _with(volume: Volume, steps: Sequence[tuple[Grid, int]], beside: Path | None) -> Volume:
    """The volume with computed levels; each step is a grid and the index of its finer level, -1 for the previous
    one."""
    if not steps:
        return volume
    itemsize, channels = volume.levels[0].dtype.itemsize, volume.levels[0].channels or 1
    size = sum(prod(grid.shape) for grid, _ in steps) * itemsize * channels
    small = not volume.source and size <= IN_MEMORY
    cached = cached_levels(_key(volume, steps), size) if volume.source else None
    folder = None if small else cached or beside
    made: list[Level] = []
    for k, (grid, source) in enumerate(steps):
        finer = (made[-1] if made else volume.levels[0]) if source < 0 else volume.levels[source]
        kept = max(LEVEL_BYTES, IN_MEMORY) if small else LEVEL_BYTES
        store = ChunkFolder(folder / str(k)) if folder is not None else None
        made.append(Level(Averaged(finer.array, grid, volume.kind, store, kept), grid.voxel_nm, grid.origin_nm))
    levels = sorted((*volume.levels, *made), key=lambda level: float(np.prod(level.voxel_nm)))
    return replace(volume, levels=tuple(levels))


def _finest_source(volume: Volume, size: FVec3) -> tuple[Grid, int] | None:
    """The grid of this voxel size and the coarsest level it can be computed from; None if there is none."""
    for k in reversed(range(len(volume.levels))):
        level = volume.levels[k]
        factor = vec3([max(1, round(s / v)) for s, v in zip(size, level.voxel_nm, strict=True)])
        grid = Grid(level.shape, level.voxel_nm, level.origin_nm).coarser(factor)
        if prod(factor) > 1 and not isinstance(level.array, Averaged) and _fits(grid.voxel_nm, size):
            return grid, k
    return None


def _fits(voxel_nm: Sequence[float], size_nm: Sequence[float]) -> bool:
    ratio = np.array(voxel_nm) / np.array(size_nm)
    return bool(np.maximum(ratio, 1 / ratio).max() <= 1 + TOLERANCE + 1e-9)


def _key(volume: Volume, steps: Sequence[tuple[Grid, int]]) -> str:
    told = {name: value for name, value in volume.outline().items() if name not in ("voxel_nm", "origin_nm")}
    factors = [(grid.factor, source) for grid, source in steps]
    return hashlib.blake2b(json.dumps([told, factors, volume.kind]).encode(), digest_size=12).hexdigest()

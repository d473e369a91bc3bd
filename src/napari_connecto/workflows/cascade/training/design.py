"""The networks of a cascade: which levels are used, and a card for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Vec3
from napari_connecto.core.model import ModelCard, Normalisation, Output
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.coarser import with_levels_at
from napari_connecto.workflows.cascade.training.labelled_region import Examples

ACROSS = 12.0
"""Voxels across an object's thickness on the finest level that is used. With 8 to 17, as powers of two come to, the
networks' view of 27 and more voxels covers an object and its surroundings."""
SEES = 13
"""Voxels that the finest network sees to each side at most, with two downsamplings; with three it sees up to 29."""


def design(volume: Volume, examples: Examples, params: TrainParams) -> tuple[ModelCard, ...]:
    """A card per level: a dense network where objects are about `ACROSS` voxels thick, cheap strided scorers above it.

    All have one chunk shape. Levels that are finer than that are not used: a network of few layers sees no more of an
    object there, and reads many times as much. In sections, the dense network has one more downsampling where the
    middle of large objects would not see their rim: it would tear them.
    """
    dims = _dims(volume.levels[0], examples, params)
    levels = volume.levels if dims == "3d" else _with_all_sections(volume)
    usable = [level for level in levels if examples.region(level).size > 0]
    if not usable:
        examples.on(volume.levels[0])
    finest = min(range(len(usable)), key=lambda k: abs(np.log2(_across(usable[k], examples) / ACROSS)))
    usable = usable[finest:][: params.levels or 4]
    levels = [usable[0], *(level for level in usable[1:] if _shows(level, examples))]
    tile = params.tile or _tile(levels, dims)
    far = dims != "3d" and examples.large_nm > 2 * SEES * max(levels[0].voxel_nm[1:]) and _deepens(tile)
    return tuple(stage_card(level, k, tile, dims, params, far=far) for k, level in enumerate(levels))


def with_working_level(volume: Volume, examples: Examples, params: TrainParams) -> Volume:
    """The volume with a level on which objects are about `ACROSS` voxels thick, where its own levels skip that.

    Networks that see sections one by one get levels of all sections, also coarser ones, for sections are not averaged.
    """
    finest = volume.levels[0]
    factor = 2 ** max(0, round(np.log2(_across(finest, examples) / ACROSS)))
    z, y, x = (float(v) for v in finest.voxel_nm)
    if _dims(finest, examples, params) == "3d":
        return with_levels_at(volume, [(max(z, min(z, y) * factor), y * factor, x * factor)])
    wanted = [factor] if len(_with_all_sections(volume)) > 1 else [factor * 2**k for k in range(4)]
    sizes = [(z, y * f, x * f) for f in wanted if f * max(finest.voxel_nm[1:]) * 1.5 < examples.diameter_nm or f == 1]
    return with_levels_at(volume, sizes)


def _with_all_sections(volume: Volume) -> list[Level]:
    return [level for level in volume.levels if level.shape[0] == volume.levels[0].shape[0]]


def _across(level: Level, examples: Examples) -> float:
    """Voxels of a level across a typical object's thickness, in the plane."""
    return max(1e-6, (examples.width_nm or examples.diameter_nm) / max(level.voxel_nm[1:]))


def _dims(level: Level, examples: Examples, params: TrainParams) -> str:
    if params.dims != "auto":
        return params.dims
    apart = level.voxel_nm[0] >= examples.diameter_nm  # the next section shows other objects
    if level.shape[0] < 4 or apart or (examples.flat and level.voxel_nm[0] <= 3 * level.voxel_nm[1]):
        return "2d"
    return "2.5d" if level.voxel_nm[0] > 3 * level.voxel_nm[1] else "3d"


def _tile(levels: Sequence[Level], dims: str) -> Vec3:
    """64 x 64 in plane, less if the coarsest level would have only a few chunks; in 3-D about half as deep."""
    if dims != "3d":
        return (1, 64, 64) if min(levels[0].shape[1:]) >= 256 else (1, 32, 32)
    side = 64 if min(levels[-1].shape[1:]) >= 256 else 32
    depth = side * levels[0].voxel_nm[1] / levels[0].voxel_nm[0]
    return (int(2 ** np.clip(round(np.log2(depth)), 3, 6)), side, side)


def _shows(level: Level, examples: Examples) -> bool:
    """Whether an object covers more than 1.5 voxels in plane at this level."""
    return examples.diameter_nm > 1.5 * level.voxel_nm[1]


def _deepens(tile: Vec3) -> bool:
    """Whether three downsamplings divide a chunk."""
    return tile[1] % 8 == tile[2] % 8 == 0


def stage_card(level: Level, k: int, tile: Vec3, dims: str, params: TrainParams, *, far: bool = False) -> ModelCard:
    """The card of stage ``k`` on a level; ``dims`` is "2d", "2.5d" or "3d", ``far`` adds a downsampling to stage 0."""
    flat, far = dims != "3d", far and params.encoder == "small"
    halo_z, around = {"2d": 0, "2.5d": 1, "3d": 4}[dims], 32 if far else 16
    halo = (halo_z, around, around) if k == 0 and flat else (halo_z, 8, 8)
    network, stride = _scorer(level, flat, params) if k else (_dense(level, flat, params, far), (1, 1, 1))
    output = Output("object" if k else "foreground", stride, (halo_z if flat else 0, 0, 0))
    return ModelCard(
        name=f"{params.name}-{k}",
        task="detect",
        voxel_nm=level.voxel_nm,
        tile=tile,
        halo=halo,
        outputs=(output,),
        channels=level.channels or 1,
        normalisation=Normalisation("percentile", 1.0, 99.5),
        network=network,
    )


def _dense(level: Level, flat: bool, params: TrainParams, far: bool) -> dict[str, Any]:
    """The finest level's network: a probability per voxel."""
    if params.encoder != "small":
        if not flat:
            raise InputError(f"got encoder '{params.encoder}' with 3-D; encoders are 2-D: choose dims 2d or 2.5d")
        return {"kind": "smp", "encoder": params.encoder, "depth": 3}
    return {
        "kind": "unet",
        "dims": 2 if flat else 3,
        "width": params.width,
        "depth": 4 if far else 3,
        "strides": [[1, 2, 2], [1 if flat or _thick(level) else 2, 2, 2], *([[1, 2, 2]] if far else [])],
    }


def _scorer(level: Level, flat: bool, params: TrainParams) -> tuple[dict[str, Any], Vec3]:
    """A coarse level's network: a score per cell of 4 x 4 voxels in the plane."""
    stride = (1 if flat else 2 if _thick(level) else 4, 4, 4)
    return {"kind": "scorer", "dims": 2 if flat else 3, "width": params.width, "stride": list(stride)}, stride


def _thick(level: Level) -> bool:
    return level.voxel_nm[0] > 1.5 * level.voxel_nm[1]

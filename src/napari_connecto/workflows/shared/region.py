"""A region of interest, given in voxels of the finest level, on any level of a volume."""

from __future__ import annotations

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3
from napari_connecto.core.volume import Level, Volume


def inside(volume: Volume, region: Box | None) -> Box:
    """The region, or all of the volume, clipped to its finest level.

    Raises
    ------
    InputError
        If nothing is left of the region.
    """
    level = volume.levels[0]
    found = level.box if region is None else region.clip(level.shape)
    if found.size == 0 and region is not None:
        raise InputError(
            f"got the region {region.start} to {region.stop}; it must hold voxels of the finest level, {level.shape}"
        )
    return found


def region_in(region: Box | None, volume: Volume, level: Level) -> Box | None:
    """A region of the volume's finest level in a level's voxels, clipped; its rim if a coarse level ends short."""
    if region is None:
        return None
    box = volume.levels[0].box_in(region, level)
    start = [min(max(a, 0), n - 1) for a, n in zip(box.start, level.shape, strict=True)]
    stop = [max(min(b, n), a + 1) for a, b, n in zip(start, box.stop, level.shape, strict=True)]
    return Box(vec3(start), vec3(stop))

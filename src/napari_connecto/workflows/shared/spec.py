"""Open what a recipe or a command names, and describe it in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from napari_connecto.core.amounts import bytes_text
from napari_connecto.core.errors import ChoiceError
from napari_connecto.core.views.invert import INVERTED, inverted
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


def open_spec(source: str | Mapping[str, Any] | VolumeSpec) -> Volume:
    """Open what a path, a mapping (see `VolumeSpec.of`) or a `VolumeSpec` names."""
    spec = VolumeSpec.of(source).to_json()
    invert = spec.pop("invert", False)
    volume = open_volume(spec.pop("path"), **spec)
    return inverted(volume) if invert else volume


def describe(volume: Volume, hint: str = "") -> Iterator[str]:
    """Axes, levels, voxel sizes, bytes and dtype, one sentence per line; ``hint``: how to state a voxel size."""
    finest = volume.levels[0]
    channels = f", {finest.channels} channels" if finest.channels is not None else ""
    yield f"{volume.name}: {volume.kind}, {finest.dtype}, axes {'c ' if finest.channels else ''}z y x{channels}"
    if volume.metadata.get(INVERTED):
        yield "intensities are inverted on read"
    yield from (f"note: {note}" for note in volume.metadata.get("notes", ()))
    if not volume.calibrated:
        yield f"voxel size: not stated{f' ({hint})' if hint else ''}"
    for k, level in enumerate(volume.levels):
        shape = " x ".join(str(n) for n in level.shape)
        voxel = " x ".join(f"{v:g}" for v in level.voxel_nm)
        size = f"{voxel} nm" if volume.calibrated else f"{voxel} (relative)"
        chunks = getattr(level.array, "chunks", None)
        chunked = f", chunks {' x '.join(str(n) for n in chunks[-3:])}" if chunks else ""
        yield f"level {k}: {shape} voxels of {size}, {bytes_text(level.nbytes)}{chunked}"


def describe_spec(spec: VolumeSpec, hint: str = "") -> Iterator[str]:
    """`describe` what a spec names; if it leaves a choice, also list the options: arrays, channels, time points.

    Then all channels and the first time point are described.
    """
    try:
        volume = open_spec(spec)
    except ChoiceError as error:
        yield from error.lines
        if error.chosen:
            yield from describe_spec(replace(spec, **error.chosen), hint)
        return
    yield from describe(volume, hint)

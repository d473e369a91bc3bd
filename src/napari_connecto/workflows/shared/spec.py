"""Open what a recipe or a command names, and say in words what it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.core.views.invert import INVERTED, inverted
from napari_connecto.core.volume import Volume
from napari_connecto.io.volumes.read import open_volume


def open_spec(source: str | Mapping[str, Any]) -> Volume:
    """Open a path, or a mapping with ``path`` and any of `open_volume`'s options and ``invert``."""
    if not isinstance(source, str | Mapping):
        raise InputError(f"got volume {source!r}; it is a path, or a mapping with 'path'")
    spec: dict[str, Any] = {"path": source} if isinstance(source, str) else dict(source)
    known = {"path", "array", "voxel_nm", "channel", "time", "axes", "origin_nm", "invert"}
    if "path" not in spec or set(spec) - known:
        raise InputError(f"got volume {spec}; it needs 'path' and may have {', '.join(sorted(known - {'path'}))}")
    invert = spec.pop("invert", None)
    if not (invert is None or isinstance(invert, bool)):
        raise InputError(f"got invert {invert!r}; allowed: true, false")
    volume = open_volume(spec.pop("path"), **{k: v for k, v in spec.items() if v is not None})
    return inverted(volume) if invert else volume


def describe(volume: Volume) -> Iterator[str]:
    """Axes, levels, voxel sizes, bytes and dtype, a sentence a line."""
    finest = volume.levels[0]
    channels = f", {finest.channels} channels" if finest.channels is not None else ""
    yield f"{volume.name}: {volume.kind}, {finest.dtype}, axes {'c ' if finest.channels else ''}z y x{channels}"
    if volume.metadata.get(INVERTED):
        yield "intensities are inverted on read"
    yield from (f"note: {note}" for note in volume.metadata.get("notes", ()))
    if not volume.calibrated:
        yield "voxel size: not stated (give --voxel-nm Z Y X)"
    for k, level in enumerate(volume.levels):
        shape = " x ".join(str(n) for n in level.shape)
        voxel = " x ".join(f"{v:g}" for v in level.voxel_nm)
        size = f"{voxel} nm" if volume.calibrated else f"{voxel} (relative)"
        chunks = getattr(level.array, "chunks", None)
        chunked = f", chunks {' x '.join(str(n) for n in chunks[-3:])}" if chunks else ""
        yield f"level {k}: {shape} voxels of {size}, {_bytes(level.nbytes)}{chunked}"


def describe_spec(spec: Mapping[str, Any]) -> Iterator[str]:
    """`describe` what a mapping names; where it leaves a choice also what there is: arrays, channels, time points.

    All channels are then described, and the first time point.
    """
    try:
        volume = open_spec(spec)
    except ChoiceError as error:
        yield from error.lines
        if error.chosen:
            yield from describe_spec({**spec, **error.chosen})
        return
    yield from describe(volume)


def _bytes(n: int) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000  # type: ignore[assignment]
    return f"{n:.3g} TB"

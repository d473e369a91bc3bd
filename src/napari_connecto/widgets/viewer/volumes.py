"""Volumes for jobs: opened in a worker, cut to a level, written to a file if a job needs one; no Qt, no napari."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.viewer.spatial import serial
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


def open_job(described: Any) -> Job[Volume]:
    """Open what `layers.describe` collected from a layer."""
    yield Progress(0, 0, "opening")
    volume: Volume = described.volume()
    return volume


def with_finest(volume: Volume, level: int) -> Volume:
    """The volume without the levels finer than ``level``."""
    return dataclasses.replace(volume, levels=volume.levels[level:]) if level else volume


def identity(volume: Volume) -> tuple[Any, ...]:
    """Identifies a volume within a session without reading a voxel, so that the GUI does not wait.

    Volumes in memory are identified by their arrays; a change in place is detected by the job.
    """
    if volume.source:
        return (volume.outline(),)
    arrays = [getattr(level.array, "identity", None) or serial(level.array) for level in volume.levels]
    return volume.outline(), volume.name, arrays


def lasting(volume: Volume, model: Path, *more: object) -> str:
    """Eight digits that identify volume and model in every session; "" for a volume in memory."""
    if not volume.source:
        return ""
    changed = max((path.stat().st_mtime_ns for path in model.glob("*.json")), default=0)
    asked = json.dumps([volume.outline(), str(model), changed, *map(str, more)])
    return hashlib.blake2b(asked.encode(), digest_size=4).hexdigest()


def as_file_job(volume: Volume, spec: VolumeSpec | None, path: Path) -> Job[VolumeSpec]:
    """How a recipe names the volume; a volume that is not in a file is written to ``path`` first."""
    if spec is not None:
        return spec
    from napari_connecto.io.volumes.write import save_volume_job

    if not path.exists():
        yield from save_volume_job(volume, path)
    channels = volume.levels[0].channels is not None
    return VolumeSpec(str(path), channel="all" if channels else None)

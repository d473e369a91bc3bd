"""What a result folder holds for its proofreader: the labels, and the boundary they were made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_connecto.core.errors import ConnectoError, InputError, StoreError
from napari_connecto.core.geometry import Box, fvec3, vec3
from napari_connecto.core.views.nearest import nearest
from napari_connecto.core.volume import Level, Volume
from napari_connecto.io.disk import read_json
from napari_connecto.io.volumes.read import open_volume
from napari_connecto.workflows.segment.block import as_probability

LABELS, SUMMARY, JOB = "labels/labels.zarr", "segments.json", "job.json"


@dataclass(frozen=True)
class Result:
    """A finished segmentation.

    Parameters
    ----------
    path
        Its folder.
    labels
        As written, numbers 1 to ``count``.
    boundary
        Boundary map, on its own grid; None if it is not there any more.
    job
        Fingerprint of the run.
    """

    path: Path
    labels: Volume
    count: int
    boundary: Level | None
    job: Any

    @classmethod
    def open(cls, folder: str | Path, boundary: Volume | None = None) -> Result:
        """Open the result in a folder.

        Raises
        ------
        StoreError
            If there is none, or it is not finished.
        """
        path = Path(folder)
        if not (path / SUMMARY).is_file() or not (path / LABELS).is_dir():
            raise StoreError(f"'{path}' holds no finished segmentation; give the result folder of `segment`")
        summary, job = read_json(path / SUMMARY), read_json(path / JOB)
        labels = open_volume(path / LABELS)
        try:
            count, fingerprint = int(summary["segments"]), dict(job["fingerprint"])
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"'{path / SUMMARY}' or its {JOB} is damaged ({error!r:.80}); run segment again"
            ) from error
        level = boundary.levels[0] if boundary is not None else _boundary(path, fingerprint)
        return cls(path, labels, count, level, fingerprint)

    def boundary_on(self, level: Level, box: Box) -> np.ndarray:
        """Boundary probability in a box of a level of the labels, float32: that of the voxel at each centre.

        0 where there is no map.
        """
        if self.boundary is None:
            return np.zeros(box.shape, np.float32)
        return as_probability(nearest(self.boundary, level, box))


def _boundary(path: Path, job: dict[str, Any]) -> Level | None:
    """The map beside the labels; of a segmentation without a model, the volume itself if it is still there."""
    try:
        if (path / "boundary" / "prediction.json").is_file():
            name = Path(str(read_json(path / "boundary" / "prediction.json")["outputs"][0])).name
            return open_volume(path / "boundary" / f"{name}.zarr").levels[0]
        told = job["volume"]
        if job.get("model") == "" and told["source"]:
            level = open_volume(told["source"]).levels[0]
            if list(level.shape) == list(told["shapes"][0]) and level.channels is None:
                origin = told.get("origin_nm", level.origin_nm)
                return Level(level.array, fvec3(told["voxel_nm"][0]), fvec3(origin))
    except (ConnectoError, OSError, KeyError, TypeError, ValueError, IndexError):
        return None
    return None


def need_point(labels: Volume, point: tuple[int, ...]) -> tuple[int, int, int]:
    """A voxel of the finest level.

    Raises
    ------
    InputError
        If it lies outside.
    """
    voxel, shape = vec3(point), labels.levels[0].shape
    if not all(0 <= v < n for v, n in zip(voxel, shape, strict=True)):
        raise InputError(f"got voxel {voxel}, outside labels of {shape} voxels (z, y, x); choose one inside")
    return voxel

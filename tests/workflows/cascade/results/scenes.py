"""Scenes of random objects, as a search would have found them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from skimage.measure import regionprops

from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.detections import Detections


@dataclass
class Chunked:
    """An array in memory that says it has chunks."""

    array: np.ndarray
    chunks: tuple[int, ...]
    shape: tuple[int, ...] = field(init=False)
    dtype: Any = field(init=False)

    def __post_init__(self) -> None:
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def __getitem__(self, key: Any) -> np.ndarray:
        return self.array[key]


def blobs(seed: int, shape=(14, 40, 44), n=9) -> np.ndarray:
    """Labels (z, y, x) of up to ``n`` touching boxes with holes, with gaps in their ids."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint32)
    for number in rng.permutation(np.arange(1, n + 1) * 3):
        start = [rng.integers(0, s) for s in shape]
        size = [rng.integers(1, max(2, s // 2)) for s in shape]
        part = tuple(slice(a, a + b) for a, b in zip(start, size, strict=True))
        labels[part][rng.random(labels[part].shape) < 0.8] = number
    return labels


def found_in(labels: np.ndarray, voxel_nm, origin_nm=(0.0, 0.0, 0.0), chunks=None, **report: Any) -> Detections:
    """The objects of labels as detections with labels; a voxel of the boxes is one of the labels."""
    props = regionprops(labels)
    array: Any = labels if chunks is None else Chunked(labels, chunks)
    level = Level(array, voxel_nm, origin_nm)
    centre = level.to_nm(np.array([p.centroid for p in props]).reshape(-1, 3) + 0.5)
    return Detections(
        centre,
        np.linspace(0.2, 0.9, len(props)),
        np.array([p.bbox for p in props], np.int64).reshape(-1, 6),
        np.empty(0, np.int64),
        report,
        labels=Volume((level,), kind="labels"),
        id=np.array([p.label for p in props], np.int64),
    )

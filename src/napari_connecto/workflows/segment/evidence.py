"""Evidence of annotated patches about thresholds: errors per instance at each grid point, and when to trust it.

A handful of patches cannot distinguish hundreds of grid points: the best of them is best partly by chance. Even a
single patch contains several neurites, so differences are judged over neurites.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from scipy.ndimage import uniform_filter
from scipy.stats import t as student

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.partition_metrics import VI

Point: TypeAlias = tuple[float, float, int]
"""Boundary threshold, merge threshold, least size."""
SURE = 0.95
"""Confidence level of the gain's interval, which must exclude zero."""


@dataclass(frozen=True)
class Evidence:
    """Variation of information at each grid point, by true instance.

    Parameters
    ----------
    points
        In the order of a grid of ``grid`` boundary thresholds, merge thresholds and sizes.
    split, merge
        (points, instances) bits times voxels.
    voxels
        (instances,) number of voxels that count.
    """

    points: tuple[Point, ...]
    grid: Vec3
    split: np.ndarray
    merge: np.ndarray
    voxels: np.ndarray

    @property
    def total(self) -> np.ndarray:
        """VI of each point (points,), bits."""
        return (self.split + self.merge).sum(axis=1) / self.voxels.sum()

    def at(self, index: int) -> VI:
        """VI of one point."""
        split, merge = (float(bits[index].sum() / self.voxels.sum()) for bits in (self.split, self.merge))
        return VI(split, merge)

    def gain(self, start: int, end: int) -> tuple[float, float]:
        """Decrease of VI from one grid point to another, and its standard error, bits.

        Paired over instances, each weighted by its voxels (linearised error of a ratio); infinite for a single
        instance.
        """
        each = (self.split + self.merge)[start] - (self.split + self.merge)[end]
        count, size = len(self.voxels), self.voxels.sum()
        mean = float(each.sum() / size)
        if count < 2:
            return mean, float("inf")
        spread = ((each - self.voxels * mean) ** 2).sum() * count / (count - 1)
        return mean, float(np.sqrt(spread) / size)

    def best(self) -> int:
        """The point with the best neighbourhood along both thresholds: a sharp optimum would not generalise."""
        around = uniform_filter(self.total.reshape(self.grid), (3, 3, 1), mode="nearest")
        return int(np.argmin(around.round(6)))

    def chosen(self, prior: Point) -> int:
        """The best point if the interval of its gain over the prior (Student's t) is above zero, else the prior."""
        start, best = self.points.index(prior), self.best()
        gain, error = self.gain(start, best)
        sure = len(self.voxels) > 1 and gain > error * student.ppf(0.5 + SURE / 2, len(self.voxels) - 1)
        return best if sure else start

"""Sums over the voxels of objects that add up over tiles: counts, boxes, first and second moments, intensities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_connecto.core.geometry import FVec3, Vec3

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Axes of the second moments that are kept."""


@dataclass
class Shapes:
    """Moments of objects, in whole numbers: the order and the size of the tiles change no bit.

    Parameters
    ----------
    voxels
        (n,) how many each object has.
    anchor
        (n, 3) the corner of the tile where it was met first, (z, y, x). Moments count from there, so that they stay
        small: they are exact for an object 10^5 voxels across with up to 9 * 10^8 voxels.
    first, second
        (n, 3) and (n, 6) sums of coordinates and of their products, see `PAIRS`.
    low, high
        (n, 3) bounding boxes, half-open.
    """

    voxels: np.ndarray
    anchor: np.ndarray
    first: np.ndarray
    second: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, n: int) -> Shapes:
        """Nothing seen yet of ``n`` objects."""
        voxels, anchor, first, second = (np.zeros(shape, np.int64) for shape in (n, (n, 3), (n, 3), (n, 6)))
        low, high = np.full((n, 3), np.iinfo(np.int64).max), np.zeros((n, 3), np.int64)
        return cls(voxels, anchor, first, second, low, high)

    def add(self, rows: np.ndarray, which: np.ndarray, places: np.ndarray, corner: Vec3) -> None:
        """Add voxels of a tile.

        Parameters
        ----------
        rows
            (k,) the objects, each once.
        which
            (m,) of each voxel the index in ``rows``; every row has one.
        places
            (3, m) voxels in the tile.
        corner
            Of the tile.
        """
        k = len(rows)
        count = np.bincount(which, minlength=k)
        sums = [_summed(which, axis, k) for axis in places]
        products = [_summed(which, places[a] * places[b], k) for a, b in PAIRS]
        new = self.voxels[rows] == 0
        self.anchor[rows[new]] = corner
        away = np.asarray(corner) - self.anchor[rows]
        for (a, b), product, column in zip(PAIRS, products, range(6), strict=True):
            moved = away[:, a] * sums[b] + away[:, b] * sums[a] + count * away[:, a] * away[:, b]
            self.second[rows, column] += product + moved
        for axis in range(3):
            self.first[rows, axis] += sums[axis] + count * away[:, axis]
            low, high = np.full(k, np.iinfo(np.int64).max), np.zeros(k, np.int64)
            np.minimum.at(low, which, places[axis])
            np.maximum.at(high, which, places[axis])
            self.low[rows, axis] = np.minimum(self.low[rows, axis], low + corner[axis])
            self.high[rows, axis] = np.maximum(self.high[rows, axis], high + corner[axis] + 1)
        self.voxels[rows] += count

    def axes_nm(self, voxel_nm: FVec3, *, flat: bool) -> np.ndarray:
        """Lengths (n, 3) of the principal axes in nm, longest first; (n, 2) in y and x if ``flat``.

        Those of the ellipsoid (ellipse) with the same second moments. A voxel counts as a box, not as a point, so
        lengths do not depend on how finely an object is sampled. NaN for objects without voxels.
        """
        n = np.maximum(self.voxels, 1)
        mean = self.first / n[:, None]
        tensor = np.empty((len(n), 3, 3))
        for (a, b), column in zip(PAIRS, range(6), strict=True):
            within = self.second[:, column] / n - mean[:, a] * mean[:, b] + (a == b) / 12
            tensor[:, a, b] = tensor[:, b, a] = within * voxel_nm[a] * voxel_nm[b]
        tensor = tensor[:, 1:, 1:] if flat else tensor
        variance = np.maximum(np.linalg.eigvalsh(tensor)[:, ::-1], 0)
        return np.where(self.voxels[:, None] > 0, np.sqrt((16 if flat else 20) * variance), np.nan)


@dataclass
class Intensities:
    """Count, mean and standard deviation of each channel (c) in objects (n).

    Sums are taken about a pivot near each object's mean, a whole number where the image has whole numbers; so they are
    exact there, and lose nothing to a large offset elsewhere.
    """

    seen: np.ndarray
    pivot: np.ndarray
    total: np.ndarray
    square: np.ndarray

    @classmethod
    def of(cls, n: int, channels: int) -> Intensities:
        """Nothing seen yet of ``n`` objects."""
        return cls(np.zeros(n, np.int64), *(np.zeros((channels, n)) for _ in range(3)))

    def add(self, rows: np.ndarray, which: np.ndarray, values: np.ndarray) -> None:
        """Add values (c, m) of voxels of objects ``rows`` (k,); ``which`` (m,) as in `Shapes.add`."""
        k = len(rows)
        count = np.bincount(which, minlength=k)
        new = self.seen[rows] == 0
        for channel, of in enumerate(values):
            numbers = of.astype(np.float64)
            mean = np.bincount(which, numbers, k) / count
            self.pivot[channel, rows[new]] = (np.rint(mean) if of.dtype.kind in "biu" else mean)[new]
            away = numbers - self.pivot[channel, rows][which]
            self.total[channel, rows] += np.bincount(which, away, k)
            self.square[channel, rows] += np.bincount(which, away * away, k)
        self.seen[rows] += count

    def mean_sd(self, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Mean and (population) standard deviation of a channel, each (n,); NaN where nothing was read."""
        n = np.where(self.seen > 0, self.seen, 1)
        off = self.total[channel] / n
        sd = np.sqrt(np.maximum(self.square[channel] / n - off * off, 0))
        nothing = self.seen == 0
        return np.where(nothing, np.nan, self.pivot[channel] + off), np.where(nothing, np.nan, sd)


def _summed(which: np.ndarray, values: np.ndarray, k: int) -> np.ndarray:
    """Sums of whole numbers, exact below 2^53 in a tile."""
    return np.bincount(which, values.astype(np.float64), k).astype(np.int64)

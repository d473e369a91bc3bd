"""Distances between the patches of a session, so that none is a near copy of another.

Patches on top of each other keep a distance along z; side by side they may touch, because they share only a border. A
held-out patch keeps twice the distance from all training patches, in every direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.views.pedestal import above, plain
from napari_connecto.core.volume import Level

LEAST_NM = 200.0
"""Smallest distance along z of patches on top of each other: neighbouring sections are near copies."""
FADED = 0.1
"""Correlation of an image with its shifted self below which the two count as different."""
TOUCH = 1e-3
"""Rounding of positions, nm."""
HELD_OUT = 2.0
"""Distance of held-out patches from training patches, as a multiple."""
MEASURED = 16
"""Patches whose autocorrelation is measured."""


@dataclass(frozen=True)
class Spacing:
    """Positions of k patches, and the distance between them.

    Parameters
    ----------
    start_nm, stop_nm
        (k, 3) corners of the patches.
    apart_nm
        See the module; held-out patches keep `HELD_OUT` times as much.
    """

    start_nm: np.ndarray
    stop_nm: np.ndarray
    apart_nm: float

    @classmethod
    def of(cls, level: Level, boxes: Sequence[Box], apart_nm: float) -> Spacing:
        """Of boxes of a level."""
        start, stop = (
            level.to_nm(np.array([getattr(box, name) for box in boxes]).reshape(-1, 3)) for name in ("start", "stop")
        )
        return cls(start, stop, apart_nm)

    def copies(self, other: Spacing) -> np.ndarray:
        """Which of these (k,) would be near copies of one of the others: on top of each other, too near along z."""
        gap = self._gaps(other)
        over = np.all(gap[..., 1:] < 0, axis=-1)
        return np.asarray(np.any(over & (gap[..., 0] < self.apart_nm - TOUCH), axis=1))

    def beside(self, other: Spacing) -> np.ndarray:
        """Which of these (k,) are too near one of the others for either of the two to be held out."""
        near = np.all(self._gaps(other) < HELD_OUT * self.apart_nm - TOUCH, axis=-1)
        return np.asarray(np.any(near, axis=1))

    def at(self, index: int) -> Spacing:
        """One of them."""
        return Spacing(self.start_nm[index : index + 1], self.stop_nm[index : index + 1], self.apart_nm)

    def _gaps(self, other: Spacing) -> np.ndarray:
        """Distance between faces along each axis, (k, m, 3), nm; below 0 where both overlap along it."""
        after = self.start_nm[:, None] - other.stop_nm[None]
        before = other.start_nm[None] - self.stop_nm[:, None]
        gap = np.maximum(after, before)
        return np.where(np.abs(gap) < TOUCH, 0.0, gap)


def apart_nm(level: Level, boxes: Sequence[Box]) -> float:
    """Distance that patches of this image should keep: where its in-plane autocorrelation has decayed.

    At least `LEAST_NM`, at most the side of a patch. It is measured in plane, because sections may be shifted against
    each
    other, and tissue is about as coarse along z.
    """
    chosen = boxes[:: max(1, len(boxes) // MEASURED)][:MEASURED]
    side = max((box.shape[2] * level.voxel_nm[2] for box in boxes), default=0.0)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for box in chosen:
        patch = np.asarray(level.read(box))
        section = (patch[0] if patch.ndim == 4 else patch)[box.shape[0] // 2]
        for axis, lags in enumerate(found):
            lags.append(autocorrelation(above(section, plain(section.min())), axis))
    reach = [_faded(np.mean(lags, axis=0)) * level.voxel_nm[1 + axis] for axis, lags in enumerate(found) if lags]
    return float(max(LEAST_NM, min(side, max(reach, default=0.0))))


def autocorrelation(section: np.ndarray, axis: int) -> np.ndarray:
    """Correlation of a section (y, x) with itself shifted by 0, 1, ... voxels along an axis, up to half its extent."""
    values = np.moveaxis(section - section.mean(), axis, 0)
    whole = float((values**2).mean()) or 1.0
    n = len(values)
    return np.array([float((values[: n - k] * values[k:]).mean()) / whole for k in range(max(1, n // 2))])


def _faded(lags: np.ndarray) -> int:
    """Voxels from which the correlation is below `FADED`."""
    below = np.flatnonzero(lags < FADED)
    return int(below[0]) if len(below) else len(lags)

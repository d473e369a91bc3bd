"""Labels of a part of a volume, as training targets on any of its levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, fvec3, vec3
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume


@shown
@dataclass(frozen=True)
class Examples:
    """Positions of objects in a labelled part of the world.

    Parameters
    ----------
    target
        uint8, 255 where the finest stage should output 1: masks, or (for centres) a Gaussian around each centre. Its
        extent is the labelled region; outside it nothing is known.
    centres_nm
        (n, 3) one position inside each object.
    diameter_nm
        Diameter of a typical object.
    flat
        Objects span one section each although there are several: labels of unrelated sections.
    known
        Boolean, of the target's shape: where labels are complete. None: everywhere, so that everything that is not an
        object is background.
    voxels
        (n,) size of each object in voxels of ``target``, its area in one section where ``flat``.
    width_nm
        Typical thickness of an object, in the plane: of a round one its diameter, of an elongated one less. 0: the
        diameter.
    large_nm
        Thickness of large objects: 90 % of all labelled voxels belong to objects that are no thicker. 0: unknown.
    between
        Boolean, of the target's shape: where two objects are near, see `gaps.between`. None: nowhere.
    told
        How unlabelled voxels are treated, in words; "" where all objects are labelled.
    """

    target: Level
    centres_nm: np.ndarray
    diameter_nm: float
    flat: bool = False
    known: np.ndarray | None = None
    voxels: np.ndarray = field(default_factory=lambda: np.empty(0))
    width_nm: float = 0.0
    large_nm: float = 0.0
    told: str = ""
    between: np.ndarray | None = None

    def inside(self, box: Box) -> np.ndarray:
        """(n,) whether an object's centre lies in a box of the target's voxels."""
        at = np.floor(self.target.to_voxels(self.centres_nm))
        return ((at >= box.start) & (at < box.stop)).all(axis=1)

    def known_at(self, nm: np.ndarray) -> np.ndarray:
        """(k,) whether positions (k, 3), in the labels' extent, are known."""
        if self.known is None or not len(nm):
            return np.ones(len(nm), bool)
        at = np.clip(np.floor(self.target.to_voxels(nm)).astype(int), 0, np.array(self.target.shape) - 1)
        return np.asarray(self.known[tuple(at.T)])

    @cached_property
    def present(self) -> np.ndarray:
        """Boolean target: where an object counts as present, (z, y, x)."""
        return np.asarray(self.target.array) >= 128

    def region(self, level: Level) -> Box:
        """The voxels of ``level`` entirely inside the labelled region."""
        low = level.to_voxels(self.target.to_nm((0, 0, 0)))
        high = level.to_voxels(self.target.to_nm(self.target.shape))
        if level.shape[0] == self.target.shape[0] == 1:  # the stated thickness of a single section is arbitrary
            low[0], high[0] = 0, 1
        return Box(vec3(np.ceil(low - 1e-3).tolist()), vec3(np.floor(high + 1e-3).tolist())).clip(level.shape)

    def on(self, level: Level, *, soft: bool = False) -> tuple[np.ndarray, Box]:
        """Target on another grid: a coarse voxel holds an object if any voxel in it does.

        Returns
        -------
        target, box
            uint8 (z, y, x), 0 or 255 (with ``soft`` anything between), and the voxels of ``level`` it covers.
        """
        box = self._labelled(level)
        out = np.asarray(self.target.array) if soft else self.present.astype(np.uint8) * np.uint8(255)
        return self._resampled(out, level, box, np.maximum), box

    def share_on(self, level: Level) -> tuple[np.ndarray, Box]:
        """Target on another grid: the share of a coarse voxel that is object, as uint8 of 255; see `on`."""
        box = self._labelled(level)
        share = self._resampled(self.present.astype(np.uint8) * np.uint8(255), level, box, None)
        return (share if share.dtype == np.uint8 else np.rint(share).astype(np.uint8)), box

    def known_on(self, level: Level, target: np.ndarray) -> np.ndarray | None:
        """`known` on the grid of a ``target`` of `on` or `share_on`: where a whole coarse voxel is known, or is object.

        A coarse voxel of which a smaller part is object is not known if the rest is not: it would count as background.
        """
        if self.known is None:
            return None
        return self._resampled(self.known, level, self._labelled(level), np.logical_and) | (target >= 128)

    def between_on(self, level: Level) -> np.ndarray | None:
        """`between` on the grid that `on` gives, where it fills at least half of a voxel."""
        if self.between is None:
            return None
        share = self._resampled(self.between.astype(np.uint8) * np.uint8(255), level, self._labelled(level), None)
        return np.asarray(share >= 127.5)

    def _labelled(self, level: Level) -> Box:
        box = self.region(level)
        if box.size == 0:
            raise InputError(
                f"the labels span {_span(self.target)} nm, outside of the volume's level of {level.shape} voxels; "
                "check their scale and position"
            )
        return box

    def _resampled(self, out: np.ndarray, level: Level, box: Box, joined: np.ufunc | None) -> np.ndarray:
        """On a level's grid; where its voxels are larger they are ``joined``, None: by their mean, float32."""
        for axis in range(3):
            edges = level.origin_nm[axis] + np.arange(box.start[axis], box.stop[axis] + 1) * level.voxel_nm[axis]
            at = (edges - self.target.origin_nm[axis]) / self.target.voxel_nm[axis]
            n = out.shape[axis]
            first = np.clip(np.floor(at[:-1] + 1e-3).astype(int), 0, n - 1)
            if level.voxel_nm[axis] > 1.5 * self.target.voxel_nm[axis]:
                last = int(np.clip(np.ceil(at[-1] - 1e-3), 1, n))
                out = _joined(out.take(range(last), axis), first, axis, joined)
            else:
                out = out.take(first, axis)
        return out


def _joined(array: np.ndarray, first: np.ndarray, axis: int, ufunc: np.ufunc | None) -> np.ndarray:
    """Groups of an axis that begin at ``first`` as one value each."""
    if ufunc is not None:
        return np.asarray(ufunc.reduceat(array, first, axis=axis))
    counts = np.diff(np.append(first, array.shape[axis])).astype(np.float32)
    total = np.add.reduceat(array, first, axis=axis, dtype=np.float32)
    return np.asarray(total / counts.reshape([-1 if k == axis else 1 for k in range(array.ndim)]))


def check_place(volume: Volume, labels: Volume) -> None:
    """Check, before reading, that labels overlap a volume and have the same unit.

    Raises
    ------
    InputError
        If only one of the two states a voxel size, or they do not overlap.
    """
    if volume.calibrated != labels.calibrated:
        bare = "labels are" if volume.calibrated else "image is"
        raise InputError(
            f"the {bare} in pixels, the other of the two is in nm; give both a voxel size (voxel_nm=, --voxel-nm Z Y X)"
        )
    image, target = volume.levels[0], labels.levels[0]
    low, high = (image.to_voxels(target.to_nm(end)) for end in ((0, 0, 0), target.shape))
    if (high <= 0).any() or (low >= image.shape).any():
        unit = "nm" if volume.calibrated else "pixels"
        raise InputError(
            f"the labels span {_span(target)} {unit}, the volume {_span(image)}; check their scale and position"
        )


def _span(level: Level) -> str:
    low, high = level.to_nm((0, 0, 0)), level.to_nm(level.shape)
    return " to ".join(str(tuple(round(float(v)) for v in end)) for end in (low, high))


def crop(level: Level, box: Box) -> Level:
    """Part of a level, at the same position in the world."""
    inside = box.clip(level.shape)
    return Level(level.array[(..., *inside.slices)], level.voxel_nm, _corner(level, inside))


def _corner(level: Level, box: Box) -> FVec3:
    return fvec3(level.to_nm(box.start).tolist())


def split_region(examples: Examples, validation: float, gap_nm: Sequence[float]) -> tuple[Box, Box]:
    """Two separate boxes of the target's voxels: for training, and for measuring.

    The cut is along the axis and on the side for which the held-out share of objects is nearest ``validation``.

    Raises
    ------
    InputError
        If either part would hold fewer than two objects.
    """
    target, best = examples.target, None
    at = target.to_voxels(examples.centres_nm)
    for axis in range(3):
        length = target.shape[axis]
        gap = int(np.ceil(gap_nm[axis] / target.voxel_nm[axis]))
        if length < 4 or length - gap < length // 2:
            continue
        for side in (0, 1):
            cut = round(length * (validation if side == 0 else 1 - validation))
            inside = at[:, axis] < cut if side == 0 else at[:, axis] >= cut
            clear = at[:, axis] >= cut + gap if side == 0 else at[:, axis] < cut - gap
            if inside.sum() < 2 or clear.sum() < 2:
                continue
            off = abs(float(inside.mean()) - validation)
            if best is None or off < best[0]:
                best = (off, axis, side, cut, gap)
    if best is None:
        raise InputError(
            f"the labelled objects ({len(at)}) cannot be split into two separate blocks with at least two in each; "
            "label more objects, or a larger part of the volume"
        )
    _, axis, side, cut, gap = best
    whole = target.box
    near = _cut(whole, axis, 0, cut) if side == 0 else _cut(whole, axis, cut, target.shape[axis])
    far = _cut(whole, axis, cut + gap, target.shape[axis]) if side == 0 else _cut(whole, axis, 0, cut - gap)
    return far, near


def _cut(box: Box, axis: int, start: int, stop: int) -> Box:
    low, high = list(box.start), list(box.stop)
    low[axis], high[axis] = start, stop
    return Box(vec3(low), vec3(high))

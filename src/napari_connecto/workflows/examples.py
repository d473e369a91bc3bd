"""Labels, points or boxes on part of a volume, as training targets on any of its levels. Ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cc3d
import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, FVec3, fvec3, vec3
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.objects import Head

MAX_VOXELS = 2**30


@dataclass(frozen=True)
class Examples:
    """Where objects are, in a labelled part of the world.

    Parameters
    ----------
    target
        uint8, 255 where the finest stage should answer 1: masks, or (for centres) a Gaussian around each centre.
        Its extent is the labelled region; outside it nothing is known.
    centres_nm
        (n, 3) one position inside each object.
    diameter_nm
        Typical object.
    flat
        Objects lie in one section each, though there are several: labels of unrelated sections.
    voxels
        (n,) size of each object in voxels of ``target``, its area in one section where ``flat``; empty for points.
    """

    target: Level
    centres_nm: np.ndarray
    diameter_nm: float
    flat: bool = False
    voxels: np.ndarray = field(default_factory=lambda: np.empty(0))

    def inside(self, box: Box) -> np.ndarray:
        """(n,) whether an object's centre lies in a box of the target's voxels."""
        at = np.floor(self.target.to_voxels(self.centres_nm))
        return ((at >= box.start) & (at < box.stop)).all(axis=1)

    def known_at(self, nm: np.ndarray) -> np.ndarray:
        """(k,) whether the labels say what is at positions (k, 3): everywhere in their extent."""
        return np.ones(len(nm), bool)

    @cached_property
    def present(self) -> np.ndarray:
        """Boolean target: where an object counts as present, (z, y, x)."""
        return np.asarray(self.target.array) >= 128

    def region(self, level: Level) -> Box:
        """The voxels of ``level`` that lie wholly in the labelled region."""
        low = level.to_voxels(self.target.to_nm((0, 0, 0)))
        high = level.to_voxels(self.target.to_nm(self.target.shape))
        if level.shape[0] == self.target.shape[0] == 1:  # how thick a single section is called means nothing
            low[0], high[0] = 0, 1
        return Box(vec3(np.ceil(low - 1e-3).tolist()), vec3(np.floor(high + 1e-3).tolist())).clip(level.shape)

    def on(self, level: Level, *, soft: bool = False) -> tuple[np.ndarray, Box]:
        """Target on another grid: a coarse voxel holds an object if any voxel in it does.

        Returns
        -------
        target, box
            uint8 (z, y, x), 0 or 255 (with ``soft`` anything between), and the voxels of ``level`` it covers.
        """
        box = self.region(level)
        if box.size == 0:
            raise InputError(
                f"the labels span {self._span()} nm, the volume's level of {level.shape} voxels does not lie there; "
                "check their scale and position"
            )
        out = np.asarray(self.target.array) if soft else self.present.astype(np.uint8) * np.uint8(255)
        for axis in range(3):
            edges = level.origin_nm[axis] + np.arange(box.start[axis], box.stop[axis] + 1) * level.voxel_nm[axis]
            at = (edges - self.target.origin_nm[axis]) / self.target.voxel_nm[axis]
            n = out.shape[axis]
            first = np.clip(np.floor(at[:-1] + 1e-3).astype(int), 0, n - 1)
            if level.voxel_nm[axis] > 1.5 * self.target.voxel_nm[axis]:
                last = int(np.clip(np.ceil(at[-1] - 1e-3), 1, n))
                out = np.maximum.reduceat(out.take(range(last), axis), first, axis=axis)
            else:
                out = out.take(first, axis)
        return out, box

    def _span(self) -> str:
        low, high = self.target.to_nm((0, 0, 0)), self.target.to_nm(self.target.shape)
        return " to ".join(str(tuple(round(float(v)) for v in end)) for end in (low, high))


def from_labels(labels: Volume, head: Head, diameter_nm: float | None = None) -> Examples:
    """Examples from a mask (one value: its connected parts are the objects) or from instances.

    Raises
    ------
    InputError
        If nothing is labelled, or more than 2^30 voxels are given.
    """
    level = labels.levels[0]
    if level.box.size > MAX_VOXELS:
        raise InputError(f"got {level.box.size:.2e} label voxels, at most {MAX_VOXELS:.2e} fit; crop the labels")
    array = level.read(level.box)
    if array.dtype.kind not in "iub":
        raise InputError(f"got labels of type {array.dtype}; labels are integers, 0 for background")
    values = np.unique(array)
    values = values[values != 0]
    if values.size == 0:
        raise InputError("got labels without a single labelled voxel; paint at least a few objects")
    ids = np.searchsorted(values, array).astype(np.uint32) + 1
    ids[array == 0] = 0
    if values.size == 1:
        ids = cc3d.connected_components(array != 0, connectivity=26).astype(np.uint32)
    stats = cc3d.statistics(ids)
    counts = stats["voxel_counts"][1:]
    depths = np.array([box[0].stop - box[0].start for box in stats["bounding_boxes"][1:]])
    thin = float(np.median(depths)) == 1
    if diameter_nm is None:
        volume_nm3 = np.median(counts) * float(np.prod(level.voxel_nm))
        diameter_nm = float((6 * volume_nm3 / np.pi) ** (1 / 3))
        if thin:
            diameter_nm = float(2 * np.sqrt(np.median(counts) * level.voxel_nm[1] * level.voxel_nm[2] / np.pi))
    centres = level.to_nm(stats["centroids"][1:].astype(float) + 0.5)
    if head == "centres":
        return from_points(centres, diameter_nm, level)
    target = Level((ids > 0).astype(np.uint8) * np.uint8(255), level.voxel_nm, level.origin_nm)
    sizes = counts / depths if thin else counts.astype(float)
    return Examples(target, _inside(ids, centres, level), diameter_nm, thin and level.shape[0] > 1, sizes)


def _inside(ids: np.ndarray, centres_nm: np.ndarray, level: Level) -> np.ndarray:
    """Move centroids that fall outside their (curved) object to a voxel of it."""
    out = centres_nm.copy()
    index = np.floor(level.to_voxels(centres_nm)).astype(int)
    off = np.flatnonzero(ids[tuple(index.T)] != np.arange(1, len(index) + 1))
    if off.size:
        boxes = cc3d.statistics(ids)["bounding_boxes"]
        for i in off:
            part = np.argwhere(ids[boxes[i + 1]] == i + 1) + [s.start for s in boxes[i + 1]]
            nearest = part[np.argmin((((part - index[i]) * level.voxel_nm) ** 2).sum(1))]
            out[i] = level.to_nm(nearest + 0.5)
    return out


def from_points(centres_nm: np.ndarray, diameter_nm: float, like: Level) -> Examples:
    """Examples from centres; the labelled region is the whole of ``like``, on whose grid the target is drawn.

    The target is a Gaussian of standard deviation ``diameter_nm / 4`` around each centre.
    """
    centres_nm = np.asarray(centres_nm, float).reshape(-1, 3)
    if like.box.size > MAX_VOXELS:
        raise InputError(
            f"got a region of {like.box.size:.2e} voxels, at most {MAX_VOXELS:.2e} fit; give a smaller one"
        )
    sigma = diameter_nm / 4 / np.array(like.voxel_nm)
    target = np.zeros(like.shape, np.float32)
    kept = []
    for centre in centres_nm:
        at = like.to_voxels(centre)
        if (at < 0).any() or (at >= like.shape).any():
            continue
        kept.append(centre)
        low = np.maximum(0, np.floor(at - 3 * sigma - 0.5)).astype(int)
        high = np.minimum(like.shape, np.ceil(at + 3 * sigma + 0.5)).astype(int)
        grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        # the voxel that holds the centre must reach 1 however flat the object is
        middle = np.where(sigma < 1, np.floor(at) + 0.5, at)
        r2 = sum(((g + 0.5 - c) / max(s, 0.4)) ** 2 for g, c, s in zip(grids, middle, sigma, strict=True))
        near = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        target[near] = np.maximum(target[near], np.exp(-r2 / 2))
    if not kept:
        raise InputError(
            f"got {len(centres_nm)} points, none inside the volume; check their units (nm) and axes (z, y, x)"
        )
    level = Level(np.rint(target * 255).astype(np.uint8), like.voxel_nm, like.origin_nm)
    return Examples(level, np.array(kept), diameter_nm)


def crop(level: Level, box: Box) -> Level:
    """A level that is part of another, in the same place of the world."""
    inside = box.clip(level.shape)
    return Level(level.array[(..., *inside.slices)], level.voxel_nm, _corner(level, inside))


def _corner(level: Level, box: Box) -> FVec3:
    return fvec3(level.to_nm(box.start).tolist())


def split_region(examples: Examples, validation: float, gap_nm: Sequence[float]) -> tuple[Box, Box]:
    """Two boxes of the target's voxels, spatially apart: to train on, and to measure on.

    The cut is across the axis and on the side where the measured part's share of objects is nearest to ``validation``.

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
            f"got {len(at)} objects that cannot be split into two separate blocks with at least two in each; "
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

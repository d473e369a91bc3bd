"""Labels seen through the decisions, lazily: what is read is renumbered, nothing is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.geometry import FVec3, Vec3, vec3
from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.segment.proofread.decisions import State


class Live:
    """The state that all levels of one view show; replaced as a whole, so that a reader sees the old or the new one."""

    def __init__(self, state: State) -> None:
        self.state = state


@dataclass(frozen=True)
class Corrected(ChunkWise):
    """Labels (z, y, x) of one level as they are shown after the decisions.

    ``step``: finest voxels per voxel. An axis takes a number, a slice, or a list of numbers or of booleans.
    """

    live: Live
    step: FVec3

    def __getitem__(self, key: Any) -> np.ndarray:
        key = _whole(key if isinstance(key, tuple) else (key,), self.ndim)
        spans, rest = zip(*(_span(k, n) for k, n in zip(key, self.shape, strict=True)), strict=True)
        state = self.live.state
        return state.shown(self.atoms(state, spans))[tuple(rest)]

    def atoms(self, state: State, spans: tuple[slice, ...]) -> np.ndarray:
        """Segments as the segmentation and the cuts number them."""
        block = np.array(self.array[spans], self.dtype)
        start = vec3([s.start for s in spans])
        for cut in state.cuts:
            cut.apply(block, start, self.step)
        return block


def corrected(labels: Volume, live: Live) -> Volume:
    """A volume of labels as shown after the decisions, on every level."""
    finest = labels.levels[0]
    levels = [replace(one, array=Corrected(one.array, live, one.factor_to(finest))) for one in labels.levels]
    return replace(labels, levels=tuple(levels))


def point_spans(point: Vec3) -> tuple[slice, ...]:
    """One voxel as slices."""
    return tuple(slice(p, p + 1) for p in point)


def _whole(key: tuple[Any, ...], ndim: int) -> tuple[Any, ...]:
    """One index per axis."""
    if any(k is Ellipsis for k in key):
        at = next(i for i, k in enumerate(key) if k is Ellipsis)
        key = (*key[:at], *[slice(None)] * (ndim - len(key) + 1), *key[at + 1 :])
    return (*key, *[slice(None)] * (ndim - len(key)))


def _span(key: Any, n: int) -> tuple[slice, Any]:
    """The range of an axis that an index needs, and the index within it."""
    if isinstance(key, slice):
        steps = range(n)[key]
        if not len(steps):
            return slice(0, 0), slice(None)
        low, high = min(steps[0], steps[-1]), max(steps[0], steps[-1])
        return slice(low, high + 1), slice(None, None, steps.step)
    wanted = np.asarray(key)
    if wanted.dtype == bool:
        wanted = np.flatnonzero(wanted)
    wanted = np.where(wanted < 0, wanted + n, wanted)
    if wanted.size and (wanted.min() < 0 or wanted.max() >= n):
        raise IndexError(f"index {key} is out of range of {n} voxels")
    first = int(wanted.min()) if wanted.size else 0
    last = int(wanted.max()) + 1 if wanted.size else 0
    rest: Any = int(wanted) - first if wanted.ndim == 0 else wanted - first
    return slice(first, last), rest

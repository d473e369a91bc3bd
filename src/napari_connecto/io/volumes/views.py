"""A common interface to every format: a lazy (z, y, x) or (c, z, y, x) array over the stored data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, Protocol

import numpy as np

from napari_connecto.core.errors import ChoiceError, InputError
from napari_connecto.core.volume import voxel_type

ChannelChoice = int | Literal["all"] | None


class Source(Protocol):
    """A stored array. Contract: picklable; `read` takes one slice of step 1 per stored axis and keeps all axes;
    what cannot be decoded raises `ChunkError`."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    @property
    def chunks(self) -> tuple[int, ...] | None: ...

    def read(self, index: tuple[slice, ...]) -> np.ndarray: ...


@dataclass(frozen=True)
class View:
    """What a level shows of a source.

    Parameters
    ----------
    source
        Where voxels come from.
    picks
        Per stored axis the index that is picked, or None where the axis is shown.
    order
        Per shown axis the stored axis it is, or None for an axis of one voxel that is not stored.
    """

    source: Source
    picks: tuple[int | None, ...]
    order: tuple[int | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent of the shown axes."""
        return tuple(1 if axis is None else int(self.source.shape[axis]) for axis in self.order)

    @property
    def dtype(self) -> np.dtype:
        """Type of one voxel; bool is shown as uint8."""
        return voxel_type(self.source.dtype)

    @property
    def ndim(self) -> int:
        """3, or 4 with channels."""
        return len(self.order)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes when decoded."""
        return self.size * self.dtype.itemsize

    @property
    def chunks(self) -> tuple[int, ...] | None:
        """Extent of one stored chunk along the shown axes; None where the source is not chunked."""
        stored = self.source.chunks
        if stored is None:
            return None
        return tuple(1 if axis is None else int(stored[axis]) for axis in self.order)

    @property
    def remote(self) -> bool:
        """Whether each read waits for a network."""
        return bool(getattr(self.source, "remote", False))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        wanted = _expand(key, self.shape)
        ranges = [w if isinstance(w, slice) else slice(w, w + 1) for w in wanted]
        index = [slice(0, 1) if pick is None else slice(pick, pick + 1) for pick in self.picks]
        for axis, part in zip(self.order, ranges, strict=True):
            if axis is not None:
                index[axis] = slice(part.start, part.stop)
        shape = tuple(max(0, part.stop - part.start) for part in ranges)
        if 0 in shape:
            block = np.empty(shape, self.dtype)
        else:
            stored = self.source.read(tuple(index))
            shown = [axis for axis in self.order if axis is not None]
            rest = [axis for axis in range(stored.ndim) if axis not in shown]
            block = stored.transpose(*shown, *rest).reshape(shape).astype(self.dtype, copy=False)
        return block[tuple(slice(None, None, w.step) if isinstance(w, slice) else 0 for w in wanted)]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype=dtype)


def _expand(key: Any, shape: Sequence[int]) -> list[Any]:
    """One int or slice with known bounds per axis."""
    parts = list(key) if isinstance(key, tuple) else [key]
    missing = len(shape) - sum(part is not Ellipsis for part in parts)
    if missing < 0:
        raise IndexError(f"got {len(parts)} indices for an array of {len(shape)} axes")
    gap = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[gap : gap + 1] = [slice(None)] * missing
    wanted: list[Any] = []
    for part, n in zip(parts, shape, strict=True):
        if isinstance(part, slice):
            start, stop, step = part.indices(n)
            if step < 1:
                raise IndexError("a lazy volume is sliced with positive steps only; read it, then reverse it")
            wanted.append(slice(start, max(start, stop), step))
        else:
            i = int(part)
            if not -n <= i < n:
                raise IndexError(f"index {i} is out of range for an axis of {n} voxels")
            wanted.append(i % n)
    return wanted


def guess_axes(shape: Sequence[int]) -> str:
    """Axes of an array that names none: y x, z y x, c z y x, t c z y x; a last axis of 3 or 4 is colour."""
    names = {2: "yx", 3: "zyx", 4: "czyx", 5: "tczyx"}.get(len(shape))
    if names is None:
        raise InputError(f"got an array of shape {tuple(shape)}; 2 to 5 axes can be opened")
    if len(shape) in (3, 4) and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4:
        return "yxc" if len(shape) == 3 else "zyxc"
    return names


def view(source: Source, axes: Sequence[str], channel: ChannelChoice = None, time: int | None = None) -> View:
    """Show a source whose stored axes are named by ``axes`` ("t", "c", "z", "y", "x") as (z, y, x) or (c, z, y, x).

    Raises
    ------
    ChoiceError
        If there are several channels or time points and none was picked.
    InputError
        If y or x is absent, or what was picked is.
    """
    if len(axes) != len(source.shape):
        raise InputError(f"got axes {list(axes)} for an array of shape {source.shape}; need one name per axis")
    unknown = [a for a, n in zip(axes, source.shape, strict=True) if a not in set("tczyx") and n > 1]
    if unknown or len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes):
        raise InputError(
            f"got axes {list(axes)}; allowed: y and x, with z, c, t, each at most once (axes='zyx', --axes zyx)"
        )
    where = {name: i for i, name in enumerate(axes)}
    picks: list[int | None] = [0] * len(axes)
    order: list[int | None] = [where.get(name) for name in "zyx"]
    if channel == "all":
        order.insert(0, where.get("c"))
    elif "c" in where:
        picks[where["c"]] = _pick("channel", channel, int(source.shape[where["c"]]), "; or channel='all'")
    elif channel:
        raise InputError(f"got channel={channel}; there is no channel axis: leave it out (--channel)")
    if "t" in where:
        picks[where["t"]] = _pick("time", time, int(source.shape[where["t"]]), "")
    elif time:
        raise InputError(f"got time={time}; there is no time axis: leave it out (--time)")
    for axis in order:
        if axis is not None:
            picks[axis] = None
    return View(source, tuple(picks), tuple(order))


def _pick(name: str, value: int | None, n: int, more: str) -> int:
    if value is None and n > 1:
        things = "time points" if name == "time" else f"{name}s"
        raise ChoiceError(
            f"got {n} {name}s and none picked; choose one, {name}=0 to {n - 1}{more} (--{name} N)",
            [f"{n} {things}: choose one with --{name} 0 to {n - 1}"],
            {name: 0 if name == "time" else "all"},
        )
    if not 0 <= (value or 0) < n:
        raise InputError(f"got {name}={value}; allowed: 0 to {n - 1}{more} (--{name} N)")
    return value or 0

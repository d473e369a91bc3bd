"""Arrays that are read only where a viewer looks.

napari cuts a pyramid to what is in view along the displayed axes, and only then picks the section: `data[:, y, x][z]`.
A zarr array would read the whole depth for it, each time the view moves, in the thread that draws. Here slices alone
read nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

Key: TypeAlias = tuple[Any, ...]


class Lazy(NDArrayOperatorsMixin, ABC):
    """An array that is read when it is indexed by a number or an ellipsis, or used as a numpy array.

    Parameters
    ----------
    shape, dtype
        Of the whole.
    chunks
        What is read and drawn at once, None if there are none: napari reads anew only where a view leaves them.
    """

    def __init__(self, shape: Sequence[int], dtype: Any, chunks: Any = None) -> None:
        self.shape, self.dtype, self.chunks = tuple(shape), np.dtype(dtype), chunks
        self.ndim, self.size = len(self.shape), prod(self.shape)

    @abstractmethod
    def read(self, key: Key) -> np.ndarray:
        """What numpy would give for a key of as many ints, slices and arrays of ints as there are axes."""

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [k for k in keys if not isinstance(k, np.ndarray)]:
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            full = (*keys[:at], *[slice(None)] * (self.ndim - len(keys) + 1), *keys[at + 1 :])
            return self.read(full)
        full = (*keys, *[slice(None)] * (self.ndim - len(keys)))
        if all(isinstance(k, slice) and k.step in (None, 1) for k in full):
            return _Cut(self, full)
        return self.read(full)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[...], dtype)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
        read = [np.asarray(one) if isinstance(one, Lazy) else one for one in inputs]
        return getattr(ufunc, method)(*read, **keywords)

    def __len__(self) -> int:
        return self.shape[0]


class _Cut(Lazy):
    """A box of an array, not read yet."""

    def __init__(self, whole: Lazy, box: Sequence[slice]) -> None:
        self._whole = whole
        self._ranges = [range(n)[k] for k, n in zip(box, whole.shape, strict=True)]
        super().__init__([len(r) for r in self._ranges], whole.dtype)

    def read(self, key: Key) -> np.ndarray:
        return self._whole.read(tuple(_within(r, k) for r, k in zip(self._ranges, key, strict=True)))


def _within(along: range, key: Any) -> Any:
    """A key into a part of an axis as a key into the whole axis."""
    if isinstance(key, slice):
        part = along[key]
        return slice(part.start, part.stop if part.stop >= 0 else None, part.step)
    if isinstance(key, np.ndarray | list):
        return np.asarray(along)[key]
    return along[key]


class Stored(Lazy):
    """An array of a store, such as zarr; `array` is the store's own."""

    def __init__(self, array: Any) -> None:
        self.array = array
        super().__init__(array.shape, array.dtype, getattr(array, "chunks", None))

    def read(self, key: Key) -> np.ndarray:
        return np.asarray(self.array[key])


class Flat(Lazy):
    """The only section of a (1, y, x) array as (y, x)."""

    def __init__(self, array: Any) -> None:
        self.array = array
        chunks = getattr(array, "chunks", None)
        super().__init__(array.shape[1:], array.dtype, None if chunks is None else chunks[1:])

    def read(self, key: Key) -> np.ndarray:
        return np.asarray(self.array[(0, *key)])


class Relabelled(Lazy):
    """A label array seen through a table from old to new ids; change `table` and refresh."""

    def __init__(self, array: Any, table: np.ndarray) -> None:
        self.array, self.table = array, table
        super().__init__(array.shape, np.uint32, getattr(array, "chunks", None))

    def read(self, key: Key) -> np.ndarray:
        block = np.asarray(self.array[key])
        return self.table[np.minimum(block, len(self.table) - 1)]


def cut_first(arrays: Sequence[Any]) -> list[Any]:
    """The levels of a pyramid as arrays that can be cut without being read. A single level is left as it is: napari
    picks its section first, and paints into it.
    """
    if len(arrays) == 1:
        return list(arrays)
    ready = (np.ndarray, Lazy)
    return [a if isinstance(a, ready) or hasattr(a, "__dask_graph__") else Stored(a) for a in arrays]


def behind(array: Any) -> Any:
    """The array of the store itself, see `cut_first`."""
    return array.array if isinstance(array, Stored) else array

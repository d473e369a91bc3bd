"""Exact arithmetic on values with a large offset: subtracted in the stored type, before anything is rounded.

float32 has 24 bits: an image of 0 to 255 with an offset of 4 * 10^9 would be reduced to one grey value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

PIECE = 2**20
"""Values converted at a time."""


def narrow(dtype: np.dtype) -> bool:
    """Whether float32 holds every value of the type with room for arithmetic: booleans and integers of 16 bits."""
    return dtype.kind in "iub" and dtype.itemsize <= 2


def wide(values: np.ndarray) -> np.ndarray:
    """The values as float32 where that holds them exactly, else as float64."""
    return values.astype(np.float32 if narrow(values.dtype) else np.float64, copy=False)


def above(values: np.ndarray, base: float) -> np.ndarray:
    """``values - base`` as float64; of 64-bit integers and an integer ``base`` exact before it is rounded."""
    if values.dtype.kind not in "iu" or values.dtype.itemsize < 8 or not isinstance(base, int):
        return values.astype(np.float64) - float(base)
    own = values.astype(values.dtype.newbyteorder("="), copy=False)
    start = np.array(base, own.dtype)
    up, down = ((a - b).view(np.uint64).astype(np.float64) for a, b in ((own, start), (start, own)))
    return np.where(own >= start, up, -down)


def raised(values: np.ndarray, base: float, dtype: np.dtype) -> np.ndarray:
    """Whole numbers from 0 on, put back on their base, in a 64-bit integer type; inverse of `above`."""
    return (values.astype(np.uint64) + np.uint64(base % 2**64)).astype(dtype)


def plain(value: np.generic) -> float:
    """A value as a Python number: exact, of any type."""
    return int(value) if value.dtype.kind in "iub" else float(value)


def percentiles(values: np.ndarray, q: Sequence[float]) -> tuple[float, list[float]]:
    """Percentiles, as a value that occurs and what has to be added to it.

    Parameters
    ----------
    values
        Finite, of any shape and real type; at least one.
    q
        0 to 100, rising.

    Returns
    -------
    base, above : float, list of float
        Percentile i is ``base + above[i]``, linear between neighbours as numpy's. ``base`` is a Python integer where
        the values are integers.
    """
    flat = values.ravel()
    flat = flat.astype(np.uint8) if flat.dtype.kind == "b" else flat
    places = [p / 100 * (flat.size - 1) for p in q]
    first = [min(int(place), flat.size - 1) for place in places]
    after = [min(n + 1, flat.size - 1) for n in first]
    ordered = np.partition(flat, sorted({*first, *after}))
    base = plain(ordered[first[0]])
    found = []
    for place, n, m in zip(places, first, after, strict=True):
        low, high = plain(ordered[n]), plain(ordered[m])
        found.append(float(low - base) + float(high - low) * (place - n))
    return base, found


def moments(values: np.ndarray) -> tuple[float, float, float]:
    """A value that occurs, how far the mean lies above it, and the standard deviation; of finite values."""
    flat = values.ravel()
    base = plain(flat[0])
    mean = sum(float(part.sum()) for part in _pieces(flat, base)) / flat.size
    square = sum(float(((part - mean) ** 2).sum()) for part in _pieces(flat, base)) / flat.size
    return base, mean, float(np.sqrt(square))


def _pieces(flat: np.ndarray, base: float) -> Iterator[np.ndarray]:
    return (above(flat[at : at + PIECE], base) for at in range(0, flat.size, PIECE))

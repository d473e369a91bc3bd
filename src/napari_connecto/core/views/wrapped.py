"""Base of array views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Wrapped(ABC):
    """Of the same shape and type as ``array``, which any level may hold; subclasses define how it is read."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """As of the array."""
        return np.dtype(self.array.dtype)

    @property
    def ndim(self) -> int:
        """3, or 4 with channels."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of voxels."""
        return prod(self.shape)

    @abstractmethod
    def __getitem__(self, key: Any) -> np.ndarray:
        """Voxels of a slice ``array[..., z, y, x]``."""

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[tuple(slice(0, n) for n in self.shape)], dtype=dtype)


@dataclass(frozen=True)
class ChunkWise(Wrapped):
    """A view that is best read along the array's chunks."""

    @property
    def chunks(self) -> Any:
        """As of the array; None where it is not chunked."""
        return getattr(self.array, "chunks", None)

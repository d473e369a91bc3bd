"""An array seen differently: what such views of a level's array share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Wrapped:
    """Of the same shape and type as ``array``, which any level may hold; how it is read, subclasses say."""

    array: Any

    @property
    def shape(self) -> tuple[int, ...]:
        """As of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """As of the array."""
        return np.dtype(self.array.dtype)

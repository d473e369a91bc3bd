"""Uncertainty of a boundary map: the entropy of its probability, read from 8 bits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from napari_connecto.core.views.wrapped import ChunkWise
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.shared.uncertainty_kinds import entropy

BITS = entropy(np.arange(256) / 255).astype(np.float32)
"""Entropy of a stored probability, by its 8 bits."""


def entropy_of(probability: Volume) -> Volume:
    """Binary entropy of a stored boundary map (uint8), float32 in bits, of the same levels; computed when read."""
    levels = tuple(replace(level, array=Bits(level.array)) for level in probability.levels)
    return replace(probability, levels=levels, name="membrane uncertainty", source="")


@dataclass(frozen=True)
class Bits(ChunkWise):
    """Entropy of an array of uint8 probabilities."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    def __getitem__(self, key: Any) -> np.ndarray:
        return BITS[np.asarray(self.array[key])]

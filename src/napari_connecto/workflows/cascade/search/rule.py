"""How objects are extracted from a probability map."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal, get_args

from napari_connecto.core.errors import InputError

Head = Literal["centres", "masks"]


@dataclass(frozen=True)
class ObjectRule:
    """How objects are extracted from a probability map.

    Parameters
    ----------
    head
        "centres": maxima of the smoothed map, at least half a diameter apart, scored by its height there.
        "masks": connected regions above ``threshold``, scored by their mean.
    threshold
        Smallest probability, in [0, 1].
    diameter_nm
        Diameter of a typical object; determines the boxes of centres and the smallest distance between two.
    min_voxels
        Smaller masks are discarded.
    flat
        Sections along z are unrelated: masks in two sections are two objects.
    split_nm
        Masks: touching objects of this typical thickness are split, see `split.parted`. 0: they stay one object.
    """

    head: Head
    threshold: float
    diameter_nm: float
    min_voxels: int = 8
    flat: bool = False
    split_nm: float = 0.0

    def __post_init__(self) -> None:
        sound = self.head in get_args(Head) and 0 <= self.threshold <= 1 and 0 <= self.diameter_nm < inf
        sound = sound and 0 <= self.split_nm < inf
        if not (sound and self.min_voxels >= 0):
            raise InputError(f"got the rule {self}; allowed: {get_args(Head)}, a threshold of 0 to 1, sizes from 0")

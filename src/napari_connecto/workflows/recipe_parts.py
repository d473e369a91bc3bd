"""What recipes of all workflows share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box, vec3


def region_of(recipe: Mapping[str, Any]) -> Box | None:
    """The recipe's region, in voxels of the finest level; None: everywhere.

    Raises
    ------
    InputError
        If it is not six whole numbers.
    """
    numbers = recipe.get("region")
    if numbers is None:
        return None
    if not isinstance(numbers, list | tuple) or len(numbers) != 6 or not all(isinstance(n, int) for n in numbers):
        raise InputError(f"got region {numbers}; it is six numbers: z0 y0 x0 z1 y1 x1, voxels of the finest level")
    return Box(vec3(numbers[:3]), vec3(numbers[3:]))

"""Minimum size of a mask that counts as an object, from the sizes of the labelled objects."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.training.labelled_region import Examples

SMALL = 0.05
"""Quantile of the labelled objects' sizes from which the minimum size is derived: at most this share is smaller."""
SPECK = 0.1
"""Labels below this share of a typical object's diameter are specks of the brush, not objects."""
FLOOR = 4
"""Smallest minimum size in voxels, unless the labelled objects are as small."""


def least_voxels(examples: Examples, within: Box, level: Level) -> int:
    """Half the diameter of a small labelled object, as an area in sections and as a volume otherwise.

    Parameters
    ----------
    examples
        Labels; their ``voxels`` are areas if every object spans one section. For points there are none: 1.
    within
        Voxels of the labels that may be used: the training part.
    level
        The result is in voxels of this grid.

    Notes
    -----
    A small object is the `SMALL` quantile of the sizes, taken as one of them, so that it is the smallest of fewer than
    20. Specks neither lower it nor count; a typical object, to identify specks, is the one that contains the median
    labelled voxel, which specks cannot shift however many they are.
    """
    sizes = np.sort(examples.voxels[examples.inside(within)])
    if not sizes.size:
        return 1
    grid = examples.target
    ratio = np.array(grid.voxel_nm) / level.voxel_nm
    flat = examples.flat or grid.shape[0] == 1
    depth = 1.0 if flat else max(ratio[0], min(1.0, grid.voxel_nm[0] / examples.diameter_nm))  # no less than a section
    sizes = sizes * ratio[1] * ratio[2] * depth
    power = 2 if flat else 3
    typical = sizes[np.searchsorted(np.cumsum(sizes), sizes.sum() / 2)]
    objects = sizes[sizes >= typical * SPECK**power]
    small = float(np.quantile(objects, SMALL, method="lower"))
    return max(1, min(FLOOR, int(small)), int(small / 2**power))

"""The least size of a mask to be an object, from the sizes of the labelled objects."""

from __future__ import annotations

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.training.labelled_region import Examples

SMALL = 0.05
"""Quantile of the labelled objects' sizes that the least size starts from: at most this share can lie below it."""
SPECK = 0.1
"""Labels of less than this share of a typical object's diameter are specks of the brush, not objects."""
FLOOR = 4
"""Voxels that a mask has at least, unless the labelled objects are as small."""


def least_voxels(examples: Examples, within: Box, level: Level) -> int:
    """Half the diameter of a small labelled object, as an area in sections and as a volume elsewhere.

    Parameters
    ----------
    examples
        Labels; their ``voxels`` are areas where every object lies in one section. Of points there are none: 1.
    within
        Voxels of the labels that may be looked at: the part that is trained on.
    level
        The result is in voxels of this grid.

    Notes
    -----
    A small object is the `SMALL` quantile, taken as one of the sizes, so that it is the smallest of fewer than 20.
    Specks neither make it smaller nor count among them; a typical object, to tell specks, is the one that the median
    labelled voxel lies in, which they cannot move however many they are.
    """
    sizes = np.sort(examples.voxels[examples.inside(within)])
    if not sizes.size:
        return 1
    grid = examples.target
    ratio = np.array(grid.voxel_nm) / level.voxel_nm
    flat = examples.flat or grid.shape[0] == 1
    sizes = sizes * ratio[1] * ratio[2] * (max(1.0, ratio[0]) if not flat else 1.0)
    power = 2 if flat else 3
    typical = sizes[np.searchsorted(np.cumsum(sizes), sizes.sum() / 2)]
    objects = sizes[sizes >= typical * SPECK**power]
    small = float(np.quantile(objects, SMALL, method="lower"))
    return max(1, min(FLOOR, int(small)), int(small / 2**power))

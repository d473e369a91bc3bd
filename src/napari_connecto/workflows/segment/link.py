"""Link segments of successive sections into objects."""

from __future__ import annotations

import numpy as np

from napari_connecto.workflows.segment.agglomerate import Touching, groups, touching
from napari_connecto.workflows.segment.params import SegmentParams

NEUTRAL = 0.36
"""Mean boundary between two segments at which their overlap counts as it is; less makes it count more, more less.

Chosen for the default of `SegmentParams.link`, on sections 0-19 of ISBI 2012 and SNEMI (docs/benchmarks/segment3d.md).
"""


def linked(found: Touching, sizes: np.ndarray, params: SegmentParams) -> np.ndarray:
    """Object of each segment, (n + 1,), numbered by its first; see `link`."""
    return groups(len(sizes) - 1, link(found, sizes, params.link, clear=params.link_by == "boundary"))


def link(found: Touching, sizes: np.ndarray, least: float, *, clear: bool = False) -> np.ndarray:
    """Pairs (n, 2) of segments of successive sections that belong to one object.

    Parameters
    ----------
    found
        Contacts of segments of a section (first) with those of the next; of one pair there may be several. Their areas
        are voxels of overlap.
    sizes
        Voxels of each segment, by number.
    least
        Smallest intersection over union. One of the two must be the other's best match, so that branches are followed.
    clear
        Multiply it by ``(1 - mean boundary) / (1 - NEUTRAL)``: where sections of one neurite overlap, neither has a
        boundary.
    """
    edges, heights, areas = found
    if not len(edges):
        return edges
    keys, at = np.unique(edges[:, 0] * len(sizes) + edges[:, 1], return_inverse=True)
    below, above = np.divmod(keys, len(sizes))
    common = np.bincount(at, areas)
    score = common / (sizes[below] + sizes[above] - common)
    if clear:
        score *= (1 - np.bincount(at, heights) / common) / (1 - NEUTRAL)
    best = np.zeros(len(keys), bool)
    for side in (below, above):
        order = np.lexsort((keys, -score, side))
        best[order[np.unique(side[order], return_index=True)[1]]] = True
    chosen = best & (score >= least)
    return np.stack([below[chosen], above[chosen]], axis=1)


def link_sections(labels: np.ndarray, boundary: np.ndarray, params: SegmentParams) -> np.ndarray:
    """Link the sections of one block: labels 1 to n, later sections greater, (z, y, x), become objects, uint32."""
    found = touching(labels[:-1], labels[1:], boundary[:-1], boundary[1:])
    return linked(found, np.bincount(labels.ravel()), params)[labels].astype(np.uint32)

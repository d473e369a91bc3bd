"""How detections look as points: symbols and colours of verdicts, sizes, and the sections that show each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.utils.color import ColorArray

from napari_connecto.widgets.viewer.view import OKABE_ITO
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, REJECTED

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections

SYMBOLS = {NEW: "disc", ACCEPTED: "square", REJECTED: "cross", ADDED: "star"}
COLOURS = {status: OKABE_ITO[status] for status in SYMBOLS}
BORDER = 0.08
"""Width of a point's border, as a share of its diameter."""
LEAST_SIZE = 6.0
"""Voxels of level 0: smaller markers are hard to see."""


def features(found: Detections) -> dict[str, np.ndarray]:
    """Properties that napari shows of a point under the mouse."""
    return {
        "id": found.id,
        "score": np.round(found.score, 4),
        **{f"{axis}_nm": np.round(found.centre_nm[:, i], 1) for i, axis in enumerate("zyx")},
        "status": found.status,
        "tags": found.tags.astype(str),
        **{name: _short(column) for name, column in found.measures.items()},
    }


def _short(column: np.ndarray) -> np.ndarray:
    """Measurements with the digits that are read."""
    return np.array([float(f"{v:.5g}") for v in column]) if np.asarray(column).dtype.kind == "f" else column


def verdict_colours(status: np.ndarray) -> np.ndarray:
    """RGBA (n, 4) of statuses (n,)."""
    out = np.zeros((len(status), 4))
    for each, colour in COLOURS.items():
        out[status == each] = np.asarray(ColorArray([colour]))[0]
    return out


def extents(found: Detections, factor: np.ndarray) -> np.ndarray:
    """Side lengths (n, 3) of the boxes, in units of which a box's voxel has ``factor`` (z, y, x)."""
    return np.asarray((found.box[:, 3:] - found.box[:, :3]) * factor, float)


def sizes(extent: np.ndarray) -> np.ndarray:
    """Diameters (n,) of points: slightly more than the longer in-plane side."""
    return np.maximum(LEAST_SIZE, extent[:, 1:].max(axis=1) * 1.2)


def unit(extent: np.ndarray, least: np.ndarray | float, ndim: int) -> np.ndarray:
    """Units (ndim,) of the points layer, in voxels of its image, at least 1: as deep as the deepest object.

    napari shows a point in the sections within half a unit of its layer; `depth.InDepth` leaves out those that an
    object does not reach. (The viewer's own section thickness applies to all layers, and averages images.) Units in y
    and x are those of a typical object, and equal, because a point is round. In 2-D there are no sections, and units
    are voxels.
    """
    if ndim < 3:
        return np.ones(ndim)
    depth = max(float(extent[:, 0].max()), float(np.broadcast_to(least, 3)[0]))
    across = np.maximum(np.median(extent[:, 1:], axis=0), np.broadcast_to(least, 3)[1:])
    return np.maximum([depth, across.max(), across.max()], 1.0) * (1 + 1e-9)  # so that the border is inside

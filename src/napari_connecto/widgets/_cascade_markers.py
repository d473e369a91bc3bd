"""How detections look as points: symbols and colours of verdicts, sizes, and in which sections each is shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from napari.utils.color import ColorArray

from napari_connecto.widgets._layers import world_factor
from napari_connecto.widgets._view import OKABE_ITO
from napari_connecto.workflows.verdicts import ACCEPTED, NEW, REJECTED

if TYPE_CHECKING:
    from napari_connecto.workflows.detections import Detections

Margin = tuple[float, ...]
SYMBOLS = {NEW: "disc", ACCEPTED: "square", REJECTED: "cross"}
BORDER = 0.12
"""Width of a point's ring, as a share of its diameter."""
LEAST_SIZE = 6.0
"""Voxels of level 0: smaller rings cannot be seen."""


def features(found: Detections, status: np.ndarray) -> dict[str, np.ndarray]:
    """What napari shows of a point under the mouse."""
    return {
        "id": found.id,
        "score": np.round(found.score, 4),
        **{f"{axis}_nm": np.round(found.centre_nm[:, i], 1) for i, axis in enumerate("zyx")},
        "status": status,
    }


def verdict_colours(status: np.ndarray) -> np.ndarray:
    """RGBA (n, 4) of statuses (n,)."""
    colours = {s: np.asarray(ColorArray([OKABE_ITO[s]]))[0] for s in SYMBOLS}
    return np.stack([colours[str(s)] for s in status]) if len(status) else np.empty((0, 4))


def extents(found: Detections, factor: np.ndarray) -> np.ndarray:
    """Sides (n, 3) of the boxes, in units of which a box's voxel has ``factor`` (z, y, x)."""
    return np.asarray((found.box[:, 3:] - found.box[:, :3]) * factor, float)


def sizes(extent: np.ndarray) -> np.ndarray:
    """Diameters (n,) of points: the longer side across the usual view, and a little more."""
    return np.maximum(LEAST_SIZE, extent[:, 1:].max(axis=1) * 1.2)


class Sections:
    """Shows points also in sections near theirs: within half a typical object, along every axis.

    napari knows one slice thickness for a viewer. It is only made larger, for a user may have chosen one; what was set
    here is set anew.
    """

    def __init__(self, before: Sections | None = None) -> None:
        self._set: tuple[Margin, Margin] | None = None if before is None else before._set

    def show(self, viewer: Any, image: Layer, depth: np.ndarray) -> None:
        """Show points within half of ``depth``, voxels (z, y, x) of an image layer's level 0; at least one counts."""
        dims, n = viewer.dims, min(image.ndim, 3)
        world = image.scale[-n:] * world_factor(image, viewer.layers.units)[-n:]
        reach = np.maximum(depth[-n:], 1.0) / 2 * world * (1 + 1e-6)  # what lies on the rim is inside
        now = dims.margin_left, dims.margin_right
        left, right = ([0.0] * dims.ndim, [0.0] * dims.ndim) if now == self._set else now
        self._set = _widened(left, reach), _widened(right, reach)
        dims.margin_left, dims.margin_right = self._set


def _widened(margin: Sequence[float], reach: np.ndarray) -> Margin:
    wide = np.concatenate([np.zeros(len(margin) - len(reach)), reach])
    return tuple(float(m) for m in np.maximum(margin, wide))

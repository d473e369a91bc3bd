"""Default segmentation mode of a boundary map, by the shape of its voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from napari_connecto.workflows.segment.params import SegmentParams

DEEPEST = 3.0
"""Largest ratio of voxel depth to width for 3-D segmentation.

Variation of information, 2d-linked less 3d, bits: FIB-SEM of 10 nm (FlyEM medulla, sections 135-234) +0.70, of every
second section +0.34, third +0.06, fourth -0.24, fifth -0.61; ATUM-SEM of 30 nm at 10 nm in plane (SNEMI) +0.35; ssTEM
of 50 nm at 10 nm (ISBI 2012) -1.39.
"""


def resolved(params: SegmentParams, shape: Sequence[int], voxel: Sequence[float]) -> SegmentParams:
    """The params with "auto" replaced by a mode; see `mode_of`."""
    return replace(params, mode=mode_of(params, shape, voxel)[0])


def mode_of(
    params: SegmentParams, shape: Sequence[int], voxel: Sequence[float], *, calibrated: bool = True
) -> tuple[str, str]:
    """The mode to use, and the reason.

    Parameters
    ----------
    params
        With a mode that may be "auto".
    shape
        Of the part to segment, (z, y, x).
    voxel
        Its voxel size, (z, y, x); only ratios matter.
    calibrated
        Whether the voxel size is known.

    Returns
    -------
    mode, reason : str
        "2d", "2d-linked" or "3d", and a sentence without a full stop.
    """
    if params.mode != "auto":
        return params.mode, f"mode {params.mode}, as requested"
    if shape[0] == 1:
        return "2d", "mode 2d: there is one section"
    depth = float(voxel[0] / np.sqrt(voxel[1] * voxel[2]))
    size = f"voxels are {depth:.2g} times as deep as wide" + ("" if calibrated else ", as far as is known")
    if depth <= DEEPEST * (1 + 1e-6):
        return "3d", f"mode 3d: {size} (2d-linked above {DEEPEST:g})"
    return "2d-linked", f"mode 2d-linked: {size} (3d up to {DEEPEST:g})"

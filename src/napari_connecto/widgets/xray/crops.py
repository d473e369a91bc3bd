"""Small pictures of places: X-ray, EM-like image and uncertainty of one section, side by side; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from napari_connecto.core.geometry import FVec3, fvec3
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.shared.on_grid import on_grid
from napari_connecto.workflows.shared.worst import looked_at

SIDE = 64
"""Pixels of a picture's side."""
AROUND = 1.5
"""Side of a picture, in sides of the place."""
UNDECIDED = (0.25, 0.75)
"""Probabilities between which a voxel is neither membrane nor inside."""


Shade: TypeAlias = tuple[Volume, tuple[float, float] | None]
"""A volume, and what is black and white in it."""


class Shares(NamedTuple):
    """Shares of a translation, together 1: membranes that are certain, uncertain, and tissue that looks foreign.

    ``checked`` is False if the out-of-distribution check was not made.
    """

    certain: float
    uncertain: float
    foreign: float
    checked: bool


def triplet(centre_nm: FVec3, side_nm: float, images: Sequence[Shade]) -> np.ndarray:
    """The section through a point in several volumes, (n, SIDE, SIDE) uint8; with None for black and white, its own."""
    pixel = side_nm / SIDE
    corner = fvec3([centre_nm[0] - pixel / 2, centre_nm[1] - side_nm / 2, centre_nm[2] - side_nm / 2])
    grid = Level(np.broadcast_to(np.uint8(0), (1, SIDE, SIDE)), (pixel, pixel, pixel), corner)
    return np.stack([_grey(np.asarray(on_grid(v.levels[0], grid).read(grid.box))[0], ends) for v, ends in images])


def _grey(values: np.ndarray, ends: tuple[float, float] | None) -> np.ndarray:
    values = np.nan_to_num(values.astype(np.float32))
    low, high = ends or tuple(float(v) for v in np.percentile(values, (1, 99)))
    return np.asarray(np.clip((values - low) / max(high - low, 1e-9), 0, 1) * 255, np.uint8)


def triplets(places: Sequence[Any], xray: Volume, mean: Volume, third: Volume, full: float) -> list[np.ndarray]:
    """A triplet per place (``box`` in the mean's voxels, ``centre_nm``); ``full`` is white in the third image."""
    side = [AROUND * max(p.box.shape[1:]) * mean.levels[0].voxel_nm[1] for p in places]
    images: list[Shade] = [(xray, None), (mean, (0.0, 1.0)), (third, (0.0, full))]
    return [triplet(p.centre_nm, s, images) for p, s in zip(places, side, strict=True)]


def shares_of(probability: Volume, told: Mapping[str, Any]) -> Shares:
    """How much of the membranes of a boundary map is decided, and how much of the tissue is out of distribution.

    ``told`` is the out-of-distribution check as a report states it.
    """
    level = probability.levels[looked_at(probability)]
    p = np.asarray(level.read(level.box)) / np.float32(255)
    open_, clear = ((p > UNDECIDED[0]) & (p < UNDECIDED[1])).sum(), (p >= UNDECIDED[1]).sum()
    tiles = int(told.get("tiles", 0))
    foreign = int(told.get("outside", 0)) / tiles if tiles else 0.0
    doubt = float(open_ / max(1, open_ + clear)) * (1 - foreign)
    return Shares(1 - foreign - doubt, doubt, foreign, tiles > 0)

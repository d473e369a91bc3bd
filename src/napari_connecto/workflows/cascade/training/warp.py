"""Turns by any angle, changes of size and bends of training crops, in the plane of their sections."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, cos, pi, sin, sqrt

import cc3d
import numpy as np
from scipy import ndimage

SHARE, MANY = 0.5, 500
"""Share of the crops that are warped where little is labelled; from so many outlines on, none is. An object has one
outline in each section."""
SIZES = (0.8, 1.25)
"""Range of the changes of size."""
KNOTS, BENT = 4, 0.03
"""A bend moves so many knots along each axis at random, with this standard deviation, in sides of the crop."""


@dataclass(frozen=True)
class Warp:
    """Where the pixels of a crop lie in a wider one.

    Parameters
    ----------
    at
        (2, y, x) positions in voxels of the wider crop.
    """

    at: np.ndarray

    def linear(self, wide: np.ndarray) -> np.ndarray:
        """(..., y, x) in the wider crop, interpolated; float32."""
        return self._read(wide.astype(np.float32, copy=False), 1)

    def nearest(self, wide: np.ndarray) -> np.ndarray:
        """(..., y, x) in the wider crop, the nearest voxel's."""
        return self._read(wide, 0)

    def _read(self, wide: np.ndarray, order: int) -> np.ndarray:
        sections = wide.reshape(-1, *wide.shape[-2:])
        read = np.empty((len(sections), *self.at.shape[1:]), wide.dtype)
        for section, out in zip(sections, read, strict=True):
            ndimage.map_coordinates(section, self.at, out, order, mode="nearest")
        return read.reshape(*wide.shape[:-2], *self.at.shape[1:])


def warped_share(*targets: np.ndarray) -> float:
    """`SHARE` where the sections of targets (z, y, x), 255 in objects, hold fewer than `MANY` connected parts, else 0.

    Warped crops make up for few labels. With many labelled objects, a short training learns more from the objects as
    they are.
    """
    sections = [section for target in targets for section in target]
    count = sum(int(cc3d.connected_components(section >= 128, connectivity=8).max()) for section in sections)
    return SHARE if count < MANY else 0.0


def margin(side: int) -> int:
    """Voxels that the wider crop has on each side, for a square crop of this side."""
    return ceil(side * (sqrt(2) * SIZES[1] - 1) / 2) + 1


def draw_warp(rng: np.random.Generator, side: int) -> Warp:
    """A random one for square crops; the wider crop has `margin` more on each side, and its rim stands for the rest."""
    angle, size = rng.uniform(-pi, pi), SIZES[0] * (SIZES[1] / SIZES[0]) ** rng.uniform()
    centred = np.arange(side) - (side - 1) / 2
    y, x = np.meshgrid(centred, centred, indexing="ij")
    turned = size * np.stack([cos(angle) * y - sin(angle) * x, sin(angle) * y + cos(angle) * x])
    middle = (side + 2 * margin(side) - 1) / 2
    return Warp((turned + middle + _bend(rng, side)).astype(np.float32))


def _bend(rng: np.random.Generator, side: int) -> np.ndarray:
    """Smooth displacements (2, side, side): cubic between random ones of the knots."""
    moved = rng.standard_normal((2, KNOTS, KNOTS)) * BENT * side
    at = np.linspace(0, KNOTS - 1, side)
    distance = np.abs(at[:, None] - np.arange(KNOTS))
    weight = np.where(distance < 1, 1 - 3 * distance**2 + 2 * distance**3, 0)  # smooth steps
    return np.asarray(np.einsum("yk,ckl,xl->cyx", weight, moved, weight))

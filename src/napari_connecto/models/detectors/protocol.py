"""What a registered detector is: a callable class that other packages write without importing this one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import FVec3, Vec3, fvec3, sound_size, vec3
from napari_connecto.core.model import LARGEST

Answers = Literal["probability", "labels", "points"]


@runtime_checkable
class Detector(Protocol):
    """A frozen dataclass whose fields are its options, all with defaults, and whose instances are called with tiles.

    Contract (``tests/contracts/detector.py``):

    - ``image`` is float32, (z, y, x), or (c, z, y, x) where ``channels`` is above 1: the tile and its halo, scaled as
      ``normalisation`` says. Beyond the volume's border its edge is repeated. It may be changed.
    - ``voxel_nm`` is the size of its voxels in nm, (z, y, x); in pixels where the volume states none.
    - The answer is, by ``answers``: "probability", float (z, y, x) in [0, 1]; "labels", integers (z, y, x), 0 for
      background, an object each, or a pair of them and of scores in [0, 1], (n + 1,), that of object i at i (objects
      below the threshold of the search, 0.5, are dropped); "points", (n, 3) positions in voxels of ``image``, (z, y,
      x), where the middle of the first voxel is (0, 0, 0), or (n, 4) with a score in [0, 1].
    - What it says of a place depends on no voxel farther away than ``halo``, and on no other call.

    These class attributes may be left out (defaults in brackets), and so may the method ``reads``, which gives some of
    them by the image: ``reads(voxel_nm, shape)``, the size of its voxels and its shape (z, y, x), to a mapping.

    - ``tile`` [(1, 256, 256)] and ``halo`` [(0, 32, 32)], voxels: what a call answers for, and the context it needs;
    - ``voxel_nm`` [None]: the voxel size that it wants, None for the image's own;
    - ``channels`` [1]; ``normalisation`` ["percentile"], see `Normalisation`;
    - ``diameter_nm`` [0]: of a typical object, needed for points; 0 is unknown;
    - ``calls`` [1]: how many calls at once are allowed.

    An optional method ``fitted(image, voxel_nm)``, called once with the middle of an image, (z, y, x) or (c, z, y, x)
    scaled as tiles are, gives the detector to use there: itself, or one with options that it measured.
    """

    answers: Answers
    version: str

    def __call__(self, image: np.ndarray, voxel_nm: FVec3) -> np.ndarray | tuple[np.ndarray, np.ndarray]: ...


@dataclass(frozen=True)
class Reads:
    """What a detector declares, checked; see `Detector`."""

    tile: Vec3 = (1, 256, 256)
    halo: Vec3 = (0, 32, 32)
    voxel_nm: FVec3 | None = None
    channels: int = 1
    normalisation: str = "percentile"
    diameter_nm: float = 0.0
    calls: int = 1


def declared(name: str, detector: Any, voxel_nm: FVec3, shape: Vec3) -> Reads:
    """What a detector declares for an image.

    Raises
    ------
    ModelError
        If it is none, or declares what cannot be.
    """
    if not isinstance(detector, Detector) or detector.answers not in get_args(Answers):
        raise ModelError(
            f"detector '{name}' must be callable and state version and answers, one of {get_args(Answers)}; "
            f"got {type(detector).__name__}"
        )
    told = {key: getattr(detector, key) for key in Reads.__dataclass_fields__ if hasattr(detector, key)}
    method = getattr(detector, "reads", None)
    try:
        told |= dict(method(voxel_nm, shape)) if callable(method) else {}
        return _checked(told)
    except Exception as error:
        raise ModelError(f"detector '{name}' does not say how it reads an image: {_line(error)}") from error


def _checked(told: Mapping[str, Any]) -> Reads:
    reads = Reads(**told)
    tile, halo = vec3(reads.tile), vec3(reads.halo)
    if not (min(tile) >= 1 and min(halo) >= 0 and max(*tile, *halo) <= LARGEST):
        raise ValueError(f"tile {tile} and halo {halo}; need at least 1 and 0")
    size = None if reads.voxel_nm is None else fvec3(reads.voxel_nm)
    if size is not None and not sound_size(size):
        raise ValueError(f"voxel_nm {size}; need three positive numbers")
    if not 0 <= reads.diameter_nm < 1e12:
        raise ValueError(f"diameter_nm {reads.diameter_nm}; need 0 or more")
    whole = {"channels": int(reads.channels), "calls": max(1, int(reads.calls))}
    return Reads(tile, halo, size, normalisation=reads.normalisation, diameter_nm=float(reads.diameter_nm), **whole)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]

"""What a registered detector answers, checked, and as the map that a search stores."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import Vec3

GAP = 0.25
"""Value between touching instances: below any threshold in use, so that they stay apart."""
TAIL = 3.0
"""Standard deviations at which a point's Gaussian ends."""


def probability_map(name: str, answer: Any, shape: Vec3) -> np.ndarray:
    """Probabilities (z, y, x), float32 in [0, 1].

    Raises
    ------
    ModelError
        If the answer has another shape, or values that are none.
    """
    found = _array(name, answer)
    if found.shape != tuple(shape) or found.dtype.kind not in "fiub":
        raise ModelError(f"detector '{name}' gives {found.dtype} of shape {found.shape}; expected {tuple(shape)}")
    found = found.astype(np.float32)
    if not np.isfinite(found).all() or found.min() < -1e-3 or found.max() > 1 + 1e-3:
        raise ModelError(f"detector '{name}' gives {_span(found)}; probabilities from 0 to 1 are expected")
    return np.asarray(np.clip(found, 0, 1))


def label_map(name: str, answer: Any, shape: Vec3) -> np.ndarray:
    """Their score inside instances (1 without one), 0 outside, at most `GAP` where one touches the next.

    With a threshold from `GAP` to the scores, connected regions are the instances again.

    A voxel is a gap if the next voxel along an axis is of another instance, whatever the numbers of the two are, so
    that tiles agree.
    """
    answer, scores = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, None)
    found = _array(name, answer)
    if found.shape != tuple(shape) or found.dtype.kind not in "iub":
        raise ModelError(
            f"detector '{name}' gives {found.dtype} of shape {found.shape}; expected integer labels {tuple(shape)}"
        )
    if found.size and found.min() < 0:
        raise ModelError(f"detector '{name}' gives negative labels ({found.min()}); 0 is background, 1.. are objects")
    out = (found > 0).astype(np.float32) if scores is None else _scored(name, found, scores)
    for axis in range(3):
        here, after = np.moveaxis(found, axis, 0)[:-1], np.moveaxis(found, axis, 0)[1:]
        edge = np.moveaxis(out, axis, 0)[:-1]
        np.minimum(edge, GAP, out=edge, where=(here > 0) & (after > 0) & (here != after))
    return out


def _scored(name: str, labels: np.ndarray, scores: Any) -> np.ndarray:
    """Each voxel's object's score, 0 outside."""
    of = _array(name, scores)
    most = int(labels.max(initial=0))
    if of.ndim != 1 or len(of) <= most or of.dtype.kind != "f" or not ((of >= 0) & (of <= 1)).all():
        raise ModelError(f"detector '{name}' gives scores that are not one of 0 to 1 for each of labels 0 to {most}")
    return np.where(labels > 0, of.astype(np.float32)[labels], np.float32(0))


def point_map(name: str, answer: Any, shape: Vec3, sigma: np.ndarray) -> np.ndarray:
    """A Gaussian around each point, of its score (1 without one) at the voxel that holds it.

    Parameters
    ----------
    name, answer, shape
        (n, 3) or (n, 4), see `Detector`; they must lie within ``shape``.
    sigma
        (3,) in voxels.
    """
    found = _array(name, answer)
    if found.size == 0:
        return np.zeros(shape, np.float32)
    if found.ndim != 2 or found.shape[1] not in (3, 4) or found.dtype.kind not in "fiu":
        raise ModelError(f"detector '{name}' gives points of shape {found.shape}; expected (n, 3), or (n, 4) scored")
    found = found.astype(float)
    at, score = found[:, :3], found[:, 3] if found.shape[1] == 4 else np.ones(len(found))
    if not np.isfinite(found).all() or (score < 0).any() or (score > 1).any():
        raise ModelError(f"detector '{name}' gives points or scores that are not numbers, or scores outside 0 to 1")
    if (at < -0.5).any() or (at > np.array(shape) - 0.5).any():
        raise ModelError(f"detector '{name}' gives points outside its image of {tuple(shape)} voxels, (z, y, x)")
    out = np.zeros(shape, np.float32)
    for centre, height in zip(at, score, strict=True):
        low = np.maximum(0, np.ceil(centre - TAIL * sigma)).astype(int)
        low = np.minimum(low, np.rint(centre)).astype(int).clip(0)
        high = np.minimum(shape, np.maximum(np.floor(centre + TAIL * sigma), np.rint(centre)) + 1).astype(int)
        window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        middle = np.where(sigma < 1, np.rint(centre), centre)  # the voxel that holds it reaches 1, however flat
        grids = np.ogrid[window]
        r2 = sum(((g - c) / max(s, 0.4)) ** 2 for g, c, s in zip(grids, middle, sigma, strict=True))
        out[window] = np.maximum(out[window], height * np.exp(-r2 / 2))
    return out


def _array(name: str, answer: Any) -> np.ndarray:
    try:
        return np.asarray(answer)
    except (TypeError, ValueError) as error:
        raise ModelError(f"detector '{name}' gives a {type(answer).__name__}; an array is expected") from error


def _span(found: np.ndarray) -> str:
    return "NaN or infinity" if not np.isfinite(found).all() else f"values from {found.min():.3g} to {found.max():.3g}"

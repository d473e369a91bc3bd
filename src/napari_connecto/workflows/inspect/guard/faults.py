"""Faults planted into an answer: merges, splits, erasures, inventions."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.segmentation import expand_labels

from napari_connecto.workflows.inspect.guard.truth import AnswerKind

GAP = 6
"""Largest distance, in voxels, of two objects that can be merged."""
FAULTS = ("merge", "split", "erase", "invent")
LARGE, LONG = 150, 6
"""Voxels of an object that can be split; voxels along which two objects must touch to be merged."""


def plant(
    answer: np.ndarray, objects: np.ndarray, kind: AnswerKind, fault: str, strength: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One fault at a random place.

    Parameters
    ----------
    answer
        (y, x) probability of a boundary ("membranes") or of an object ("masks").
    objects
        (y, x) true objects, see `objects_of`.
    kind
        Which of the two.
    fault
        One of `FAULTS`: join two neighbours, cut one object, lose everything in a disc, add what is not there.
    strength
        0 to 1: length of a gap or radius of a disc.
    rng
        Decides where.

    Returns
    -------
    answer, where : np.ndarray
        Changed copy, float32, and (y, x) bool where it was changed; unchanged if there is no place for the fault.
    """
    where = {"merge": _gap, "split": _line, "erase": _disc, "invent": _disc}[fault](objects, strength, rng)
    if where is None:
        return answer, np.zeros(answer.shape, bool)
    filled = (
        (fault in ("split", "invent")) == (kind == "membranes") if fault in ("merge", "split") else fault == "invent"
    )
    if fault == "invent":
        where = _outline(where) if kind == "membranes" else where
    soft = np.clip(1.5 * ndimage.gaussian_filter(where.astype(np.float32), 1.0), 0, 1)
    changed = np.maximum(answer, 0.95 * soft) if filled else answer * (1 - soft)
    return changed.astype(np.float32), where


def _gap(objects: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray | None:
    """A stretch of what lies between two neighbours."""
    wide = expand_labels(objects, GAP)
    pairs, places = _contacts(wide)
    if not len(pairs):
        return None
    _, at, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
    long = np.flatnonzero(counts >= LONG)
    if not len(long):
        return None
    along = places[at.ravel() == rng.choice(long)]
    middle = along[rng.integers(len(along))]
    near = along[np.hypot(*(along - middle).T) <= 3 + 13 * strength]
    where = np.zeros(objects.shape, bool)
    where[tuple(near.T)] = True
    return np.asarray(ndimage.binary_dilation(where, _disk(GAP - 2)), bool)


def _contacts(wide: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (n, 2) of ids that touch, the smaller first, and where (n, 2)."""
    pairs, places = [], []
    for a, b in ((wide[:-1], wide[1:]), (wide[:, :-1], wide[:, 1:])):
        at = np.nonzero((a != b) & (a > 0) & (b > 0))
        pairs.append(np.sort(np.stack([a[at], b[at]], 1), axis=1))
        places.append(np.stack(at, 1))
    return np.concatenate(pairs), np.concatenate(places)


def _line(objects: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray | None:
    """A line through the thick part of an object, across it."""
    sizes = np.bincount(objects.ravel())
    large = np.flatnonzero(sizes >= LARGE)
    large = large[large > 0]
    if not len(large):
        return None
    mine = objects == rng.choice(large)
    depth = ndimage.distance_transform_edt(mine)
    y, x = np.nonzero(depth >= 0.6 * depth.max())
    k = rng.integers(len(y))
    angle = rng.uniform(0, np.pi)
    rows, columns = np.indices(objects.shape)
    away = (rows - y[k]) * np.cos(angle) - (columns - x[k]) * np.sin(angle)
    along = (rows - y[k]) * np.sin(angle) + (columns - x[k]) * np.cos(angle)
    line = mine & (np.abs(away) <= 1.5)
    parts, _ = ndimage.label(line, np.ones((3, 3)))
    line = parts == parts[y[k], x[k]]
    return line if strength > 0.3 else line & (np.abs(along) <= 0.5 * np.abs(along[line]).max())


def _disc(objects: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    radius = 5 + 15 * strength
    at = [rng.integers(n) for n in objects.shape]
    rows, columns = np.indices(objects.shape)
    stretch = rng.uniform(0.6, 1.6)
    return np.asarray(np.hypot((rows - at[0]) * stretch, (columns - at[1]) / stretch) <= radius)


def _outline(disc: np.ndarray) -> np.ndarray:
    return disc & ~np.asarray(ndimage.binary_erosion(disc, np.ones((3, 3)), iterations=2))


def _disk(radius: int) -> np.ndarray:
    return np.hypot(*np.indices((2 * radius + 1,) * 2) - radius) <= radius

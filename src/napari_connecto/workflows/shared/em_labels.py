"""Labels of EM: 0 not labelled, 1 background (membrane, extracellular), 2 foreground, 3 and more instances."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from napari_connecto.core.errors import InputError

LabelKind: TypeAlias = Literal["em", "instances", "membranes"]
LARGEST = 2**32 - 3
IGNORE, BACKGROUND, FOREGROUND, FIRST_INSTANCE = 0, 1, 2, 3


def to_em(labels: np.ndarray, kind: LabelKind) -> np.ndarray:
    """Labels as others store them, in our numbers.

    Parameters
    ----------
    labels
        Whole numbers.
    kind
        "em": already so. "instances": 0 is membrane or background, every other number one neuron; numbers beyond 32
        bits become 3, 4, ... in their order. "membranes": 0 is the inside, everything else membrane.
    """
    if kind not in get_args(LabelKind):
        raise InputError(f"got labels of kind {kind!r}; allowed: {', '.join(get_args(LabelKind))}")
    labels = numbered(labels) if kind == "instances" else labels
    check_numbers(labels)
    if kind == "em":
        return labels
    if kind == "membranes":
        return np.where(labels > 0, BACKGROUND, FOREGROUND).astype(np.uint8)
    return np.where(labels > 0, labels.astype(np.int64) + FOREGROUND, BACKGROUND).astype(np.uint32)


def numbered(labels: np.ndarray) -> np.ndarray:
    """Ids that do not fit into 32 bits as 1, 2, ... in their order; 0 stays."""
    if labels.dtype.kind not in "iu" or not labels.size or labels.min() < 0 or labels.max() <= LARGEST:
        return labels
    ids, at = np.unique(labels, return_inverse=True)
    return at.reshape(labels.shape) + (0 if ids[0] == 0 else 1)


def check_numbers(labels: np.ndarray) -> None:
    """Raise `InputError` unless labels are whole numbers from 0 on that fit into 32 bits, two of ours besides."""
    if labels.dtype.kind not in "iub":
        raise InputError(f"got labels of type {labels.dtype}; labels are whole numbers: convert them")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > LARGEST:
        raise InputError(f"got labels from {low} to {high}; allowed are 0 to {LARGEST}: number them anew")


def boundary_target(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What a boundary model should answer.

    Parameters
    ----------
    labels
        (..., y, x) in our numbers.

    Returns
    -------
    target, weight : np.ndarray
        uint8 of the same shape. ``target`` is 1 on background, and on both sides of where two instances touch in the
        plane; ``weight`` is 0 where nothing is labelled.
    """
    target = labels == BACKGROUND
    for axis in (-2, -1):
        before, after = _neighbours(labels, axis)
        touch = (before != after) & (np.minimum(before, after) >= FIRST_INSTANCE)
        first, second = _neighbours(target, axis)
        first |= touch
        second |= touch
    return target.astype(np.uint8), (labels != IGNORE).astype(np.uint8)


def _neighbours(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views of every voxel but the last, and every voxel but the first, along an axis."""
    lead = [slice(None)] * array.ndim
    lead[axis] = slice(None, -1)
    before = array[tuple(lead)]
    lead[axis] = slice(1, None)
    return before, array[tuple(lead)]


def check_labels(labels: np.ndarray) -> None:
    """Raise `InputError` unless there is both boundary and inside to learn from."""
    target, weight = boundary_target(labels)
    known = int(weight.sum())
    if known == 0:
        raise InputError("got labels that are 0 everywhere (not labelled); paint 1 on membranes, 2 or more inside")
    boundary = int((target * weight).sum())
    if boundary == 0:
        raise InputError(
            "got labels without a boundary: only insides of one kind; paint membranes as 1, or every neurite in its "
            "own number from 3 on"
        )
    if boundary == known:
        raise InputError("got labels of boundary (1) only; paint insides as 2, or every neurite in its own number")

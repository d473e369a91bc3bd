"""Labels of EM: 0 not labelled, 1 background (membrane, extracellular), 2 foreground, 3 and more instances."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import numpy as np

from napari_connecto.core.errors import InputError

LabelKind: TypeAlias = Literal["em", "instances", "membranes"]
LARGEST = 2**32 - 3
IGNORE, BACKGROUND, FOREGROUND, FIRST_INSTANCE = 0, 1, 2, 3


def to_em(labels: np.ndarray, kind: LabelKind) -> np.ndarray:
    """Convert labels of other conventions to EM labels, see the module.

    Parameters
    ----------
    labels
        Integers.
    kind
        "em": already so. "instances": 0 is membrane or background, every other value one neuron; values beyond 32 bits
        become 3, 4, ... in their order. "membranes": 0 is the inside, everything else membrane.
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
    """Ids that do not fit into 32 bits, renumbered as 1, 2, ... in their order; 0 stays."""
    if labels.dtype.kind not in "iu" or not labels.size or labels.min() < 0 or labels.max() <= LARGEST:
        return labels
    ids, at = np.unique(labels, return_inverse=True)
    return at.reshape(labels.shape) + (0 if ids[0] == 0 else 1)


def check_numbers(labels: np.ndarray) -> None:
    """Raise `InputError` unless labels are integers from 0 that fit into 32 bits, with room for two more."""
    if labels.dtype.kind not in "iub":
        raise InputError(f"got labels of type {labels.dtype}; labels must be integers: convert them")
    low, high = (int(labels.min()), int(labels.max())) if labels.size else (0, 0)
    if low < 0 or high > LARGEST:
        raise InputError(f"got labels from {low} to {high}; allowed are 0 to {LARGEST}: renumber them")


def boundary_target(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Training target of a boundary model.

    Parameters
    ----------
    labels
        (..., y, x) EM labels.

    Returns
    -------
    target, weight : np.ndarray
        uint8 of the same shape. ``target`` is 1 on background, and on both sides where two instances touch in plane;
        ``weight`` is 0 where nothing is labelled.
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
    """Raise `InputError` unless the labels contain both boundary and inside."""
    target, weight = boundary_target(labels)
    known = int(weight.sum())
    if known == 0:
        raise InputError("all labels are 0 (not labelled); paint 1 on membranes, 2 or more inside")
    boundary = int((target * weight).sum())
    if boundary == 0:
        raise InputError(
            "the labels have no boundary, only one kind of inside; paint membranes as 1, or each neurite in its "
            "own number from 3 on"
        )
    if boundary == known:
        raise InputError("the labels have only boundary (1); paint insides as 2, or each neurite in its own number")

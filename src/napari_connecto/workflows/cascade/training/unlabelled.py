"""What labels say of the voxels that hold no object: background, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, log10

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box

CHANCE = 1e-6
"""Probability below which it is no chance that all objects lie in so few sections."""


@dataclass(frozen=True)
class Unlabelled:
    """Which voxels without an object are background; the others are unknown.

    Parameters
    ----------
    choice
        "background": all of them. "unknown": those that ``reviewed`` and ``background`` name. "auto": the same, and
        without these two all of them; but if only isolated sections are labelled, those of other sections are unknown.
    reviewed
        Boxes in voxels of the labels, inside which everything is labelled.
    background
        Label of voxels that are background; 0: there is none.
    objects
        The only label that stands for objects; 0: all but 0 and ``background``.
    """

    choice: str = "auto"
    reviewed: tuple[Box, ...] = ()
    background: int = 0
    objects: int = 0

    def objects_of(self, array: np.ndarray) -> np.ndarray:
        """The labels (z, y, x) with 0 wherever there is no object."""
        if self.objects:
            return np.where(array == self.objects, array, 0)
        return np.where(array == self.background, 0, array) if self.background else array

    def known(self, array: np.ndarray, ids: np.ndarray) -> np.ndarray | None:
        """Where labels are complete.

        Parameters
        ----------
        array
            Labels (z, y, x) as they were given.
        ids
            Their objects, numbered from 1; 0 elsewhere.

        Returns
        -------
        numpy.ndarray or None
            Boolean, of the same shape; None where nothing restricts it.

        Raises
        ------
        InputError
            If a reviewed box lies outside the labels, or all voxels are to be background although there is one.
        """
        if self.choice == "background":
            if self.reviewed:
                raise InputError("outside a reviewed region voxels are unknown; set Unlabelled to auto")
            return None
        if not (self.reviewed or self.background):
            isolated = isolated_sections(ids) if self.choice == "auto" else ()
            return None if not len(isolated) else np.isin(np.arange(len(ids)), isolated)[:, None, None] | (ids > 0)
        known = inside(self.reviewed, array.shape)
        if self.background:
            known |= array == self.background
        return known

    def told(self, ids: np.ndarray, known: np.ndarray | None) -> str:
        """How unlabelled voxels are treated, in words; "" where all are labelled densely."""
        n, there = len(ids), int(ids.any(axis=(1, 2)).sum())
        sections = f"{there} of {n} sections {'is' if there == 1 else 'are'} labelled"
        if known is None:
            if 2 * there >= n:
                return ""
            return f"{sections}; the others count as background. {_SET} unknown if they may hold objects."
        if not (self.reviewed or self.background):
            return f"{sections}; the others are treated as unknown. {_SET} background if they hold no object."
        boxes = len(set(self.reviewed))
        stated = [f"the reviewed region ({boxes} box{'es' * (boxes > 1)})"] if boxes else []
        stated += [f"label {self.background}"] if self.background else []
        share = float((known & (ids == 0)).mean())
        return (
            f"Background: {' and '.join(stated)}, {percent(share)} of the voxels; other unlabelled voxels are unknown."
        )


_SET = "Set Unlabelled to"


def inside(boxes: Sequence[Box], shape: Sequence[int]) -> np.ndarray:
    """Boolean (z, y, x): the voxels inside any of the boxes.

    Raises
    ------
    InputError
        If one of them holds no voxel of this shape.
    """
    out = np.zeros(tuple(shape), bool)
    for box in boxes:
        part = box.clip(shape)
        if part.size == 0:
            told = " ".join(map(str, (*box.start, *box.stop)))
            raise InputError(
                f"the reviewed region {told} lies outside the labels of {tuple(shape)} voxels; give z0 y0 x0 z1 y1 x1 "
                "in voxels of the labels"
            )
        out[part.slices] = True
    return out


def isolated_sections(ids: np.ndarray) -> np.ndarray:
    """Indices (k,) of the labelled sections if the others were probably left unlabelled; else empty.

    That is so if no two labelled sections are neighbours, and if objects that lie in any section with the same
    probability would hardly lie in so few: less than once in `CHANCE`, whichever the sections.

    Examples
    --------
    >>> ids = np.zeros((40, 8, 8), int)
    >>> ids[12, ::2, ::2] = np.arange(1, 17).reshape(4, 4)
    >>> isolated_sections(ids).tolist()
    [12]
    """
    labelled = np.flatnonzero(ids.any(axis=(1, 2)))
    n, k = len(ids), len(labelled)
    if k in (0, n) or (np.diff(labelled) < 2).any():
        return labelled[:0]
    objects = sum(len(np.setdiff1d(ids[z], 0)) for z in labelled)
    return labelled if log10(comb(n, k)) + objects * log10(k / n) < log10(CHANCE) else labelled[:0]

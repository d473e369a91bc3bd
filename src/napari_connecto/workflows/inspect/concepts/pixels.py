"""Which pixels are looked at, split by blocks, so that no object is on both sides of the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level
from napari_connecto.workflows.inspect.concepts.params import ConceptParams

TRAIN, VALIDATION, TEST = 0, 1, 2
ROLES = (TRAIN, TRAIN, VALIDATION, TEST)
FEWEST = 8
"""Blocks needed: two rounds of `ROLES`."""
LEAST = 20
"""Pixels of a concept needed on each side of the split."""
LARGEST = 2**29
"""Pixels of masks that are read at most."""
UNKNOWN = -1


@dataclass(frozen=True)
class Pixels:
    """Pixels with their truth.

    Parameters
    ----------
    at
        (n, 3) voxels of the level, (z, y, x).
    role, block
        (n,) TRAIN, VALIDATION or TEST; and number of the block.
    truth
        By concept (n,) int8: 1 there, 0 not, -1 unknown.
    shuffled
        The same with every block's mask exchanged for that of another block of its role: the control whose truth has
        the right shapes in the wrong places.
    """

    at: np.ndarray
    role: np.ndarray
    block: np.ndarray
    truth: Mapping[str, np.ndarray]
    shuffled: Mapping[str, np.ndarray]

    def known(self, concept: str, role: int, *, shuffled: bool = False) -> np.ndarray:
        """Indices of the pixels of a role whose truth is known."""
        truth = (self.shuffled if shuffled else self.truth)[concept]
        return np.flatnonzero((self.role == role) & (truth != UNKNOWN))

    def prevalence(self, concept: str, *, shuffled: bool = False) -> float:
        """Share of the test pixels: the average precision of chance."""
        here = self.known(concept, TEST, shuffled=shuffled)
        return float((self.shuffled if shuffled else self.truth)[concept][here].mean())


def choose_pixels(level: Level, masks: Mapping[str, Level], params: ConceptParams, region: Box | None) -> Pixels:
    """Draw pixels from blocks through all sections, two for training, one for validation, one for the test.

    Blocks with much and with little of the rarest concept are dealt out evenly.

    Parameters
    ----------
    level
        Of the image.
    masks
        On the same grid, by concept: not 0 where it is there; of scribbles see `ConceptParams.scribbles`.
    region
        Part of the level; default: all of it.
    params
        See `ConceptParams`.

    Raises
    ------
    InputError
        If there are too few blocks, or too few pixels of a concept or of the rest on one side of the split.
    """
    if params.gap >= params.block:
        raise InputError(f"got gap={params.gap}; it must be smaller than block={params.block}")
    box = level.box if region is None else region.clip(level.shape)
    corners = _corners(box, params.block)
    planes = np.unique(np.linspace(box.start[0], box.stop[0] - 1, params.sections).round().astype(int))
    if len(planes) * box.shape[1] * box.shape[2] > LARGEST:
        raise InputError(f"got {len(planes)} sections of {box.shape[1:]} pixels; name a smaller region")
    truth = {
        name: np.stack([_truth(_plane(mask, z, box), params.scribbles) for z in planes]) for name, mask in masks.items()
    }
    rng = np.random.default_rng(params.seed)
    roles = _roles(truth, corners, params.block, rng)
    partner = _partners(roles, rng)
    inner = np.arange(params.gap // 2, params.block - (params.gap - params.gap // 2))
    known = np.any([array != UNKNOWN for array in truth.values()], axis=0)
    parts = []
    for number, (y, x) in enumerate(corners):
        candidates = np.flatnonzero(known[:, y + inner[0] : y + inner[-1] + 1, x + inner[0] : x + inner[-1] + 1])
        chosen = rng.permutation(candidates)[: max(1, params.pixels // len(corners))]
        z, dy, dx = np.unravel_index(chosen, (len(planes), len(inner), len(inner)))
        parts.append(np.stack([np.full(len(z), number), z, dy + inner[0], dx + inner[0]], axis=1))
    block, z, dy, dx = np.concatenate(parts).T
    own, other = corners[block], corners[partner[block]]
    pixels = Pixels(
        at=np.stack([planes[z], own[:, 0] + dy + box.start[1], own[:, 1] + dx + box.start[2]], axis=1),
        role=roles[block],
        block=block,
        truth={name: array[z, own[:, 0] + dy, own[:, 1] + dx] for name, array in truth.items()},
        shuffled={name: array[z, other[:, 0] + dy, other[:, 1] + dx] for name, array in truth.items()},
    )
    _check(pixels)
    return pixels


def _corners(box: Box, block: int) -> np.ndarray:
    """(n, 2) of whole blocks in a box, (y, x) from its corner."""
    ys, xs = (np.arange(n // block) * block + n % block // 2 for n in box.shape[1:])
    corners = np.stack(np.meshgrid(ys, xs, indexing="ij"), axis=-1).reshape(-1, 2)
    if len(corners) < FEWEST:
        raise InputError(
            f"got {box.shape[1]} x {box.shape[2]} pixels, {len(corners)} blocks of {block}; at least {FEWEST} are "
            "needed to keep training and test apart: choose smaller blocks or a larger region"
        )
    return corners


def _plane(mask: Level, z: int, box: Box) -> np.ndarray:
    return mask.read(Box((int(z), *box.start[1:]), (int(z) + 1, *box.stop[1:])))[0]


def _truth(labels: np.ndarray, scribbles: bool) -> np.ndarray:
    if not scribbles:
        return (labels != 0).astype(np.int8)
    return np.where(labels == 0, UNKNOWN, labels > 1).astype(np.int8)


def _roles(truth: Mapping[str, np.ndarray], corners: np.ndarray, block: int, rng: np.random.Generator) -> np.ndarray:
    """(n,) role of each block: in the order of how much of the rarest concept they hold, four by four, at random."""
    rarest = min(truth.values(), key=lambda array: float((array == 1).mean()))
    held = np.array([np.count_nonzero(rarest[:, y : y + block, x : x + block] == 1) for y, x in corners])
    order = np.lexsort((rng.random(len(held)), -held))
    roles = np.empty(len(held), np.int64)
    for start in range(0, len(order), len(ROLES)):
        group = order[start : start + len(ROLES)]
        roles[group] = rng.permutation(ROLES)[: len(group)]
    return roles


def _partners(roles: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(n,) another block of the same role for each block."""
    partner = np.arange(len(roles))
    for role in np.unique(roles):
        ring = rng.permutation(np.flatnonzero(roles == role))
        partner[ring] = np.roll(ring, 1)
    return partner


def _check(pixels: Pixels) -> None:
    for name, truth in pixels.truth.items():
        for role, said in ((TRAIN, "training"), (VALIDATION, "validation"), (TEST, "test")):
            here = truth[pixels.known(name, role)]
            there, rest = int(here.sum()), int((here == 0).sum())
            if min(there, rest) < LEAST:
                raise InputError(
                    f"got {there} pixels of '{name}' and {rest} of the rest in the {said} blocks, at least {LEAST} of "
                    "each are needed; label more, choose smaller blocks, or take more pixels"
                )

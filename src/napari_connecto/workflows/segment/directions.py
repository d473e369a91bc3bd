"""Boundary maps of volumes by models of sections: the mean of three orthogonal directions.

A model that was trained on sections sees membranes well that are perpendicular to them, and badly those that lie in
them. Where voxels are not much deeper than wide, they are interpolated to cubes, of which sections along z, y and x
look alike, and each membrane is nearly perpendicular to at least one of these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.fitting import is_flat
from napari_connecto.core.geometry import FVec3, Vec3
from napari_connecto.core.model import DIRECTIONS, SECTIONS, ModelCard, Predictor
from napari_connecto.workflows.segment.mode import DEEPEST
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.volumetric import VOLUMETRIC

SIDE = 128
"""Largest side of a tile. A tile is 3 x 128 sections, and a cancelled run waits for it; with flips, 12 x 128."""
FIXED = 256
"""Largest side of a tile that cannot be made smaller: a cube of 512 with its halo takes gigabytes."""
SQUARE = 1.02
"""Largest ratio of the sides of a pixel."""
SHARE = 0.3
"""Weight of a volumetric model in the average."""
IN_PLANE, IN_SPACE = (-2, -1), (-3, -2, -1)
"""Axes along which sections and volumes are flipped: 4 and 8 answers each."""
FLIPS = "flips"
"""Key of a card's network: answers are averaged over flips."""
THINNEST = 32
"""Smallest extent of a volume, in pixels of the model: less is mostly edge to sections along y and x."""


def with_directions(params: SegmentParams, model: Predictor, shape: Vec3, voxel: FVec3) -> tuple[SegmentParams, str]:
    """The params with "auto" replaced by a number of directions, and the reason, to follow that of the mode.

    Parameters
    ----------
    params
        With a mode.
    model
        Of the boundary.
    shape, voxel
        Of the part to segment as the model reads it in one direction, (z, y, x).

    Raises
    ------
    InputError
        If three directions are requested of a model that cannot, or in another mode.
    """
    can = params.mode == "3d" and takes_directions(model)
    if params.directions == "three" and not can:
        raise InputError(
            f"got directions='three' in mode {params.mode} with model '{model.card.name}'; it needs mode 3d and a "
            f"model that reads single sections in square tiles of at most {FIXED} x {FIXED} pixels: use "
            "directions='one'"
        )
    depth, pixel = voxel[0] / voxel[2], model.card.voxel_nm[1]
    near = depth <= DEEPEST * (1 + 1e-6) and min(shape[0] * depth, *shape[1:]) >= THINNEST
    if params.directions == "one" or not (can and (near or params.directions == "three")):
        return replace(params, directions="one"), ""
    return replace(params, directions="three"), f"; boundary averaged over three directions, {pixel:g} nm voxels"


def takes_directions(model: Predictor) -> bool:
    """Whether a model can be run on sections along z, y and x: it reads sections, in square tiles of square pixels.

    A tile that cannot be changed, as of an imported model, must not be larger than `FIXED`.
    """
    card = model.card
    (_, height, width), (_, low, wide) = card.tile, card.halo
    square = height == width <= FIXED or hasattr(model, "with_tile")
    ratio = card.voxel_nm[1] / card.voxel_nm[2]
    dense = all(output.stride == (1, 1, 1) for output in card.outputs)
    return is_flat(card) and square and low == wide and 1 / SQUARE <= ratio <= SQUARE and dense


@dataclass(frozen=True)
class ThreeDirections:
    """A model of sections as a model of cubes: its answers to sections along z, y and x, averaged.

    Parameters
    ----------
    model
        See `takes_directions`.
    card
        Made by `of`: cubic voxels, tile and halo.
    volumetric
        A model of volumes on the same voxels, whose answer has a share of `SHARE`, or None.
    flips
        Whether both are shown what they read flipped too, see `over_flips`.
    """

    model: Predictor
    card: ModelCard
    volumetric: Predictor | None = None
    flips: bool = False

    @classmethod
    def of(cls, model: Predictor, volumetric: Predictor | None = None, *, flips: bool = False) -> ThreeDirections:
        """Of a model that `takes_directions`; with a smaller tile, if it takes one.

        Raises
        ------
        ModelError
            If ``volumetric`` reads other voxels or intensities, or cannot read these tiles.
        """
        side = min(SIDE, *model.card.tile[1:])
        if hasattr(model, "with_tile") and model.card.tile != (1, side, side):
            model = model.with_tile((1, side, side))
        card = model.card
        side, halo = card.tile[1], max(card.halo)
        cube = replace(
            card,
            name=f"{card.name}, three directions",
            voxel_nm=(card.voxel_nm[1], *card.voxel_nm[1:]),
            tile=(side,) * 3,
            halo=(halo,) * 3,
            outputs=tuple(replace(output, trimmed=(halo,) * 3) for output in card.outputs),
            network={**card.network, DIRECTIONS: 3, **({FLIPS: True} if flips else {})},
        )
        if volumetric is not None:
            cube, volumetric = _with(volumetric, cube)
        return cls(model, cube, volumetric, flips)

    @property
    def calls(self) -> int:
        """Calls at once that serve best, as of the model."""
        return int(getattr(self.model, "calls", 1))

    @property
    def device(self) -> object:
        """As of the model."""
        return getattr(self.model, "device", "cpu")

    def __call__(self, batch: np.ndarray, seeds: Sequence[int]) -> Mapping[str, np.ndarray]:
        """See `napari_connecto.core.model.Predictor`."""
        shape = (len(batch), *self.card.tile)
        total = {output.name: np.zeros(shape, np.float32) for output in self.card.outputs}
        for axis in range(3):
            for i, (block, seed) in enumerate(zip(np.moveaxis(batch, 2 + axis, 2), seeds, strict=True)):
                for first, answer in self._sections(block, seed + axis):
                    for name, sections in answer.items():
                        along = np.moveaxis(total[name][i], axis, 0)
                        along[first : first + len(sections)] += sections
        mean = {name: values / np.float32(3) for name, values in total.items()}
        return mean if self.volumetric is None else self._with_volumetric(mean, batch, seeds)

    def _with_volumetric(
        self, mean: Mapping[str, np.ndarray], batch: np.ndarray, seeds: Sequence[int]
    ) -> Mapping[str, np.ndarray]:
        """The weighted mean of both, of the first output."""
        assert self.volumetric is not None
        card, name = self.volumetric.card, self.card.outputs[0].name
        spare = [outer - inner for outer, inner in zip(self.card.halo, card.halo, strict=True)]
        z, y, x = (slice(s, n - s) for s, n in zip(spare, batch.shape[2:], strict=True))
        answer = self._answer(self.volumetric, batch[:, :, z, y, x], seeds, IN_SPACE)[card.outputs[0].name]
        z, y, x = (slice(h, h + n) for h, n in zip(card.halo, card.tile, strict=True))
        return {**mean, name: (1 - SHARE) * mean[name] + np.float32(SHARE) * answer[:, z, y, x]}

    def _answer(
        self, model: Predictor, batch: np.ndarray, seeds: Sequence[int], axes: Sequence[int]
    ) -> Mapping[str, np.ndarray]:
        return over_flips(model, batch, seeds, axes) if self.flips else model(batch, seeds)

    def _sections(self, block: np.ndarray, seed: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
        """Answers to the sections that a tile owns of a block (c, depth, height, width), some at a time."""
        card, outer = self.model.card, self.card.halo[0]
        context, spare = card.halo[0], outer - card.halo[1]
        plane = block[:, :, spare : block.shape[2] - spare, spare : block.shape[3] - spare]
        side = self.card.tile[0]
        for first in range(0, side, SECTIONS):
            at = [min(first + k, side - 1) for k in range(SECTIONS)]
            stack = np.stack([plane[:, outer + z - context : outer + z + context + 1] for z in at])
            answer = self._answer(self.model, stack, [seed + 3 * (z + 1) for z in at], IN_PLANE)
            kept = min(SECTIONS, side - first)
            yield first, {o.name: _owned(answer[o.name], o.trimmed, card)[:kept] for o in card.outputs}


def over_flips(model: Predictor, batch: np.ndarray, seeds: Sequence[int], axes: Sequence[int]) -> dict[str, np.ndarray]:
    """Mean of a model's answers to a batch (n, c, z, y, x) and to its flips along any of these axes, flipped back.

    -3 is z, -1 is x; there are 2 to the power of the number of axes.
    """
    ways = [way for count in range(len(axes) + 1) for way in combinations(axes, count)]
    total: dict[str, np.ndarray] = {}
    for way in ways:
        for name, values in model(np.ascontiguousarray(np.flip(batch, way)), seeds).items():
            back = np.flip(values, way)
            total[name] = total[name] + back if name in total else back
    return {name: values / np.float32(len(ways)) for name, values in total.items()}


def _with(volumetric: Predictor, cube: ModelCard) -> tuple[ModelCard, Predictor]:
    """The card of both, and the volumetric model with the tile of the other."""
    if volumetric.card.tile != cube.tile and hasattr(volumetric, "with_tile"):
        volumetric = volumetric.with_tile(cube.tile)
    card = volumetric.card
    same = card.voxel_nm == cube.voxel_nm and card.normalisation == cube.normalisation and card.tile == cube.tile
    if not same or max(card.halo) > min(cube.halo) or any(o.trimmed != (0, 0, 0) for o in card.outputs[:1]):
        raise ModelError(
            f"the volumetric model '{card.name}' does not read the voxels, intensities or tiles of '{cube.name}'; "
            "remove its folder to do without"
        )
    return replace(cube, network={**cube.network, VOLUMETRIC: card.digest}), volumetric


def _owned(sections: np.ndarray, trimmed: Sequence[int], card: ModelCard) -> np.ndarray:
    """What the tile owns of answers (n, z, y, x) with a halo of which some was trimmed; (n, y, x)."""
    z, y, x = (slice(h - t, h - t + n) for h, t, n in zip(card.halo, trimmed, card.tile, strict=True))
    return sections[:, z, y, x][:, 0]

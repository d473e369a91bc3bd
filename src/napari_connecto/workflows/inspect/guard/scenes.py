"""Labelled examples as scenes (an image, the model's answer, labels) and as pairs of one section's tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.inspect.guard.truth import AnswerKind, Judged, judge
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.em_labels import BACKGROUND, LabelKind, to_em
from napari_connecto.workflows.shared.on_grid import placed_on

INNER, HALO = 96, 16
"""Side of a tile that is judged, and the context around it, voxels of the model."""
LABELLED = 0.3
"""Smallest share of a tile that must be labelled."""
APART = 2
"""Share of an example, per cent, between the part learnt from and the part held out."""


@dataclass(frozen=True)
class Source:
    """A labelled image as the model reads it.

    Parameters
    ----------
    image
        At the model's voxel size.
    scaling
        Of the whole image.
    labels
        On the image's grid.
    kind
        What its labels mean.
    part
        Box of the level that may be used.
    """

    image: Level
    scaling: Scaling
    labels: Level
    kind: LabelKind
    part: Box

    @classmethod
    def of(cls, example: Any, card: ModelCard, kind: LabelKind) -> Source:
        """From (image, labels): arrays (y, x) or (z, y, x) at the model's voxel size, or volumes; or an object with
        fields of these names, such as an annotated patch.

        Raises
        ------
        InputError
            If it is neither, or shapes differ.
        """
        fields = [getattr(example, name, None) for name in ("image", "labels")]
        image, labels = fields if all(f is not None for f in fields) else _two(example)
        image, labels = _volume(image, card, "image"), _volume(labels, card, "labels")
        level = fitting_level(image, card)
        here, there = image.levels[0], labels.levels[0]
        if here.shape != there.shape and (here.voxel_nm == there.voxel_nm or not labels.calibrated):
            raise InputError(
                f"got an image of {here.shape} and labels of {there.shape} voxels; both must be on one grid"
            )
        scaling = card.normalisation.resolve(image)
        return cls(level, scaling, placed_on(labels, image, level), kind, level.box)

    def split(self, share: float) -> tuple[Source, Source]:
        """Two parts with a gap: along z if there are 8 sections or more, else along the longer of y and x."""
        shape = self.part.shape
        axis = 0 if shape[0] >= 8 else 1 + int(shape[2] > shape[1])
        start, size = self.part.start[axis], shape[axis]
        cut, gap = start + round(size * (1 - share)), max(1, size * APART // 100)
        return tuple(self._between(axis, a, b) for a, b in ((start, cut - gap), (cut, start + size)))  # type: ignore[return-value]

    def _between(self, axis: int, start: int, stop: int) -> Source:
        low, high = list(self.part.start), list(self.part.stop)
        low[axis], high[axis] = start, max(start + 1, stop)
        return Source(self.image, self.scaling, self.labels, self.kind, Box(vec3(low), vec3(high)))


@dataclass(frozen=True)
class Scene:
    """A view of an example.

    Parameters
    ----------
    image
        (c, z, y, x) float32, scaled, with the model's halo.
    halo
        Of the image, voxels.
    answer, labels
        (z, y, x): float32 in 0..1, and EM labels.
    box
        Of the source's level, without the halo.
    """

    image: np.ndarray
    halo: Vec3
    answer: np.ndarray
    labels: np.ndarray
    box: Box


@dataclass(frozen=True)
class Pair:
    """One section's tile, context included.

    Parameters
    ----------
    image, answer, labels
        (c, y, x), (y, x), (y, x).
    judged
        See `judge`.
    at
        Position of its corner in the scene, (z, y, x).
    """

    image: np.ndarray
    answer: np.ndarray
    labels: np.ndarray
    judged: Judged
    at: Vec3

    @property
    def both(self) -> np.ndarray:
        """What a judge reads, (c + 1, 1, y, x)."""
        return np.concatenate([self.image, self.answer[None]])[:, None]


def view_shape(model: Predictor) -> Vec3:
    """Shape of a scene: whole tiles of the model, wide enough for a tile that is judged."""
    tile, side = model.card.tile, INNER + 2 * HALO
    return vec3([tile[0], *(-(-side // t) * t for t in tile[1:])])


def draw(source: Source, shape: Vec3, rng: np.random.Generator) -> Box:
    """A box of a scene at a random place with labels; it sticks out where the part is smaller."""
    for _ in range(50):
        room = [max(0, n - s) for n, s in zip(source.part.shape, shape, strict=True)]
        start = [a + int(rng.integers(r + 1)) for a, r in zip(source.part.start, room, strict=True)]
        box = Box(vec3(start), vec3([a + s for a, s in zip(start, shape, strict=True)]))
        if (to_em(source.labels.read(box.clip(source.part)), source.kind) >= BACKGROUND).any():
            return box
    raise InputError("the examples have hardly any labels; label a larger part")


def view(source: Source, box: Box, model: Predictor, output: str, change: Any = None) -> Scene:
    """What a model answers to a box, of which ``change`` makes another image first.

    Outside of the source's part labels are 0 (not labelled), outside of the level voxels repeat its edge.
    """
    halo = model.card.halo
    block = source.image.read_padded(box.grow(halo))
    image = source.scaling(block if block.ndim == 4 else block[None])
    image = image if change is None else np.asarray(change(image), np.float32)
    labels = np.zeros(box.shape, np.uint32)
    there = box.clip(source.part)
    labels[there.shift([-a for a in box.start]).slices] = to_em(source.labels.read(there), source.kind)
    return Scene(image, halo, answered(model, image, output), labels, box)


def answered(model: Predictor, image: np.ndarray, output: str) -> np.ndarray:
    """A model's output (z, y, x), without the halo, for a scaled image (c, z, y, x) of whole tiles and a halo."""
    card = model.card
    trimmed = card.output(output).trimmed
    shape = vec3([n - 2 * h for n, h in zip(image.shape[1:], card.halo, strict=True)])
    found = np.empty(shape, np.float32)
    for tile in TilePlan(shape, card.tile, card.halo):
        batch = image[(slice(None), *tile.read.shift(card.halo).slices)]
        block = model(np.ascontiguousarray(batch[None]), [0])[output][0]
        own = tuple(slice(h - t, h - t + n) for h, t, n in zip(card.halo, trimmed, tile.write.shape, strict=True))
        found[tile.write.slices] = block[own]
    return found


def crop(scene: Scene, rng: np.random.Generator) -> Vec3:
    """Corner (z, y, x) in a scene of a random section's tile with its context, in which something is labelled."""
    side, at = INNER + 2 * HALO, (0, 0, 0)
    for _ in range(20):
        at = vec3([int(rng.integers(n - s + 1)) for n, s in zip(scene.answer.shape, (1, side, side), strict=True)])
        if (_cut(scene.labels, at)[HALO:-HALO, HALO:-HALO] >= BACKGROUND).mean() > LABELLED:
            break
    return at


def pair(scene: Scene, at: Vec3, answer: np.ndarray, kind: AnswerKind, params: SegmentParams) -> Pair:
    """The tile at a corner of a scene with an answer (y, x) to it, its own (`answer_at`) or a changed one."""
    own = [slice(h, n - h) for h, n in zip(scene.halo, scene.image.shape[1:], strict=True)]
    image = np.stack([_cut(channel[tuple(own)], at) for channel in scene.image])
    labels = _cut(scene.labels, at)
    return Pair(image, answer, labels, judge(answer, labels, kind, params, HALO), at)


def answer_at(scene: Scene, at: Vec3) -> np.ndarray:
    """The model's own answer (y, x) at a corner of a scene."""
    return _cut(scene.answer, at)


def labels_at(scene: Scene, at: Vec3) -> np.ndarray:
    """Labels (y, x) at a corner of a scene."""
    return _cut(scene.labels, at)


def tile_around(scene: Scene, at: Vec3, shape: Vec3) -> np.ndarray:
    """The image (c, z, y, x) of ``shape`` around the middle of a tile at a corner of a scene; edges repeat."""
    middle = (at[0], *(a + HALO + INNER // 2 for a in at[1:]))
    start = [m + h - s // 2 for m, h, s in zip(middle, scene.halo, shape, strict=True)]
    index = [
        np.clip(np.arange(a, a + s), 0, n - 1) for a, s, n in zip(start, shape, scene.image.shape[1:], strict=True)
    ]
    return scene.image[np.ix_(np.arange(len(scene.image)), *index)]


def _cut(array: np.ndarray, at: Vec3) -> np.ndarray:
    side = INNER + 2 * HALO
    return array[at[0], at[1] : at[1] + side, at[2] : at[2] + side]


def _two(example: Any) -> Sequence[Any]:
    if isinstance(example, Volume) or not isinstance(example, list | tuple) or len(example) != 2:
        raise InputError(f"got an example of type {type(example).__name__}; it is a pair (image, labels)")
    return example


def _volume(data: Any, card: ModelCard, name: str) -> Volume:
    if isinstance(data, Volume):
        return data
    array = np.asarray(data)
    return Volume.from_array(array, card.voxel_nm, name=name)

"""Places of a volume that a smaller model learns from, and places that it is measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level, is_flat
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.nets.nets import divisor
from napari_connecto.models.training.fit import Sample
from napari_connecto.workflows.inspect.prune.params import PruneParams
from napari_connecto.workflows.shared.em_labels import LabelKind, boundary_target, to_em
from napari_connecto.workflows.shared.on_grid import placed_on
from napari_connecto.workflows.shared.patches import candidates

GAP_NM = 200.0
"""Gap between the two parts along z, because neighbouring sections are near copies."""
FEWEST = 8
"""A volume is split along z if it has this many sections, else along its longer side."""
MEASURED = 12
"""Largest number of held-out places."""


@shown
@dataclass(frozen=True)
class Places:
    """Scaled tiles of a volume, with the halo of the model.

    Parameters
    ----------
    images
        (n, c, z, y, x) float32.
    labels
        EM labels of the same voxels, (n, z, y, x); None without labels.
    halo
        Of the images, voxels.
    """

    images: np.ndarray
    labels: np.ndarray | None
    halo: Vec3

    @property
    def inner(self) -> tuple[slice, ...]:
        """(z, y, x) of the images without the halo."""
        return tuple(slice(h, n - h) for h, n in zip(self.halo, self.images.shape[2:], strict=True))


def places_of(volume: Volume, labels: Volume | None, card: ModelCard, params: PruneParams) -> tuple[Places, Places]:
    """Places to learn from and places to measure, from two parts of the volume with a gap between them.

    Raises
    ------
    InputError
        If one of the parts holds no tissue.
    VoxelSizeError
        If the volume does not fit the model.
    """
    level = fitting_level(volume, card)
    truth = None if labels is None else placed_on(labels, volume, level)
    scaling = card.normalisation.resolve(volume)
    found = []
    tiles = (_tile(card, params.size), card.tile)
    wanted = (params.places, max(1, min(MEASURED, params.places)))
    for part, tile, n in zip(parts(level, card, params.held_out), tiles, wanted, strict=True):
        shape = vec3([min(t, m) for t, m in zip(tile, part.shape, strict=True)])
        boxes = candidates(level, shape, n, params.seed, within=part).boxes
        if not boxes:
            raise InputError(f"found no place with tissue at {part.start} to {part.stop} of '{volume.name}'; crop it")
        spare = [(0, t - s) for t, s in zip(tile, shape, strict=True)]
        reads = [box.grow(card.halo) for box in boxes]
        images = np.stack(
            [_channels(np.pad(scaling(level.read_padded(r)), _last(spare, level), "reflect")) for r in reads]
        )
        known = None
        if truth is not None:
            known = np.stack([np.pad(_within(truth, r, params.label_kind), spare) for r in reads])
        found.append(Places(images, known, card.halo))
    return found[0], found[1]


def cropped(array: np.ndarray, window: Sequence[slice]) -> np.ndarray:
    """The last axes of an array within a window."""
    key: Any = (..., *window)
    return np.asarray(array[key])


def _tile(card: ModelCard, size: int) -> Vec3:
    """The card's tile, at most ``size`` wide, in steps of the network."""
    return vec3([min(t, ceil(size / step) * step) for t, step in zip(card.tile, divisor(card.network), strict=True)])


def _channels(image: np.ndarray) -> np.ndarray:
    return image if image.ndim == 4 else image[None]


def _last(spare: list[tuple[int, int]], level: Level) -> list[tuple[int, int]]:
    return spare if level.channels is None else [(0, 0), *spare]


def _within(truth: Level, box: Box, kind: LabelKind) -> np.ndarray:
    """EM labels of a box; 0, not labelled, outside of the volume."""
    inside = box.clip(truth.shape)
    around = [(a - b, d - c) for a, b, c, d in zip(inside.start, box.start, inside.stop, box.stop, strict=True)]
    return np.pad(to_em(np.asarray(truth.read(inside)), kind), around)


def parts(level: Level, card: ModelCard, share: float) -> tuple[Box, Box]:
    """The part to learn from and the held-out part, ``share`` of the level at its end; along z, or the longer side."""
    axis = 0 if is_flat(card) and level.shape[0] >= FEWEST else 1 + int(level.shape[2] > level.shape[1])
    if not is_flat(card) and level.shape[0] >= 4 * card.tile[0]:
        axis = 0
    n = level.shape[axis]
    gap = ceil(GAP_NM / level.voxel_nm[0]) if axis == 0 and is_flat(card) else card.halo[axis]
    gap = min(gap, n // 8)
    held = min(n - gap - 1, max(1, round(n * share)))
    if held < 1:
        raise InputError(f"got a volume of {level.shape} voxels; it is too small to hold out a part: give a larger one")
    start, stop = list(level.box.start), list(level.box.stop)
    stop[axis], start[axis] = n - held - gap, n - held
    return Box(level.box.start, vec3(stop)), Box(vec3(start), level.box.stop)


def answers_of(model: Predictor, places: Places) -> np.ndarray:
    """All outputs of a model of stride 1, (n, outputs, z, y, x), z without what the network trims."""
    return run(answers_job(model, places))


def answers_job(model: Predictor, places: Places, stage: str = "") -> Job[np.ndarray]:
    """`answers_of`, a report for each place."""
    names, found = [output.name for output in model.card.outputs], []
    for n, image in enumerate(places.images):
        answer = model(image[None], [0])
        found.append(np.concatenate([answer[name] for name in names]))
        yield Progress(n + 1, len(places.images), stage)
    return np.stack(found)


@shown
@dataclass(frozen=True)
class Lessons:
    """Random crops of places with the original model's answers as soft targets, flipped and turned.

    Parameters
    ----------
    images, targets
        (n, c, z, y, x) and (n, outputs, z', y, x) in [0, 1].
    size
        Extent of a crop along y and x.
    square
        Whether y and x may be exchanged.
    """

    images: np.ndarray
    targets: np.ndarray
    size: int
    batch: int
    seed: int
    square: bool

    def from_step(self, step: int) -> Iterator[Sample]:
        """Samples number ``step``, ``step + 1``, ...; the same every time."""
        return (self.at(i) for i in count(step))

    def at(self, step: int) -> Sample:
        """One sample: image, target and weight, (n, channels, z, y, x)."""
        rng = np.random.default_rng([self.seed, step])
        pairs = [self._crop(int(i), rng) for i in rng.integers(0, len(self.images), self.batch)]
        image, target = (np.stack(part) for part in zip(*pairs, strict=True))
        return image, target, np.ones_like(target)

    def _crop(self, i: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        size = [min(self.size, n) for n in self.images.shape[-2:]]
        at = [int(rng.integers(0, n - s + 1)) for n, s in zip(self.images.shape[-2:], size, strict=True)]
        here = [slice(a, a + s) for a, s in zip(at, size, strict=True)]
        pair = [cropped(array[i], here) for array in (self.images, self.targets)]
        flips = tuple(axis for axis in (-2, -1) if rng.random() < 0.5)
        turn = self.square and size[0] == size[1] and rng.random() < 0.5
        pair = [np.flip(a.swapaxes(-1, -2) if turn else a, flips) for a in pair]
        return pair[0], pair[1]


def lessons_job(model: Predictor, places: Places, params: PruneParams) -> Job[Lessons]:
    """What a smaller model learns: the original's answers; where there are labels, half of the target is the truth."""
    targets, card = (yield from answers_job(model, places, "original's answers")), model.card
    if places.labels is not None:
        trim = card.outputs[0].trimmed[0]
        truth, known = boundary_target(places.labels[:, trim : places.labels.shape[1] - trim])
        targets[:, 0] = np.where(known > 0, (targets[:, 0] + truth) / 2, targets[:, 0])
    square = card.voxel_nm[1] == card.voxel_nm[2]
    return Lessons(places.images, targets, _tile(card, params.size)[2], params.batch, params.seed, square)

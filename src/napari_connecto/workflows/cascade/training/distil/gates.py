"""Coarse stages that learn from a detector's answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from napari_connecto.core.geometry import Box, FVec3, Vec3, vec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.coarser import with_levels_at
from napari_connecto.workflows.cascade.training.design import stage_card
from napari_connecto.workflows.cascade.training.distil.looks import Look
from napari_connecto.workflows.cascade.training.labelled_region import Examples, crop
from napari_connecto.workflows.cascade.training.samples import Patches
from napari_connecto.workflows.cascade.training.stage import (
    BUDGETS,
    CHECKED,
    LOOK,
    RATE,
    VALIDATIONS,
    score_on,
)

FACTORS = (2, 4, 8)
"""By how many times the gates' voxels exceed the detector's."""
LEAST_TILE = {"2d": (1, 32, 32), "3d": (4, 16, 16)}
ALIGNED = 8
"""Chunks of gates are multiples of this in the plane, and of 4 along z, for their networks' strides."""
POSITIVE, HARD = 0.5, 0.25
"""Share of samples from places with objects, and from those without that a gate got most wrong."""
SHARE = 0.4
"""Of the budget, for all gates."""


def with_gate_levels(volume: Volume, card: ModelCard) -> Volume:
    """The volume with coarser levels for gates of a detector; sections that it sees one by one stay apart."""
    z, y, x = card.voxel_nm
    flat = dims_of(card) == "2d"
    sizes: list[FVec3] = [(z if flat else max(z, min(z, y) * f), y * f, x * f) for f in FACTORS]
    return with_levels_at(volume, [card.voxel_nm, *sizes])


def dims_of(card: ModelCard) -> str:
    """Whether gates of a detector see sections one by one, or in 3-D."""
    return "2d" if card.tile[0] == 1 else "3d"


def gate_cards(volume: Volume, detector: ModelCard, diameter_nm: float, params: TrainParams) -> tuple[ModelCard, ...]:
    """Cards of the gates, finest first: on levels where an object is more than 1.5 voxels wide.

    A gate's chunk is as large as the detector's, so that one that passes costs one call of the detector, not many.
    """
    own, dims = volume.level_at(detector.voxel_nm), dims_of(detector)
    cards: list[ModelCard] = []
    for level in volume.levels:
        factor = np.array(level.voxel_nm) / own.voxel_nm
        if factor[1] < 1.5 or (dims == "2d" and level.shape[0] != own.shape[0]) or min(level.shape[1:]) < ALIGNED:
            continue
        if diameter_nm <= 1.5 * level.voxel_nm[1] or len(cards) >= (params.levels or 4) - 1:
            break
        k = len(cards) + 1
        cards.append(stage_card(level, k, _tile(np.array(detector.tile) / factor, dims), dims, params))
    return tuple(cards)


def _tile(across: np.ndarray, dims: str) -> Vec3:
    steps = np.array([1 if dims == "2d" else 4, ALIGNED, ALIGNED])
    return vec3(np.maximum(np.ceil(across / steps - 1e-6) * steps, LEAST_TILE[dims]).tolist())


@dataclass
class Mixed:
    """Samples of one gate from many places, half of them with objects; see `Patches`.

    Parameters
    ----------
    patches
        Of a place each.
    positive
        (n,) whether it holds part of an object.
    hard
        Places without, which the gate takes for places with objects; drawn more often.
    """

    patches: Sequence[Patches]
    positive: np.ndarray
    hard: np.ndarray = field(default_factory=lambda: np.empty(0, int))

    def draw(self, batch: int, seed: int) -> Iterator[Sample]:
        """Endless samples."""
        rng = np.random.default_rng(seed)
        sources: dict[int, Iterator[Sample]] = {}
        there, rest = np.flatnonzero(self.positive), np.arange(len(self.patches))
        while True:
            parts = []
            for _ in range(batch):
                kind = rng.uniform()
                among = (
                    there
                    if kind < POSITIVE and len(there)
                    else self.hard
                    if kind < POSITIVE + HARD and len(self.hard)
                    else rest
                )
                i = int(rng.choice(among))
                if i not in sources:
                    sources[i] = self.patches[i].draw(1, int(rng.integers(2**31)))
                parts.append(next(sources[i]))
            image, target, weight = (np.concatenate([part[j] for part in parts]) for j in range(3))
            yield image, target, weight


@dataclass
class _Check:
    """Validation score on fixed samples; half-way through the training, hard places are sought for more samples."""

    train: Mixed
    samples: Sequence[Sample]
    seed: int
    calls: int = 0

    def __call__(self, model: Predictor) -> float:
        self.calls += 1
        if self.calls == VALIDATIONS // 2:
            self.train.hard = _hard(model, self.train, self.seed)
        return score_on(model, self.samples)


def train_gate_job(
    volume: Volume,
    looks: Sequence[Look],
    card: ModelCard,
    fine: Level,
    params: TrainParams,
    seconds: float,
    least: int,
    stop: Callable[[], bool] | None = None,
) -> Job[TorchPredictor]:
    """Train one gate.

    Parameters
    ----------
    volume, fine
        With the gate's level, and the detector's level.
    looks
        Places to learn from; every sixth selects the best state and is not learnt from.
    card
        Of the gate.
    params, seconds
        Steps, batch and seed, and how long to train where no number of steps is asked for.
    least
        Voxels of the smallest object.
    stop
        Once true, the best state so far is taken.
    """
    level, scaling = volume.level_at(card.voxel_nm), card.normalisation.resolve(volume)
    made = (_patches(look, card, level, fine, scaling, least) for look in looks)
    patches = [one for one in made if one is not None]
    positive = np.array([bool((p.target >= 128).any()) for p in patches])
    chosen = np.zeros(len(patches), bool)
    for kind in (True, False):
        chosen[np.flatnonzero(positive == kind)[3::6]] = True
    train = _mixed(patches, positive, ~chosen)
    check = _mixed(patches, positive, chosen if positive[chosen].any() else ~chosen)
    score = _Check(train, list(islice(check.draw(params.batch, seed=1), CHECKED)), params.seed)
    steps = params.steps or BUDGETS[params.budget].steps // 3
    settings = FitParams(steps=steps, learning_rate=RATE, validate_every=max(1, steps // VALIDATIONS))
    limit = 0.0 if params.steps else seconds
    model = new_model(card, params.seed, device=params.device)
    draw = train.draw(params.batch, params.seed)
    return (yield from fit(model, draw, settings, validate=score, stop=stop, seconds=limit))


def _mixed(patches: Sequence[Patches], positive: np.ndarray, which: np.ndarray) -> Mixed:
    return Mixed([patches[i] for i in np.flatnonzero(which).tolist()], positive[which])


def _patches(look: Look, card: ModelCard, level: Level, fine: Level, scaling: Scaling, least: int) -> Patches | None:
    """A place as a gate sees it; the loss counts inside it alone. None if the place fills no voxel of the gate."""
    mask = Level(look.mask(least).astype(np.uint8) * np.uint8(255), fine.voxel_nm, _corner(fine, look.box))
    place = Examples(mask, np.empty((0, 3)), 0.0)
    if not place.region(level).size:
        return None
    target, region = place.on(level)
    more = [h + max(0, t - n) for h, t, n in zip(card.halo, card.tile, region.shape, strict=True)]
    near = region.grow(more).clip(level.shape)
    part = crop(level, near)
    loaded = Level(np.asarray(part.array), part.voxel_nm, part.origin_nm)
    return Patches(loaded, target, region.shift([-s for s in near.start]), card, scaling)


def _corner(level: Level, box: Box) -> FVec3:
    z, y, x = level.to_nm(box.start).tolist()
    return (z, y, x)


def _hard(model: Predictor, train: Mixed, seed: int, keep: int = 32) -> np.ndarray:
    """Of `LOOK` places without an object those that score highest."""
    name, scored = model.card.outputs[0].name, []
    for i in np.random.default_rng(seed).permutation(np.flatnonzero(~train.positive))[:LOOK].tolist():
        patches = train.patches[i]
        start = patches.block.start
        read = Box(start, vec3([a + t for a, t in zip(start, patches.card.tile, strict=True)]))
        image = patches.level.read_padded(read.grow(patches.card.halo))
        image = patches.scaling(image if image.ndim == 4 else image[None])
        scored.append((float(model(image[None], [0])[name].max()), int(i)))
    worst = sorted(scored, reverse=True)[:keep]
    return np.array([i for score, i in worst if score > 0.2], int)

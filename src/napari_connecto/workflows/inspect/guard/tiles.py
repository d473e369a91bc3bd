"""Tiles of labelled examples with what every check says of them: what calibration and evidence are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.model import Predictor
from napari_connecto.models.inspect.pair import ERROR, QUALITY
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import of_halves, of_pair, score_of
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import (
    HALO,
    Scene,
    Source,
    answer_at,
    crop,
    draw,
    pair,
    tile_around,
    view,
    view_shape,
)
from napari_connecto.workflows.inspect.guard.truth import AnswerKind
from napari_connecto.workflows.ood.gate import Gate, statistics
from napari_connecto.workflows.segment.params import SegmentParams

PER_SCENE = 4
"""Tiles of a scene."""


@dataclass(frozen=True)
class Setting:
    """What all phases share."""

    model: Predictor
    output: str
    kind: AnswerKind
    params: GuardParams
    segment: SegmentParams
    others: Sequence[Predictor] = ()

    @classmethod
    def of(
        cls, model: Predictor, params: GuardParams, segment: SegmentParams, output: str, others: Sequence[Predictor]
    ) -> Setting:
        """Checked."""
        card = model.card
        output = output or card.outputs[0].name
        if card.output(output).stride != (1, 1, 1):
            raise InputError(
                f"output '{output}' of '{card.name}' has one value per {card.output(output).stride} voxels; a guard "
                "judges outputs with one value per voxel"
            )
        kind: Any = params.kind
        if kind == "auto":
            kind = "membranes" if card.task == "boundary" else "masks"
        for other in others:
            if (other.card.voxel_nm, other.card.channels) != (card.voxel_nm, card.channels):
                raise InputError(f"model '{other.card.name}' reads other images than '{card.name}'; leave it out")
        return cls(model, output, kind, params, segment, tuple(others))


def scene_of(
    setting: Setting, sources: Sequence[Source], model: Predictor, rng: np.random.Generator, harm: Any = None
) -> Scene:
    """A random view of the sources, larger ones more often."""
    sizes = np.array([source.part.size for source in sources], float)
    source = sources[int(rng.choice(len(sources), p=sizes / sizes.sum()))]
    output = setting.output if model is setting.model else model.card.outputs[0].name
    return view(source, draw(source, view_shape(model), rng), model, output, harm)


@dataclass(frozen=True)
class Held:
    """Tiles of held-out examples.

    Parameters
    ----------
    pair, halves
        (n, 2) of `of_pair`, and of `of_halves` or None.
    score, predicted
        (n,) true and predicted Dice, or VI in bits.
    """

    pair: np.ndarray
    halves: np.ndarray | None
    score: np.ndarray
    predicted: np.ndarray


def measured(
    setting: Setting, judge: Predictor, scene: Scene, encoder: TorchEncoder | None, gate: Gate | None, rng: Any
) -> Held:
    """Tiles of one held-out scene."""
    corners = [crop(scene, rng) for _ in range(PER_SCENE)]
    pairs = [pair(scene, at, answer_at(scene, at), setting.kind, setting.segment) for at in corners]
    told = judge(np.stack([p.both for p in pairs]), [0] * len(pairs))
    error, quality = (told[name][:, 0, HALO:-HALO, HALO:-HALO].mean(axis=(1, 2)) for name in (ERROR, QUALITY))
    halves = None
    if encoder is not None and gate is not None:
        tiles = np.stack([tile_around(scene, at, gate.shape) for at in corners])
        vectors, unsure = statistics(encoder, tiles)
        halves = of_halves(gate.gaussian.distance(vectors.astype(np.float64)), unsure)
    known = np.array([not np.isnan(p.judged.score) for p in pairs])
    score = np.array([p.judged.score for p in pairs])[known]
    predicted = score_of(quality, setting.kind)[known]
    return Held(of_pair(error, quality)[known], None if halves is None else halves[known], score, predicted)


def joined(parts: Sequence[Held]) -> Held:
    """All tiles in turn."""
    halves = [p.halves for p in parts if p.halves is not None]
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("pair", "score", "predicted")}
    return Held(halves=np.concatenate(halves) if halves else None, **joined)


def with_output(by_pair: Calibration, held: Held) -> np.ndarray:
    """Statistics (n, 2) of `Guard.combined`: score of the pair, and inconsistency of the output."""
    assert held.halves is not None
    return np.stack([by_pair.score(held.pair), held.halves[:, 1]], axis=1)

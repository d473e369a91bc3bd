"""What a judge learns from: answers on degraded inputs, and answers with planted faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import numpy as np

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.models.training.fit import Sample
from napari_connecto.workflows.inspect.guard.faults import FAULTS, plant
from napari_connecto.workflows.inspect.guard.guard import quality_of
from napari_connecto.workflows.inspect.guard.harm import FAMILIES, degraded
from napari_connecto.workflows.inspect.guard.scenes import HALO, Pair, Scene, Source, answer_at, crop, labels_at, pair
from napari_connecto.workflows.inspect.guard.tiles import Setting, scene_of
from napari_connecto.workflows.inspect.guard.truth import objects_of

ANSWERS, TRUTHS = "running the model on degraded inputs", "planting faults"
CLEAN, PLANTED, HARD = 0.35, 0.5, 0.2
"""Shares: scenes that are not degraded, pairs with planted faults, answers rounded to 0 and 1."""


def scenes_job(setting: Setting, sources: Sequence[Source]) -> Job[list[Scene]]:
    """Answers of the model to views of the examples, most of them degraded."""
    rng, scenes, n = np.random.default_rng(setting.params.seed), list[Scene](), setting.params.scenes
    for k in range(n):
        harm = None if rng.random() < CLEAN else harm_of(str(rng.choice(FAMILIES)), float(rng.uniform(0.05, 1)), rng)
        model = setting.model
        if setting.others and rng.random() < 0.2:
            model = setting.others[int(rng.integers(len(setting.others)))]
        scenes.append(scene_of(setting, sources, model, rng, harm))
        yield Progress(k + 1, n, ANSWERS)
    return scenes


def harm_of(family: str, strength: float, rng: np.random.Generator) -> Any:
    return lambda image: degraded(image, family, strength, rng)


def pairs_job(setting: Setting, scenes: Sequence[Scene]) -> Job[list[Pair]]:
    """Tiles of scenes, with faults planted into half of the answers."""
    rng, pairs, n = np.random.default_rng(setting.params.seed + 1), list[Pair](), setting.params.pairs
    for k in range(n):
        scene = scenes[k % len(scenes)]
        at = crop(scene, rng)
        answer = answer_at(scene, at)
        if rng.random() < PLANTED:
            objects = objects_of(labels_at(scene, at))
            for _ in range(int(rng.integers(1, 4))):
                fault = str(rng.choice(FAULTS))
                answer, _ = plant(answer, objects, setting.kind, fault, float(rng.random()), rng)
        if rng.random() < HARD:
            answer = (answer >= 0.5).astype(np.float32)
        pairs.append(pair(scene, at, answer, setting.kind, setting.segment))
        if k % 10 == 9 or k + 1 == n:
            yield Progress(k + 1, n, TRUTHS)
    return pairs


def samples_of(pairs: Sequence[Pair], setting: Setting, step: int) -> Iterator[Sample]:
    return (_sample(pairs, setting, i) for i in count(step))


def _sample(pairs: Sequence[Pair], setting: Setting, step: int) -> Sample:
    """Batch, target and weight of a step: random pairs, each in one of eight orientations."""
    rng = np.random.default_rng([setting.params.seed, step])
    parts = []
    for k in rng.integers(len(pairs), size=setting.params.batch):
        one = pairs[int(k)]
        score = one.judged.score
        quality = 0.0 if np.isnan(score) else quality_of(score, setting.kind)
        inner = np.zeros(one.answer.shape, np.float32)
        inner[HALO:-HALO, HALO:-HALO] = 1.0
        target = np.stack([one.judged.wrong.astype(np.float32), np.full_like(inner, quality)])
        weight = np.stack([one.judged.known * (0.2 + 0.8 * inner), inner * (not np.isnan(score))])
        turn, flip = int(rng.integers(4)), bool(rng.integers(2))
        parts.append([_turned(a, turn, flip) for a in (one.both, target[:, None], weight[:, None])])
    return tuple(np.stack(a).astype(np.float32) for a in zip(*parts, strict=True))  # type: ignore[return-value]


def _turned(array: np.ndarray, turn: int, flip: bool) -> np.ndarray:
    turned = np.rot90(array, turn, (-2, -1))
    return turned[..., ::-1] if flip else turned

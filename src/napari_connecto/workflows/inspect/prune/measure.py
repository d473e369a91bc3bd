"""What a smaller model loses and saves: agreement and VI on held-out places, time side by side, tiles against whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from napari_connecto.core.geometry import Vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.partition_metrics import Contingency, variation_of_information
from napari_connecto.core.phases import Phases
from napari_connecto.models.nets.nets import divisor
from napari_connecto.workflows.inspect.prune.places import Places, answers_job, cropped
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.tune import instances

TILED = "comparing tiles with the whole"
ROUNDS = 7
"""How often both models are timed, in turn."""


@dataclass(frozen=True)
class Agreement:
    """A model's answers against the original's on held-out places.

    Parameters
    ----------
    dice
        Overlap of the two masks at the threshold, all places together.
    difference
        Mean absolute difference of the probabilities.
    vi_between
        Variation of information between the two segmentations, bits, mean over places; None if not a boundary model.
    vi
        That of each segmentation to the truth: (original's, the model's) for each place; empty without labels.
    """

    dice: float
    difference: float
    vi_between: float | None
    vi: tuple[tuple[float, float], ...]


def agreement(
    before: np.ndarray, after: np.ndarray, places: Places, card: ModelCard, params: SegmentParams
) -> Agreement:
    """Of two models' answers for the same places, (n, outputs, z, y, x)."""
    return run(agreement_job(before, after, places, card, params))


def agreement_job(
    before: np.ndarray, after: np.ndarray, places: Places, card: ModelCard, params: SegmentParams
) -> Job[Agreement]:
    """`agreement`, a report for each place that is segmented."""
    inner = _inner(places, card)
    old, new = (cropped(answer[:, 0], inner) for answer in (before, after))
    a, b = old >= params.boundary_threshold, new >= params.boundary_threshold
    size = int(a.sum()) + int(b.sum())
    dice = 2 * int((a & b).sum()) / size if size else 1.0
    difference = float(cropped(np.abs(before - after), inner).mean())
    if card.task != "boundary":
        return Agreement(dice, difference, None, ())
    cut = []
    for k, (m, n) in enumerate(zip(old, new, strict=True)):
        cut.append((_cut(m, params, card), _cut(n, params, card)))
        yield Progress(k + 1, len(old))
    between = float(np.mean([_vi(n, m) for m, n in cut]))
    if places.labels is None:
        return Agreement(dice, difference, between, ())
    truths = [instances(labels) for labels in cropped(places.labels, places.inner)]
    known = [(pair, truth) for pair, truth in zip(cut, truths, strict=True) if truth.any()]
    return Agreement(dice, difference, between, tuple((_vi(m, t), _vi(n, t)) for (m, n), t in known))


def _inner(places: Places, card: ModelCard) -> tuple[slice, ...]:
    """Of an answer, without the halo."""
    rest = [h - t for h, t in zip(places.halo, card.outputs[0].trimmed, strict=True)]
    shape = [n - 2 * t for n, t in zip(places.images.shape[2:], card.outputs[0].trimmed, strict=True)]
    return tuple(slice(r, n - r) for r, n in zip(rest, shape, strict=True))


def _cut(boundary: np.ndarray, params: SegmentParams, card: ModelCard) -> np.ndarray:
    mode = "2d" if len(boundary) == 1 else params.mode
    return segment_array(np.clip(boundary, 0, 1), replace(params, mode=mode), card.voxel_nm).astype(np.int64)


def _vi(found: np.ndarray, truth: np.ndarray) -> float:
    return variation_of_information(Contingency.of(found, truth)).total


def times_job(models: Sequence[Predictor], rounds: int = ROUNDS) -> Job[tuple[float, ...]]:
    """Median seconds of each model for one tile of its card with halo, timed in turn; a report for each round."""
    tiles = [_noise(model.card) for model in models]
    taken = np.zeros((rounds + 1, len(models)))
    for done, row in enumerate(taken):
        for i, (model, tile) in enumerate(zip(models, tiles, strict=True)):
            began = time.perf_counter()
            model(tile, [0])
            row[i] = time.perf_counter() - began
        yield Progress(done + 1, len(taken))
    return tuple(float(t) for t in np.median(taken[1:], axis=0))  # the first call prepares


def _noise(card: ModelCard) -> np.ndarray:
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    return np.random.default_rng(0).random((1, card.channels, *read), np.float32)


def tile_gap(model: Predictor, places: Places, threshold: float) -> float:
    """Share of voxels on the other side of the threshold when a place is computed in tiles of half its width.

    Each tile has the card's halo. Where a network sees farther than its halo this is not 0; nan if places are too small
    to be divided.
    """
    return run(gap_job(model, places, threshold))


def gap_job(model: Predictor, places: Places, threshold: float) -> Job[float]:
    """`tile_gap`, a report for each place and tile."""
    card, step = model.card, divisor(model.card.network)
    half = [n // 2 // s * s for n, s in zip(_size(places), step, strict=True)]
    if min(half[1:]) == 0:
        return float("nan")
    corners = list(product((0, half[1]), (0, half[2])))
    steps = Phases({"whole": len(corners), **{f"tile {at}": 1 for at in corners}})
    whole = cropped((yield from steps.run("whole", answers_job(model, places, TILED)))[:, 0], _inner(places, card))
    differ, total = 0, 0
    for y, x in corners:
        here = [slice(a, a + half[i] + 2 * card.halo[i]) for i, a in ((1, y), (2, x))]
        part = Places(cropped(places.images, here), None, places.halo)
        answer = yield from steps.run(f"tile {(y, x)}", answers_job(model, part, TILED))
        got, want = cropped(answer[:, 0], _inner(part, card)), whole[..., y : y + half[1], x : x + half[2]]
        differ += int(((got >= threshold) != (want >= threshold)).sum())
        total += want.size
    return differ / total


def _size(places: Places) -> Vec3:
    z, y, x = (s.stop - s.start for s in places.inner)
    return z, y, x

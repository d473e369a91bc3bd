"""Calibrate a guard: limits of its checks, by tiles of examples that the judge of those tiles did not learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import PAIR_NAMES, Guard, limit_of
from napari_connecto.workflows.inspect.guard.harm import FAMILIES
from napari_connecto.workflows.inspect.guard.lessons import harm_of
from napari_connecto.workflows.inspect.guard.scenes import Source, crop, tile_around
from napari_connecto.workflows.inspect.guard.tiles import (
    PER_SCENE,
    Held,
    Setting,
    joined,
    measured,
    scene_of,
    with_output,
)
from napari_connecto.workflows.ood.gate import Gate, statistics
from napari_connecto.workflows.ood.tiles import tile_shape

CALIBRATING = "calibrating on held-out tiles"
GATE_TILES, GATE_BLOCKS = 100, 5


def calibrated_job(
    setting: Setting,
    judge: Predictor,
    judges: Sequence[Predictor],
    parts: Sequence[Sequence[Source]],
    held: Sequence[Source],
) -> Job[Guard]:
    """The guard, by clean and degraded held-out tiles.

    Parameters
    ----------
    setting
        The model, and how it is judged.
    judge
        The guard's own.
    judges
        One for each part, which learnt from the other parts; none if ``held`` is given.
    parts
        Of the examples.
    held
        Held-out examples, which the guard's own judge is calibrated on.

    Raises
    ------
    InputError
        If the tiles show no object, or too few good ones are left for the false-alarm rate.
    """
    rng, held_parts = np.random.default_rng(setting.params.seed + 2), parts if judges else [held]
    encoder = _encoder(setting.model)
    seen = [] if encoder is None else [_seen(setting, encoder, part, rng) for part in parts]
    # a part's tiles meet an input check of the other parts: those it was fitted to are nearer to it than new ones
    gates = [_gate(setting, seen[:k] + seen[k + 1 :]) for k in range(len(judges))] if seen else []
    gate = _gate(setting, seen) if seen and None not in gates else None
    encoder = encoder if gate is not None else None
    tiles: tuple[list[Held], list[Held]] = ([], [])
    scenes = -(-setting.params.tiles // (PER_SCENE * len(held_parts)))
    for n, sources in enumerate(held_parts):
        mine, other = (judges[n], gates[n] if encoder else None) if judges else (judge, gate)
        found: tuple[list[Held], list[Held]] = ([], [])
        for k in range(2 * scenes):
            clean = k < scenes
            harm = None if clean else harm_of(FAMILIES[k % len(FAMILIES)], float(rng.uniform(0.05, 1)), rng)
            scene = scene_of(setting, sources, setting.model, rng, harm)
            found[not clean].append(measured(setting, mine, scene, encoder, other, rng))
            yield Progress(2 * scenes * n + k + 1, 2 * scenes * len(held_parts), CALIBRATING)
        for all_parts, part in zip(tiles, found, strict=True):
            all_parts.append(joined(part))
    return _guard(setting, judge, gate, *tiles)


def _guard(
    setting: Setting, judge: Predictor, gate: Gate | None, clean_parts: Sequence[Held], harmed_parts: Sequence[Held]
) -> Guard:
    """The guard, by clean and degraded tiles of each part."""
    clean, harmed = joined(clean_parts), joined(harmed_parts)
    if not len(clean.score):
        raise InputError("the held-out examples show no object in any tile; label more of them, or give others")
    usual = float(np.median(clean.score))
    limit = limit_of(usual, setting.kind)
    bads = [t.score < limit if setting.kind == "masks" else t.score > limit for t in (clean, harmed)]
    good, rate = ~bads[0], setting.params.false_alarm
    part_of = np.repeat(np.arange(len(clean_parts)), [len(part.score) for part in clean_parts])[good]
    parts = part_of if len(np.unique(part_of)) > 1 else None
    by_pair = Calibration.fit(PAIR_NAMES, clean.pair[good], harmed.pair, bads[1], rate, parts=parts)
    combined, by_input = None, None
    if clean.halves is not None:
        by_input = Calibration.either(("input",), clean.halves[good, :1], rate, parts=parts)
        combined = Calibration.either(("pair", "output"), with_output(by_pair, clean)[good], rate, parts=parts)
    checks: dict[str, Any] = {"by_pair": by_pair, "combined": combined, "by_input": by_input, "gate": gate}
    metrics = _metrics([clean, harmed], bads, by_pair, combined)
    given: dict[str, Any] = {"params": setting.segment, "metrics": metrics, "model": setting.model, **checks}
    return Guard(judge, setting.model.card, setting.output, setting.kind, usual, **given)


def _metrics(
    tiles: Sequence[Held], bads: Sequence[np.ndarray], by_pair: Calibration, combined: Calibration | None
) -> dict[str, Any]:
    """Held-out figures: AUROC of each check for bad tiles, mean absolute error of the predicted score."""
    bad = np.concatenate(bads)
    found: dict[str, Any] = {
        "tiles": len(bad),
        "bad": int(bad.sum()),
        "score_error": float(np.mean(np.abs(np.concatenate([t.predicted - t.score for t in tiles])))),
        "score_error_clean": float(np.mean(np.abs(tiles[0].predicted - tiles[0].score))),
    }
    if 0 < bad.sum() < len(bad):
        each = {"pair": np.concatenate([by_pair.score(t.pair) for t in tiles])}
        if combined is not None:
            halves = np.concatenate([t.halves for t in tiles if t.halves is not None])
            each |= {"input": halves[:, 0], "output": halves[:, 1]}
            each["combined"] = np.concatenate([combined.score(with_output(by_pair, t)) for t in tiles])
        found["auroc"] = {name: auroc(values, bad) for name, values in each.items()}
    return found


def _encoder(model: Predictor) -> TorchEncoder | None:
    try:
        return TorchEncoder(model)
    except ModelError:
        return None


def _seen(
    setting: Setting, encoder: TorchEncoder, sources: Sequence[Source], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, inconsistency and place in the volume (n, 3) of tiles of a part."""
    shape, scenes = tile_shape(setting.model.card), -(-GATE_TILES // PER_SCENE)
    found, starts = [], []
    for _ in range(scenes):
        scene = scene_of(setting, sources, setting.model, rng)
        tiles = np.stack([tile_around(scene, crop(scene, rng), shape) for _ in range(PER_SCENE)])
        found.append(statistics(encoder, tiles))
        starts += [scene.box.start] * PER_SCENE
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return vectors, unsure, np.array(starts)


def _gate(setting: Setting, seen: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Gate | None:
    """Input check fitted to tiles, in blocks along the order of scenes; None if there is too little tissue."""
    vectors, unsure, starts = (np.concatenate(each) for each in zip(*seen, strict=True))
    order = np.argsort(np.lexsort(starts.T[::-1]))
    groups = order * GATE_BLOCKS // len(order)
    rate, shape = setting.params.false_alarm, tile_shape(setting.model.card)
    try:
        return Gate.fit(vectors, unsure, groups=groups, false_alarm=rate, shape=shape, space=setting.model.card.digest)
    except InputError:
        return None

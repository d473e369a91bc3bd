"""Fit a guard to a model from labelled examples: answers on degraded inputs, planted faults, a judge, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inspect.pair import PairLoss, judge_card
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.guard import PAIR_NAMES, Guard, limit_of
from napari_connecto.workflows.inspect.guard.harm import FAMILIES
from napari_connecto.workflows.inspect.guard.lessons import ANSWERS, TRUTHS, harm_of, pairs_job, samples_of, scenes_job
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER, Source, crop, tile_around
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
from napari_connecto.workflows.segment.params import SegmentParams

GATE_TILES, GATE_BLOCKS = 100, 5
TRAINING, CALIBRATING = "training", "calibrating on held-out tiles"


def fit_guard(
    model: Predictor,
    examples: Sequence[Any],
    params: GuardParams | None = None,
    *,
    held_out: Sequence[Any] = (),
    gate: Gate | None = None,
    segment: SegmentParams | None = None,
    others: Sequence[Predictor] = (),
    output: str = "",
) -> Guard:
    """Fit a guard: a network that sees an image *and* a model's answer to it and tells where the answer is wrong.

    It learns from the model's own labelled data: answers to degraded inputs and answers with planted merges, splits,
    erasures and inventions. Beside it stand checks of the input alone and of the output alone; the combination of all
    is calibrated to a stated false-alarm rate on held-out tiles.

    Parameters
    ----------
    model
        The model to guard; its output has stride 1 and is a probability.
    examples
        Pairs (image, labels): arrays (y, x) or (z, y, x) at the model's voxel size, or volumes; also objects with
        fields of these names. ``params.label_kind`` tells what labels mean.
    params
        See `GuardParams`.
    held_out
        Examples for calibration, best of data that the model was not trained on. Default: a part of each example. If
        the model was trained on that, new data of the same kind are flagged more often than stated.
    gate
        A `Gate` of the model that was fitted without the held-out data. Default: fitted to the examples.
    segment
        How membranes become objects. Default: `SegmentParams`.
    others
        Other models for the same images, such as earlier checkpoints: a fifth of the answers is theirs.
    output
        Output that is judged. Default: the first.

    Returns
    -------
    Guard
        `Guard.save` writes it into the model's folder.

    Raises
    ------
    InputError
        If examples and model do not fit, or too few good tiles are left for the false-alarm rate.

    References
    ----------
    Wang et al., arXiv 2412.02159 (judging the whole exchange); Zung et al., NeurIPS 2017, arXiv 1708.02599 (errors from
    image and candidate object); error maps of membranes after cfpark00/SmartEM (MIT); Bates et al., arXiv 2104.08279.

    Examples
    --------
    >>> folder = nc.list_models()["synthetic-neuropil"]
    >>> model = nc.load_model(folder, device="cpu", backend="torch")
    >>> image, neurons = nc.open_sample("neuropil"), nc.open_sample("neuropil", "neurons")
    >>> few = nc.GuardParams(scenes=8, pairs=16, steps=2, tiles=60, false_alarm=0.2)
    >>> guard = nc.fit_guard(model, [(image, neurons)], few)
    >>> guard.kind
    'membranes'
    """
    job = fit_guard_job(
        model, examples, params, held_out=held_out, gate=gate, segment=segment, others=others, output=output
    )
    return run(job)


def fit_guard_job(
    model: Predictor,
    examples: Sequence[Any],
    params: GuardParams | None = None,
    *,
    held_out: Sequence[Any] = (),
    gate: Gate | None = None,
    segment: SegmentParams | None = None,
    others: Sequence[Predictor] = (),
    output: str = "",
) -> Job[Guard]:
    """`fit_guard` as a job."""
    params = params or GuardParams()
    setting = Setting.of(model, params, segment or SegmentParams(), output, others)
    learn, held = _sources(examples, held_out, setting)
    phases = Phases(
        {
            ANSWERS: params.scenes * 0.25,
            TRUTHS: params.pairs * 0.03,
            TRAINING: params.steps * 0.3,
            CALIBRATING: params.tiles,
        }
    )
    scenes = yield from phases.run(ANSWERS, scenes_job(setting, learn))
    pairs = yield from phases.run(TRUTHS, pairs_job(setting, scenes))
    if all(np.isnan(one.judged.score) for one in pairs):
        raise InputError(
            "the examples show no object in any tile; check the labels and label_kind, which says what 0 is"
        )
    samples = partial(samples_of, pairs, setting)
    start = new_model(judge_card(model.card, INNER, HALO, params.width), params.seed, device=str(_device(model)))
    training = fit(start, samples, FitParams(steps=params.steps, seed=params.seed), objective=PairLoss())
    judge = yield from phases.run(TRAINING, training)
    return (yield from phases.run(CALIBRATING, _calibrated_job(setting, judge, learn, held, gate)))


def _sources(examples: Sequence[Any], held_out: Sequence[Any], setting: Setting) -> tuple[list[Source], list[Source]]:
    if not examples:
        raise InputError("got no example; a guard needs labelled images: give at least one pair (image, labels)")
    kind: Any = setting.params.label_kind
    sources, held = ([Source.of(e, setting.model.card, kind) for e in part] for part in (examples, held_out))
    if held:
        return sources, held
    parts = [source.split(setting.params.held_out) for source in sources]
    return [a for a, _ in parts], [b for _, b in parts]


def _calibrated_job(
    setting: Setting, judge: Predictor, learn: Sequence[Source], held: Sequence[Source], gate: Gate | None
) -> Job[Guard]:
    """The guard, by clean and degraded tiles of the held-out examples."""
    params, rng = setting.params, np.random.default_rng(setting.params.seed + 2)
    encoder = _encoder(setting.model)
    # of the examples alone: tiles that an input check was fitted to are nearer to it than new ones
    gate = gate if gate is not None or encoder is None else _gate(setting, encoder, learn, rng)
    encoder = encoder if gate is not None else None
    found: list[list[Held]] = [[], []]
    scenes = -(-params.tiles // PER_SCENE)
    for k in range(2 * scenes):
        clean = k < scenes
        harm = None if clean else harm_of(FAMILIES[k % len(FAMILIES)], float(rng.uniform(0.05, 1)), rng)
        scene = scene_of(setting, held, setting.model, rng, harm)
        found[not clean].append(measured(setting, judge, scene, encoder, gate, rng))
        yield Progress(k + 1, 2 * scenes, CALIBRATING)
    clean_tiles, harmed = (joined(part) for part in found)
    if not len(clean_tiles.score):
        raise InputError("the held-out examples show no object in any tile; label more of them, or give others")
    usual = float(np.median(clean_tiles.score))
    limit = limit_of(usual, setting.kind)
    bads = [t.score < limit if setting.kind == "masks" else t.score > limit for t in (clean_tiles, harmed)]
    good, rate = ~bads[0], params.false_alarm
    by_pair = Calibration.fit(PAIR_NAMES, clean_tiles.pair[good], harmed.pair, bads[1], rate)
    combined, by_input = None, None
    if clean_tiles.halves is not None:
        by_input = Calibration.either(("input",), clean_tiles.halves[good, :1], rate)
        combined = Calibration.either(("pair", "output"), with_output(by_pair, clean_tiles)[good], rate)
    metrics = _metrics([clean_tiles, harmed], bads, by_pair, combined)
    parts = {"by_pair": by_pair, "combined": combined, "by_input": by_input, "gate": gate}
    given: dict[str, Any] = {"params": setting.segment, "metrics": metrics, "model": setting.model, **parts}
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


def _gate(setting: Setting, encoder: TorchEncoder, sources: Sequence[Source], rng: np.random.Generator) -> Gate | None:
    """Input check fitted to the examples, in blocks along the order of scenes; None if there is too little tissue."""
    shape, scenes = tile_shape(setting.model.card), -(-GATE_TILES // PER_SCENE)
    found, starts = [], []
    for _ in range(scenes):
        scene = scene_of(setting, sources, setting.model, rng)
        tiles = np.stack([tile_around(scene, crop(scene, rng), shape) for _ in range(PER_SCENE)])
        found.append(statistics(encoder, tiles))
        starts += [scene.box.start] * PER_SCENE
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(np.lexsort(np.array(starts).T[::-1]))
    groups = order * GATE_BLOCKS // len(order)
    rate = setting.params.false_alarm
    try:
        return Gate.fit(vectors, unsure, groups=groups, false_alarm=rate, shape=shape, space=setting.model.card.digest)
    except InputError:
        return None


def _device(model: Predictor) -> Any:
    try:
        return torch_model(model).device
    except ModelError:
        return "auto"

"""Fit a guard to a model from labelled examples: answers on degraded inputs, planted faults, a judge, calibration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.metrics import auroc
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inspect.pair import ERROR, QUALITY, PairLoss, judge_card
from napari_connecto.models.training.fit import FitParams, Sample, fit
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.inspect.guard.calibration import Calibration
from napari_connecto.workflows.inspect.guard.faults import FAULTS, plant
from napari_connecto.workflows.inspect.guard.guard import (
    HALF_NAMES,
    LEAST_DICE,
    MOST_VI,
    PAIR_NAMES,
    Guard,
    of_halves,
    of_pair,
    quality_of,
    score_of,
)
from napari_connecto.workflows.inspect.guard.harm import FAMILIES, degraded
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import (
    HALO,
    INNER,
    Pair,
    Scene,
    Source,
    answer_at,
    crop,
    draw,
    labels_at,
    pair,
    tile_around,
    view,
    view_shape,
)
from napari_connecto.workflows.inspect.guard.truth import AnswerKind, objects_of
from napari_connecto.workflows.ood.gate import Gate, statistics
from napari_connecto.workflows.ood.tiles import tile_shape
from napari_connecto.workflows.segment.params import SegmentParams

CLEAN, PLANTED, HARD = 0.35, 0.5, 0.2
"""Shares: scenes that are not degraded, pairs with planted faults, answers rounded to 0 and 1."""
PER_SCENE = 4
"""Tiles of a held-out scene."""
GATE_TILES, GATE_BLOCKS = 100, 5
ANSWERS, TRUTHS, TRAINING, CALIBRATING = (
    "running the model on degraded inputs",
    "planting faults",
    "training",
    "calibrating on held-out tiles",
)


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
        The model's `Gate`. Default: fitted to the examples.
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
    scenes = yield from phases.run(ANSWERS, _scenes_job(setting, learn))
    pairs = yield from phases.run(TRUTHS, _pairs_job(setting, scenes))
    samples = partial(_samples, pairs, setting)
    start = new_model(judge_card(model.card, INNER, HALO, params.width), params.seed, device=str(_device(model)))
    training = fit(start, samples, FitParams(steps=params.steps, seed=params.seed), objective=PairLoss())
    judge = yield from phases.run(TRAINING, training)
    return (yield from phases.run(CALIBRATING, _calibrated_job(setting, judge, learn, held, gate)))


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


def _sources(examples: Sequence[Any], held_out: Sequence[Any], setting: Setting) -> tuple[list[Source], list[Source]]:
    if not examples:
        raise InputError("got no example; a guard needs labelled images: give at least one pair (image, labels)")
    kind: Any = setting.params.label_kind
    sources, held = ([Source.of(e, setting.model.card, kind) for e in part] for part in (examples, held_out))
    if held:
        return sources, held
    parts = [source.split(setting.params.held_out) for source in sources]
    return [a for a, _ in parts], [b for _, b in parts]


def _scenes_job(setting: Setting, sources: Sequence[Source]) -> Job[list[Scene]]:
    """Answers of the model to views of the examples, most of them degraded."""
    rng, scenes, n = np.random.default_rng(setting.params.seed), list[Scene](), setting.params.scenes
    for k in range(n):
        harm = None if rng.random() < CLEAN else _harm(str(rng.choice(FAMILIES)), float(rng.uniform(0.05, 1)), rng)
        model = setting.model
        if setting.others and rng.random() < 0.2:
            model = setting.others[int(rng.integers(len(setting.others)))]
        scenes.append(_scene(setting, sources, model, rng, harm))
        yield Progress(k + 1, n, ANSWERS)
    return scenes


def _scene(
    setting: Setting, sources: Sequence[Source], model: Predictor, rng: np.random.Generator, harm: Any = None
) -> Scene:
    sizes = np.array([source.part.size for source in sources], float)
    source = sources[int(rng.choice(len(sources), p=sizes / sizes.sum()))]
    output = setting.output if model is setting.model else model.card.outputs[0].name
    return view(source, draw(source, view_shape(model), rng), model, output, harm)


def _harm(family: str, strength: float, rng: np.random.Generator) -> Any:
    return lambda image: degraded(image, family, strength, rng)


def _pairs_job(setting: Setting, scenes: Sequence[Scene]) -> Job[list[Pair]]:
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


def _samples(pairs: Sequence[Pair], setting: Setting, step: int) -> Iterator[Sample]:
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


@dataclass(frozen=True)
class _Held:
    """Statistics of held-out tiles: ``pair`` (n, 2), ``halves`` (n, 2) or None, the true and predicted ``score``."""

    pair: np.ndarray
    halves: np.ndarray | None
    score: np.ndarray
    predicted: np.ndarray


def _calibrated_job(
    setting: Setting, judge: Predictor, learn: Sequence[Source], held: Sequence[Source], gate: Gate | None
) -> Job[Guard]:
    """The guard, by clean and degraded tiles of the held-out examples."""
    params, rng = setting.params, np.random.default_rng(setting.params.seed + 2)
    encoder = _encoder(setting.model)
    if encoder is not None and gate is None:
        gate = _gate(setting, encoder, learn, rng)
    encoder = encoder if gate is not None else None
    found: list[list[_Held]] = [[], []]
    scenes = -(-params.tiles // PER_SCENE)
    for k in range(2 * scenes):
        clean = k < scenes
        harm = None if clean else _harm(FAMILIES[k % len(FAMILIES)], float(rng.uniform(0.05, 1)), rng)
        scene = _scene(setting, held, setting.model, rng, harm)
        found[not clean].append(_measured(setting, judge, scene, encoder, gate, rng))
        yield Progress(k + 1, 2 * scenes, CALIBRATING)
    clean_tiles, harmed = (_joined(part) for part in found)
    usual = float(np.median(clean_tiles.score))
    limit = LEAST_DICE if setting.kind == "masks" else MOST_VI * usual
    bads = [t.score < limit if setting.kind == "masks" else t.score > limit for t in (clean_tiles, harmed)]
    good = ~bads[0]
    by_pair = Calibration.fit(PAIR_NAMES, clean_tiles.pair[good], harmed.pair, bads[1], params.false_alarm)
    combined = None
    if clean_tiles.halves is not None and harmed.halves is not None:
        all_clean = np.hstack([clean_tiles.pair, clean_tiles.halves])
        all_harmed = np.hstack([harmed.pair, harmed.halves])
        names = [*PAIR_NAMES, *HALF_NAMES]
        combined = Calibration.fit(names, all_clean[good], all_harmed, bads[1], params.false_alarm)
    metrics = _metrics([clean_tiles, harmed], bads, by_pair, combined)
    return Guard(
        judge,
        setting.model.card,
        setting.output,
        setting.kind,
        usual,
        by_pair,
        combined,
        gate,
        setting.segment,
        metrics,
        setting.model,
    )


def _measured(
    setting: Setting, judge: Predictor, scene: Scene, encoder: TorchEncoder | None, gate: Gate | None, rng: Any
) -> _Held:
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
    return _Held(of_pair(error, quality)[known], None if halves is None else halves[known], score, predicted)


def _joined(parts: Sequence[_Held]) -> _Held:
    halves = [p.halves for p in parts if p.halves is not None]
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in ("pair", "score", "predicted")}
    return _Held(halves=np.concatenate(halves) if halves else None, **joined)


def _metrics(
    tiles: Sequence[_Held], bads: Sequence[np.ndarray], by_pair: Calibration, combined: Calibration | None
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
        pairs = np.concatenate([t.pair for t in tiles])
        each = {"pair": by_pair.score(pairs)}
        if combined is not None:
            halves = np.concatenate([t.halves for t in tiles if t.halves is not None])
            each |= {
                "input": halves[:, 0],
                "output": halves[:, 1],
                "combined": combined.score(np.hstack([pairs, halves])),
            }
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
        scene = _scene(setting, sources, setting.model, rng)
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

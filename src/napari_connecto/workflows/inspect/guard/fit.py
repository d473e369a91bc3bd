"""Fit a guard to a model from labelled examples: answers on degraded inputs, planted faults, a judge, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from napari_connecto.core.errors import InputError, ModelError
from napari_connecto.core.jobs import Job, named, run
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.models.files import new_model
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inspect.pair import PairLoss, judge_card
from napari_connecto.models.training.fit import FitParams, fit
from napari_connecto.workflows.inspect.guard.calibrate import CALIBRATING, calibrated_job
from napari_connecto.workflows.inspect.guard.guard import Guard
from napari_connecto.workflows.inspect.guard.lessons import ANSWERS, TRUTHS, pairs_job, samples_of, scenes_job
from napari_connecto.workflows.inspect.guard.params import GuardParams
from napari_connecto.workflows.inspect.guard.scenes import HALO, INNER, Pair, Source
from napari_connecto.workflows.inspect.guard.tiles import Setting
from napari_connecto.workflows.segment.params import SegmentParams

TRAINING = "training"


def fit_guard(
    model: Predictor,
    examples: Sequence[Any],
    params: GuardParams | None = None,
    *,
    held_out: Sequence[Any] = (),
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
        Examples for calibration, best of data that the model was not trained on. Default: all examples, each part
        judged by a network that learnt from the other parts. If the model answers its examples better than new data,
        new data are flagged more often than stated.
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
    return run(fit_guard_job(model, examples, params, held_out=held_out, segment=segment, others=others, output=output))


def fit_guard_job(
    model: Predictor,
    examples: Sequence[Any],
    params: GuardParams | None = None,
    *,
    held_out: Sequence[Any] = (),
    segment: SegmentParams | None = None,
    others: Sequence[Predictor] = (),
    output: str = "",
) -> Job[Guard]:
    """`fit_guard` as a job."""
    params = params or GuardParams()
    setting = Setting.of(model, params, segment or SegmentParams(), output, others)
    parts, held = _parts(examples, held_out, setting)
    names = [] if held else [f"without part {k + 1} of {len(parts)}" for k in range(len(parts))]
    phases = Phases(
        {
            ANSWERS: params.scenes * 0.25,
            TRUTHS: params.pairs * 0.03,
            **{f"{name}: {TRAINING}": params.steps * 0.3 for name in names},
            TRAINING: params.steps * 0.3,
            CALIBRATING: params.tiles,
        }
    )
    scenes = yield from phases.run(ANSWERS, scenes_job(setting, parts))
    pairs = yield from phases.run(TRUTHS, pairs_job(setting, scenes))
    if all(np.isnan(one.judged.score) for one in pairs):
        raise InputError(
            "the examples show no object in any tile; check the labels and label_kind, which says what 0 is"
        )
    # scenes take the parts in turn, and pairs the scenes
    judges = []
    for k, name in enumerate(names):
        rest = [one for i, one in enumerate(pairs) if i % len(scenes) % len(parts) != k]
        training = named(name, _judge_job(setting, rest))
        judges.append((yield from phases.run(f"{name}: {TRAINING}", training)))
    judge = yield from phases.run(TRAINING, _judge_job(setting, pairs))
    calibrating = calibrated_job(setting, judge, judges, parts, held)
    return (yield from phases.run(CALIBRATING, calibrating))


def _judge_job(setting: Setting, pairs: Sequence[Pair]) -> Job[Predictor]:
    """Train a judge on these pairs."""
    params, model = setting.params, setting.model
    start = new_model(judge_card(model.card, INNER, HALO, params.width), params.seed, device=str(_device(model)))
    samples, settings = partial(samples_of, pairs, setting), FitParams(steps=params.steps, seed=params.seed)
    judge: Predictor = yield from fit(start, samples, settings, objective=PairLoss())
    return judge


def _parts(
    examples: Sequence[Any], held_out: Sequence[Any], setting: Setting
) -> tuple[list[list[Source]], list[Source]]:
    """Parts of the examples, and what is held out: all in one part if held-out examples are given."""
    if not examples:
        raise InputError("got no example; a guard needs labelled images: give at least one pair (image, labels)")
    kind: Any = setting.params.label_kind
    sources, held = ([Source.of(e, setting.model.card, kind) for e in part] for part in (examples, held_out))
    n = setting.params.folds
    if held:
        return [sources], held
    if len(sources) >= n:
        return [list(part) for part in np.array_split(np.array(sources, object), n)], []
    cut = [source.parts(n) for source in sources]
    return [[parts[k] for parts in cut if k < len(parts)] for k in range(max(map(len, cut)))], []


def _device(model: Predictor) -> Any:
    try:
        return torch_model(model).device
    except ModelError:
        return "auto"

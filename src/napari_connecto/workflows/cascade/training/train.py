"""Train a cascade from labels on part of a volume: one detector per level, measured on held-out blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.errors import Cancelled, InputError, ModelError, VoxelSizeError
from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import ModelCard, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import check_channels
from napari_connecto.core.volume import PIXEL, UNIT, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.coarser import with_coarser, with_levels_at
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.baseline import COMPARING, baseline_job
from napari_connecto.workflows.cascade.thresholds.calibrate import COARSE, calibrate_job, measured_job
from napari_connecto.workflows.cascade.thresholds.untrained import COMPARING as UNTRAINED
from napari_connecto.workflows.cascade.thresholds.untrained import doubtful, untrained_job
from napari_connecto.workflows.cascade.training.design import design, with_working_level
from napari_connecto.workflows.cascade.training.distil.distil import distil_job
from napari_connecto.workflows.cascade.training.examples import Examples, from_labels, split_region
from napari_connecto.workflows.cascade.training.labelled_region import check_place
from napari_connecto.workflows.cascade.training.least_size import least_voxels
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.training.stage import BUDGETS, LOOK, train_stage_job
from napari_connecto.workflows.cascade.training.unlabelled import Unlabelled
from napari_connecto.workflows.ood.check import CALLS, FITTING, SOURCE_TILES, source_gate_job
from napari_connecto.workflows.ood.gate import Gate


def train_cascade(
    volume: Volume,
    labels: Volume | Examples | None = None,
    params: TrainParams | None = None,
    *,
    detector: Predictor | None = None,
    review: Places | None = None,
    previous: Cascade | None = None,
    reviewed: Sequence[Box] = (),
) -> Cascade:
    """Train one detector per level and measure them on held-out blocks, or gates around a detector that exists.

    Parameters
    ----------
    volume
        Image; only its labelled part is read. Missing coarse levels are averaged. Without a voxel size all lengths are
        in pixels, and the cascade works on images without a voxel size only.
    labels
        Mask or instances (0 is background) on any grid in the same world, covering all or part of the volume; or
        `Examples` made from points. With a detector they are measured and not learnt from, and may be left out.
    params
        Steps, network width and more, see `TrainParams`.
    detector
        The finest stage, e.g. from `napari_connecto.detector`; its first output is the probability of the object. It is
        run on a sample of places (``params.calls``), spread over the volume first and then where it probably finds
        something; what it finds there is what the coarse stages learn, and recall is relative to it.
    review
        Verdicts on places, see `from_labels`: which labels are objects, and where there is none.
    previous
        A cascade that is measured on the same held-out objects, see ``metadata["previous"]``. If only some objects are
        labelled, training starts from its networks.
    reviewed
        Boxes in voxels of the labels, inside which every object is labelled. Outside them, labelled objects are
        examples and everything else is unknown: it counts neither in training nor in what is measured.

    Returns
    -------
    Cascade
        ``stages`` (models, finest first) and ``calibration`` (what was measured); `Cascade.choose` turns that into
        thresholds.

    Raises
    ------
    InputError
        If there are neither labels nor a detector, nothing is labelled, the labels lie elsewhere, or too few objects
        are labelled, or found by the detector, to measure anything.

    Examples
    --------
    >>> cells = nc.phantom("cells", (32, 96, 96), seed=1)
    >>> cascade = nc.train_cascade(cells.image, cells.truth["cells"], nc.TrainParams(steps=10, width=2))
    >>> len(cascade.stages) == len(cascade.calibration.cost_s)
    True
    >>> cascade.save("cells")
    """
    return run(
        train_cascade_job(
            volume, labels, params, detector=detector, review=review, previous=previous, reviewed=reviewed
        )
    )


def train_cascade_job(
    volume: Volume,
    labels: Volume | Examples | None = None,
    params: TrainParams | None = None,
    *,
    detector: Predictor | None = None,
    review: Places | None = None,
    previous: Cascade | None = None,
    reviewed: Sequence[Box] = (),
    stop: Callable[[], bool] | None = None,
) -> Job[Cascade]:
    """`train_cascade` as a job.

    Parameters
    ----------
    volume, labels, params, detector, review, previous, reviewed
        As in `train_cascade`.
    stop
        Asked before every step of training. Once true, the best state so far is kept and measured; levels that were not
        begun are left out, see ``metadata["stopped"]``.

    Raises
    ------
    Cancelled
        If it is stopped before the first step.
    """
    params = params or TrainParams()
    if labels is None and detector is None:
        raise InputError("training a cascade needs labels, points or a detector; give one of them")
    if isinstance(labels, Volume):
        check_place(volume, labels)
    elif reviewed:
        raise InputError("reviewed boxes go with labels; give those of points to from_places")
    volume = with_coarser(volume.in_pixels())
    examples = _examples(labels, params, review, reviewed) if isinstance(labels, Volume) else labels
    if detector is not None:
        if previous is not None:
            raise InputError("a detector is not trained, so there is no previous cascade to continue from; omit it")
        return (yield from _around_job(volume, examples, params, detector, stop))
    assert examples is not None
    if previous is not None:
        volume = with_levels_at(volume, [card.voxel_nm for card in previous.cards])
    begun = _begun(volume, examples, params, previous)
    if not begun:
        volume = with_working_level(volume, examples, params)
    cards = tuple(stage.card for stage in begun) or design(volume, examples, params)
    train_box, measure_box = blocks(examples, cards[0], params)
    stages: list[Predictor] = []
    stopped, phases = None, Phases(_work(examples, params, cards, measure_box, previous))
    for k, card in enumerate(cards):
        seeded = replace(params, seed=params.seed + k)
        start = begun[k] if begun else None
        training = train_stage_job(volume, examples, (train_box, measure_box), card, seeded, k, len(cards), stop, start)
        stage, steps, planned = yield from phases.run(f"training level {k}", training)
        if steps == 0 and not stages:
            raise Cancelled("stopped before the first step of training; nothing was kept")
        stages += [stage] if steps else []
        asked = stop is not None and stop()
        if steps < planned or (asked and card is not cards[-1]):
            stopped = {"level": k, "steps": steps, "of": planned, "levels": len(cards)}
            break
    least = least_voxels(examples, train_box, volume.level_at(cards[0].voxel_nm))
    threshold = previous.rule.threshold if previous is not None and begun else 0.5
    split = examples.width_nm if params.head == "masks" else 0.0
    rule = ObjectRule(params.head, threshold, examples.diameter_nm, least, examples.flat, split)  # type: ignore[arg-type]
    measuring = calibrate_job(volume, examples, measure_box, tuple(stages), rule, prefer=bool(begun))
    calibration, rule = yield from phases.run("measuring", measuring)
    metadata: dict[str, Any] = {"params": asdict(params), "volume": volume.name, "version": __version__}
    if volume.metadata.get(UNIT) == PIXEL:
        metadata[UNIT] = PIXEL
    if examples.told:
        metadata["unlabelled"] = examples.told
    if stopped is not None:
        metadata["stopped"] = stopped
    plain = baseline_job(volume, examples, (train_box, measure_box), cards[0], replace(rule, split_nm=split))
    baseline = yield from phases.run(COMPARING, plain)
    if baseline is not None:
        metadata["baseline"] = baseline.to_json()
    if doubtful(examples, calibration.held_out):
        untrained = untrained_job(volume, examples, (train_box, measure_box), cards[0], rule)
        blobs = yield from phases.run(UNTRAINED, untrained)
        if blobs is not None:
            metadata["blobs"] = blobs.to_json()
    if previous is not None:
        comparing = _measured_job(volume, examples, measure_box, previous)
        metadata["previous"] = yield from phases.run("measuring the previous cascade", comparing)
    gate = yield from phases.run(FITTING, cascade_gate_job(volume, examples, stages[0], params.seed))
    return Cascade(params.name, tuple(stages), rule, calibration, metadata, gate)


def _around_job(
    volume: Volume,
    examples: Examples | None,
    params: TrainParams,
    detector: Predictor,
    stop: Callable[[], bool] | None,
) -> Job[Cascade]:
    """Gates around a detector, and what it finds of the labels, where there are some."""
    labelling = "measuring on the labels"
    phases = Phases({"": 10.0, labelling: float(examples is not None)})
    cascade = yield from phases.run("", distil_job(volume, detector, params, stop))
    if examples is None:
        return cascade
    placed = with_levels_at(volume, [detector.card.voxel_nm])
    measuring = measured_job(placed, examples, examples.target.box, detector, cascade.rule)
    held_out, curve = yield from phases.run(labelling, measuring)
    metadata = {**cascade.metadata, "labels": held_out.to_json()}
    return replace(cascade, metadata=metadata, calibration=replace(cascade.calibration, score_curve=curve))


def _work(
    examples: Examples, params: TrainParams, cards: Sequence[ModelCard], measured: Box, previous: Cascade | None
) -> dict[str, float]:
    """Calls of the finest network in each phase, a training step counted three times; for progress only."""
    training = 3 * (params.steps or BUDGETS[params.budget].steps) * params.batch + LOOK
    nm = np.array(measured.shape) * examples.target.voxel_nm
    chunks = float(np.prod(np.ceil(nm / (np.array(cards[0].tile) * cards[0].voxel_nm))))
    return {
        **{f"training level {k}": training * (1.0 if k == 0 else COARSE) for k in range(len(cards))},
        "measuring": chunks,
        COMPARING: chunks / 4,
        UNTRAINED: chunks / 8,
        "measuring the previous cascade": chunks * (previous is not None),
        FITTING: float(SOURCE_TILES * CALLS),
    }


def blocks(examples: Examples, finest: ModelCard, params: TrainParams) -> tuple[Box, Box]:
    """Voxels of the labels for training, and for measuring, a halo apart."""
    gap_nm = [t * v for t, v in zip(finest.halo, finest.voxel_nm, strict=True)]
    return split_region(examples, params.validation, gap_nm)


def _examples(labels: Volume, params: TrainParams, review: Places | None, reviewed: Sequence[Box]) -> Examples:
    sparse = params.sparse(reviewed=review is not None)
    choice = "unknown" if sparse else params.unlabelled
    unlabelled = Unlabelled(choice, tuple(reviewed), params.background_label, params.object_label)
    diameter_nm = params.diameter_nm or None
    return from_labels(labels, params.head, diameter_nm, sparse=sparse, review=review, unlabelled=unlabelled)  # type: ignore[arg-type]


def _begun(
    volume: Volume, examples: Examples, params: TrainParams, previous: Cascade | None
) -> tuple[TorchPredictor, ...]:
    """The previous cascade's networks, if sparse labels are to change them and they fit; else none."""
    if previous is None or examples.known is None or (previous.rule.head != params.head):
        return ()
    try:
        for card in previous.cards:
            level = volume.level_at(card.voxel_nm)
            check_channels(level, card)
            if examples.region(level).size == 0:
                return ()
        return tuple(torch_model(stage) for stage in previous.stages)
    except (VoxelSizeError, InputError, ModelError):
        return ()


def _measured_job(volume: Volume, examples: Examples, measured: Box, previous: Cascade) -> Job[dict[str, Any]]:
    """Recall of another cascade on the held-out objects; JSON."""
    told = {"name": previous.name}
    try:
        held_out, _ = yield from measured_job(volume, examples, measured, previous.stages[0], previous.rule)
    except (VoxelSizeError, InputError) as error:
        return {**told, "error": str(error)}
    return {**told, "held_out": held_out.to_json()}


def cascade_gate_job(volume: Volume, examples: Examples, finest: Predictor, seed: int = 0) -> Job[Gate | None]:
    """Fit the `Gate` of a cascade's finest stage to tiles of the labelled part, half of which contain objects.

    None if that part holds too little tissue.
    """
    level = volume.level_at(finest.card.voxel_nm)
    scaling, places = finest.card.normalisation.resolve(volume), level.to_voxels(examples.centres_nm)
    try:
        return (
            yield from source_gate_job(level, scaling, finest, within=examples.region(level), around=places, seed=seed)
        )
    except InputError:
        return None

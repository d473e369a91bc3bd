"""Train a cascade from labels on part of a volume: one detector per level, measured on held-out blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from napari_connecto import __version__
from napari_connecto.core.errors import Cancelled, InputError, ModelError, VoxelSizeError
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, run
from napari_connecto.core.model import ModelCard, Normalisation, Output, Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.predict import check_channels
from napari_connecto.core.volume import PIXEL, UNIT, Level, Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.workflows.cascade.cascade import Cascade
from napari_connecto.workflows.cascade.params import TrainParams
from napari_connecto.workflows.cascade.search.coarser import with_coarser, with_levels_at
from napari_connecto.workflows.cascade.search.rule import ObjectRule
from napari_connecto.workflows.cascade.thresholds.calibrate import COARSE, calibrate_job, measured_job
from napari_connecto.workflows.cascade.training.examples import Examples, from_labels, split_region
from napari_connecto.workflows.cascade.training.labelled_region import check_place
from napari_connecto.workflows.cascade.training.least_size import least_voxels
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.training.stage import BUDGETS, LOOK, train_stage_job
from napari_connecto.workflows.ood.check import CALLS, FITTING, SOURCE_TILES, source_gate_job
from napari_connecto.workflows.ood.gate import Gate

ACROSS = 12.0
"""Voxels across an object's thickness on the finest level that is used. With 8 to 17, as powers of two come to, the
networks' view of 23 and more voxels covers an object and its surroundings."""


def train_cascade(
    volume: Volume,
    labels: Volume | Examples,
    params: TrainParams | None = None,
    *,
    review: Places | None = None,
    previous: Cascade | None = None,
) -> Cascade:
    """Train one detector per level and measure them on held-out blocks.

    Parameters
    ----------
    volume
        Image; only its labelled part is read. Missing coarse levels are averaged. Without a voxel size all lengths are
        in pixels, and the cascade works on images without a voxel size only.
    labels
        Mask or instances (0 is background) on any grid in the same world, covering all or part of the volume; or
        `Examples` made from points.
    params
        Steps, network width and more, see `TrainParams`.
    review
        Verdicts on places, see `from_labels`: which labels are objects, and where there is none.
    previous
        A cascade that is measured on the same held-out objects, see ``metadata["previous"]``. If only some objects are
        labelled, training starts from its networks.

    Returns
    -------
    Cascade
        ``stages`` (models, finest first) and ``calibration`` (what was measured); `Cascade.choose` turns that into
        thresholds.

    Raises
    ------
    InputError
        If nothing is labelled, the labels lie elsewhere, or too few objects are labelled to measure anything.

    Examples
    --------
    >>> cells = nc.phantom("cells", (32, 96, 96), seed=1)
    >>> cascade = nc.train_cascade(cells.image, cells.truth["cells"], nc.TrainParams(steps=10, width=2))
    >>> len(cascade.stages) == len(cascade.calibration.cost_s)
    True
    >>> cascade.save("cells")
    """
    return run(train_cascade_job(volume, labels, params, review=review, previous=previous))


def train_cascade_job(
    volume: Volume,
    labels: Volume | Examples,
    params: TrainParams | None = None,
    *,
    review: Places | None = None,
    previous: Cascade | None = None,
    stop: Callable[[], bool] | None = None,
) -> Job[Cascade]:
    """`train_cascade` as a job.

    Parameters
    ----------
    volume, labels, params, review, previous
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
    if isinstance(labels, Volume):
        check_place(volume, labels)
    volume = with_coarser(volume.in_pixels())
    examples = labels if isinstance(labels, Examples) else _examples(labels, params, review)
    begun = _begun(volume, examples, params, previous)
    if not begun:
        volume = with_working_level(volume, examples)
    cards = tuple(stage.card for stage in begun) or design(volume, examples, params)
    train_box, measure_box = blocks(examples, cards[0], params)
    stages: list[Predictor] = []
    stopped, phases = None, Phases(_work(examples, params, cards, measure_box, previous))
    for k, card in enumerate(cards):
        seeded = replace(params, seed=params.seed + k)
        start = begun[k] if begun else None
        training = train_stage_job(volume, examples, (train_box, measure_box), card, seeded, k, stop, start)
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
    if stopped is not None:
        metadata["stopped"] = stopped
    if previous is not None:
        comparing = _measured_job(volume, examples, measure_box, previous)
        metadata["previous"] = yield from phases.run("measuring the previous cascade", comparing)
    gate = yield from phases.run(FITTING, cascade_gate_job(volume, examples, stages[0], params.seed))
    return Cascade(params.name, tuple(stages), rule, calibration, metadata, gate)


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
        "measuring the previous cascade": chunks * (previous is not None),
        FITTING: float(SOURCE_TILES * CALLS),
    }


def blocks(examples: Examples, finest: ModelCard, params: TrainParams) -> tuple[Box, Box]:
    """Voxels of the labels for training, and for measuring, a halo apart."""
    gap_nm = [t * v for t, v in zip(finest.halo, finest.voxel_nm, strict=True)]
    return split_region(examples, params.validation, gap_nm)


def _examples(labels: Volume, params: TrainParams, review: Places | None) -> Examples:
    sparse = params.sparse(reviewed=review is not None)
    return from_labels(labels, params.head, params.diameter_nm or None, sparse=sparse, review=review)  # type: ignore[arg-type]


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


def design(volume: Volume, examples: Examples, params: TrainParams) -> tuple[ModelCard, ...]:
    """A card per level: a dense network where objects are about `ACROSS` voxels thick, cheap strided scorers above it.

    All have one chunk shape. Levels that are finer than that are not used: a network of few layers sees no more of an
    object there, and reads many times as much.
    """
    dims = _dims(volume.levels[0], params)
    usable = [level for level in volume.levels if examples.region(level).size > 0]
    if not usable:
        examples.on(volume.levels[0])
    finest = min(range(len(usable)), key=lambda k: abs(np.log2(_across(usable[k], examples) / ACROSS)))
    usable = usable[finest:][: params.levels or 4]
    levels = [usable[0], *(level for level in usable[1:] if _shows(level, examples))]
    tile = params.tile or _tile(levels, dims)
    return tuple(_card(level, k, tile, dims, params) for k, level in enumerate(levels))


def with_working_level(volume: Volume, examples: Examples) -> Volume:
    """The volume with a level on which objects are about `ACROSS` voxels thick, where its own levels skip that."""
    finest = volume.levels[0]
    factor = 2 ** max(0, round(np.log2(_across(finest, examples) / ACROSS)))
    z, y, x = (float(v) for v in finest.voxel_nm)
    return with_levels_at(volume, [(max(z, min(z, y) * factor), y * factor, x * factor)])


def _across(level: Level, examples: Examples) -> float:
    """Voxels of a level across a typical object's thickness, in the plane."""
    return max(1e-6, (examples.width_nm or examples.diameter_nm) / max(level.voxel_nm[1:]))


def _dims(level: Level, params: TrainParams) -> str:
    if params.dims != "auto":
        return params.dims
    if level.shape[0] < 4:
        return "2d"
    return "2.5d" if level.voxel_nm[0] > 3 * level.voxel_nm[1] else "3d"


def _tile(levels: Sequence[Level], dims: str) -> Vec3:
    """64 x 64 in plane, less if the coarsest level would have only a few chunks; in 3-D about half as deep."""
    if dims != "3d":
        return (1, 64, 64) if min(levels[0].shape[1:]) >= 256 else (1, 32, 32)
    side = 64 if min(levels[-1].shape[1:]) >= 256 else 32
    depth = side * levels[0].voxel_nm[1] / levels[0].voxel_nm[0]
    return (int(2 ** np.clip(round(np.log2(depth)), 3, 6)), side, side)


def _shows(level: Level, examples: Examples) -> bool:
    """Whether an object covers more than 1.5 voxels in plane at this level."""
    return examples.diameter_nm > 1.5 * level.voxel_nm[1]


def _card(level: Level, k: int, tile: Vec3, dims: str, params: TrainParams) -> ModelCard:
    flat = dims != "3d"
    halo_z = {"2d": 0, "2.5d": 1, "3d": 4}[dims]
    halo = (halo_z, 16, 16) if k == 0 and flat else (halo_z, 8, 8)
    network, stride = _scorer(level, flat, params) if k else (_dense(level, flat, params), (1, 1, 1))
    output = Output("object" if k else "foreground", stride, (halo_z if flat else 0, 0, 0))
    return ModelCard(
        name=f"{params.name}-{k}",
        task="detect",
        voxel_nm=level.voxel_nm,
        tile=tile,
        halo=halo,
        outputs=(output,),
        channels=level.channels or 1,
        normalisation=Normalisation("percentile", 1.0, 99.5),
        network=network,
    )


def _dense(level: Level, flat: bool, params: TrainParams) -> dict[str, Any]:
    """The finest level's network: a probability per voxel."""
    if params.encoder != "small":
        if not flat:
            raise InputError(f"got encoder '{params.encoder}' with 3-D; encoders are 2-D: choose dims 2d or 2.5d")
        return {"kind": "smp", "encoder": params.encoder, "depth": 3}
    return {
        "kind": "unet",
        "dims": 2 if flat else 3,
        "width": params.width,
        "depth": 3,
        "strides": [[1, 2, 2], [1 if flat or _thick(level) else 2, 2, 2]],
    }


def _scorer(level: Level, flat: bool, params: TrainParams) -> tuple[dict[str, Any], Vec3]:
    """A coarse level's network: a score per cell of 4 x 4 voxels in the plane."""
    stride = (1 if flat else 2 if _thick(level) else 4, 4, 4)
    return {"kind": "scorer", "dims": 2 if flat else 3, "width": params.width, "stride": list(stride)}, stride


def _thick(level: Level) -> bool:
    return level.voxel_nm[0] > 1.5 * level.voxel_nm[1]

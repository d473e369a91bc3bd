"""The out-of-distribution (OOD) check: compare tissue tiles of a volume with what a model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_connecto.compute.cache import cached
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import Box, Vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import Predictor, Scaling
from napari_connecto.core.scalings import Scalings
from napari_connecto.core.shown import shown
from napari_connecto.core.views.holes import holed
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.ood.gate import Gate, check_fits, statistics
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.ood.tiles import (
    PLACES,
    affordable,
    holding,
    own_shape,
    read_tiles,
    slabs,
    surroundings,
    tile_shape,
)
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.shared.region import region_in

TILES, SOURCE_TILES = 32, 240
"""Tissue tiles that are checked, and that a `Gate` is fitted to."""
STAGE, FITTING = "comparing with the training data", "fitting the out-of-distribution check"
CALLS = 4
"""Cost of checking one tile, in calls of the model on a full tile: 2 to 12 on the samples. Used for progress only."""
BEFORE_BYTES, RUN_BYTES = 96_000_000, 2**30
"""Bytes decoded at most by a check in a dock before a run, and by one that is part of a run."""


@shown
@dataclass(frozen=True)
class OodCheck:
    """Result of an out-of-distribution check of one volume for one model.

    Parameters
    ----------
    name
        Name of the model.
    judgement
        None if no tile was judged; ``reason`` says why.
    gate
        The `Gate` that was used.
    answer
        The user's answer to a warning ("run anyway"); "" if there was no question.
    empty
        No sampled patch is tissue: all are constant or noise.
    """

    name: str
    judgement: Judgement | None = None
    reason: str = ""
    gate: Gate | None = None
    answer: str = ""
    empty: bool = False

    @property
    def warns(self) -> bool:
        """Whether to warn the user and ask before a run."""
        return self.empty or (self.judgement is not None and self.judgement.warns)

    @property
    def sentence(self) -> str:
        """The result in words, for the user."""
        if self.empty:
            return (
                f"No tissue found: {self.reason}. Check the image and its voxel size before relying on '{self.name}'."
            )
        if self.judgement is None:
            return f"Out-of-distribution check for '{self.name}' skipped: {self.reason}."
        return self.judgement.lines(self.name)[0]

    def to_json(self) -> dict[str, Any]:
        """For reports and provenance."""
        told: dict[str, Any] = {"checked": self.judgement is not None or self.empty, "sentence": self.sentence}
        if self.empty:
            told |= {"warns": True}
        if self.judgement is not None:
            told |= self.judgement.to_json()
        if self.gate is not None:
            told |= {"stated": self.gate.false_alarm, "measured": self.gate.measured}
            told["interval"] = list(self.gate.interval)
        return told | ({"answer": self.answer} if self.answer else {})


def gate_check(volume: Volume, model: Predictor, gate: Gate | None, *, region: Box | None = None) -> OodCheck:
    """Out-of-distribution check: compare tissue tiles of a volume with the data a model was trained on.

    Parameters
    ----------
    volume
        Image that the model is about to be run on.
    model, gate
        A model and its `Gate`. Without a gate the check is skipped.
    region
        Part to sample, in voxels of the finest level. Default: all of it.

    Returns
    -------
    OodCheck
        ``warns``, ``sentence`` (the result in words) and ``judgement`` (tiles, p-value). A check never stops a run.

    Raises
    ------
    VoxelSizeError
        If the volume does not fit the model.
    ModelError
        If the gate was fitted for another model.

    Examples
    --------
    >>> volume = nc.open_sample("neuropil")
    >>> folder = nc.list_models()["synthetic-neuropil"]
    >>> check = nc.gate_check(volume, nc.load_model(folder, device="cpu"), nc.load_gate(folder))
    >>> check.warns
    False
    """
    return run(gate_check_job(volume, model, gate, region=region))


def gate_check_job(
    volume: Volume,
    model: Predictor,
    gate: Gate | OodCheck | None,
    *,
    region: Box | None = None,
    level: Level | None = None,
    name: str = "",
    tiles: int = TILES,
    seed: int = 0,
    damaged: bool = False,
    scalings: Scalings | None = None,
    most_bytes: int = RUN_BYTES,
) -> Job[OodCheck]:
    """`gate_check` as a job.

    Parameters
    ----------
    volume, model, gate, region
        As in `gate_check`; an `OodCheck` in place of the gate is returned as it is.
    level
        Level that the model will read. Default: the one `predict` would choose.
    name
        Name of the model in messages. Default: the card's.
    tiles, seed
        Largest number of tiles, and the random seed of their positions.
    damaged
        Leave out tiles that cannot be read.
    scalings
        Of the volume, if they are known.
    most_bytes
        Approximate limit of the bytes to decode; may reduce the number of tiles.
    """
    if isinstance(gate, OodCheck):
        return gate
    name = name or model.card.name
    if gate is None:
        return OodCheck(name, reason="not fitted for this model")
    check_fits(gate, model)
    level = level or fitting_level(volume, model.card)
    scaling = (scalings or Scalings(volume, damaged=damaged)).of(model.card)
    encoder = TorchEncoder(model)
    level = holed(level) if damaged else level
    found: list[tuple[np.ndarray, np.ndarray]] = []
    yield Progress(0, tiles, STAGE)
    try:
        own = own_shape(model.card, gate.shape)
        within = surroundings(region_in(region, volume, level) or level.box, own, level.box)
        level = cached(level, most_bytes)  # a patch is read for its texture, and again with its surroundings
        drawn = candidates(level, own, tiles, seed, within=within, most_bytes=most_bytes // 2)
        if not drawn.boxes and (drawn.exhausted or drawn.skipped_empty >= PLACES):
            seen = f"{drawn.skipped_empty} patches are constant or noise"
            return OodCheck(name, reason=seen, gate=gate, empty=True)
        few = affordable(level, gate.shape, drawn.boxes, most_bytes)
        if len(few) < min(PLACES, tiles) and not (drawn.exhausted and len(few) == len(drawn.boxes)):
            return OodCheck(name, reason="the stored chunks are too large to sample")
        for _, tile in read_tiles(level, scaling, gate.shape, few):
            found.append(statistics(encoder, tile[None]))
            yield Progress(len(found), tiles, STAGE)
    except ChunkError as error:
        return OodCheck(name, reason=str(error))
    if not found:
        return OodCheck(name, reason="the sampled patches contain NaN")
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return OodCheck(name, gate.judge(vectors, unsure), gate=gate)


def source_gate_job(
    level: Level,
    scaling: Scaling,
    model: Predictor,
    *,
    within: Box | None = None,
    around: np.ndarray | None = None,
    tiles: int = SOURCE_TILES,
    false_alarm: float = 0.05,
    seed: int = 0,
) -> Job[Gate]:
    """Fit a model's `Gate` to tissue tiles of the data it was trained on.

    Parameters
    ----------
    level, scaling, model
        The data as the model reads them.
    within
        Part used for training, in voxels of the level.
    around
        (m, 3) voxels: positions of the training objects. Half of the tiles contain one, because detectors are trained
        on many more objects than a random sample of tiles would hold.
    tiles
        Largest number of tiles.
    false_alarm, seed
        See `Gate.fit`; the blocks are `slabs`.

    Raises
    ------
    InputError
        If there is too little tissue for this rate.
    """
    encoder, shape = TorchEncoder(model), tile_shape(model.card)
    own, within = own_shape(model.card, shape), within or level.box
    held = [] if around is None else holding(around, own, within, tiles // 2, seed)
    drawn = [*held, *candidates(level, own, tiles - len(held), seed, within=within).boxes]
    starts: list[Vec3] = []
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for box, tile in read_tiles(level, scaling, shape, drawn):
        starts.append(box.start)
        found.append(statistics(encoder, tile[None]))
        yield Progress(len(found), tiles, FITTING)
    if not found:
        raise InputError("no tissue found to fit the out-of-distribution check to; choose another part of the volume")
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    space = model.card.digest
    return Gate.fit(vectors, unsure, groups=slabs(starts), false_alarm=false_alarm, seed=seed, shape=shape, space=space)

"""Is this volume like what a model was trained on? Tissue tiles of it against the model's gate. Ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from napari_connecto.compute.cache import cached, touched_bytes
from napari_connecto.core.errors import ChunkError, InputError
from napari_connecto.core.geometry import Box, Vec3, vec3
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.core.model import ModelCard, Predictor, Scaling
from napari_connecto.core.shown import shown
from napari_connecto.core.views.holes import holed
from napari_connecto.core.volume import Level, Volume
from napari_connecto.models.nets.nets import dimensions, divisor
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.ood.gate import FOLDS, Gate, check_fits, statistics
from napari_connecto.workflows.ood.judgement import Judgement
from napari_connecto.workflows.shared.fitting import fitting_level
from napari_connecto.workflows.shared.patches import candidates
from napari_connecto.workflows.shared.region import region_in

TILES, SOURCE_TILES = 32, 240
"""Tissue tiles that are judged, and that a gate is made from."""
STAGE = "comparing with the training data"
CALLS = 4
"""What one of these tiles takes in calls of its model on tiles of its own: 2 to 12 on the samples. It shares out the
bar, no more."""
SIDE, SIDE_3D = 96, 48
"""A tile of the gate is not larger along y and x (in 3-D any axis): enough to see texture, and more to learn from."""
PLACES = 3
"""Tiles across y and x that are the least to judge by."""
BEFORE_BYTES, RUN_BYTES = 96_000_000, 2**30
"""What is decoded at most for a check before a run, while the user looks on, and for one that is part of it."""
CHECK = "gate_check.json"
"""What a gate said, in the folder of a result."""
SLABS = 10
"""Blocks that a source is cut into."""


@shown
@dataclass(frozen=True)
class GateCheck:
    """What a gate said of a volume.

    Parameters
    ----------
    name
        Of the model.
    judgement
        None where nothing was judged; ``reason`` says why.
    gate
        That judged.
    answer
        What a user who was asked has said ("run anyway"); "" where nobody was asked.
    empty
        Nothing that was looked at is tissue: it is of one value, or noise.
    """

    name: str
    judgement: Judgement | None = None
    reason: str = ""
    gate: Gate | None = None
    answer: str = ""
    empty: bool = False

    @property
    def warns(self) -> bool:
        """Whether a user should be asked."""
        return self.empty or (self.judgement is not None and self.judgement.warns)

    @property
    def sentence(self) -> str:
        """In words a user reads."""
        if self.empty:
            return (
                f"No tissue was found: {self.reason}. Check the image and its voxel size before you trust "
                f"'{self.name}' on it."
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


def gate_check(volume: Volume, model: Predictor, gate: Gate | None, *, region: Box | None = None) -> GateCheck:
    """Compare a volume with what a model was trained on; blocks. See `gate_check_job`."""
    return run(gate_check_job(volume, model, gate, region=region))


def gate_check_job(
    volume: Volume,
    model: Predictor,
    gate: Gate | GateCheck | None,
    *,
    region: Box | None = None,
    level: Level | None = None,
    name: str = "",
    tiles: int = TILES,
    seed: int = 0,
    damaged: bool = False,
    most_bytes: int = RUN_BYTES,
) -> Job[GateCheck]:
    """Compare tissue tiles of a volume with what a model was trained on; asks, and never blocks.

    Parameters
    ----------
    volume
        Image that the model is about to be run on.
    model, gate
        The gate is this model's; None is said to be missing, and what was checked already is not checked again.
    region
        Where, in voxels of the finest level; everywhere without it.
    level
        That the model will read; found as `predict` does without it.
    name
        As users know the model; the card's without it.
    tiles, seed
        How many tiles are looked at most, and of their draw.
    damaged
        Leave out what cannot be read.
    most_bytes
        Decode no more than about this; fewer tiles may be looked at.

    Raises
    ------
    VoxelSizeError
        If the volume does not fit the model.
    ModelError
        If the gate is another model's.
    """
    if isinstance(gate, GateCheck):
        return gate
    name = name or model.card.name
    if gate is None:
        return GateCheck(name, reason="it has no gate")
    check_fits(gate, model)
    level = level or fitting_level(volume, model.card)
    scaling, encoder = model.card.normalisation.resolve(volume, damaged=damaged), TorchEncoder(model)
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
            return GateCheck(name, reason=seen, gate=gate, empty=True)
        few = _affordable(level, gate.shape, drawn.boxes, most_bytes)
        if len(few) < min(PLACES, tiles) and not (drawn.exhausted and len(few) == len(drawn.boxes)):
            return GateCheck(name, reason="the stored chunks are too large to sample")
        for _, tile in read_tiles(level, scaling, gate.shape, few):
            found.append(statistics(encoder, tile[None]))
            yield Progress(len(found), tiles, STAGE)
    except ChunkError as error:
        return GateCheck(name, reason=str(error))
    if not found:
        return GateCheck(name, reason="the sampled patches contain NaN")
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return GateCheck(name, gate.judge(vectors, unsure), gate=gate)


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
    """A model's gate, from tissue tiles of the data it was trained on.

    Parameters
    ----------
    level, scaling, model
        The data, as the model reads them.
    within
        Part that was learnt from, voxels of the level.
    around
        (m, 3) voxels: places of objects that were learnt from. Half of the tiles hold one of them, for detectors see
        objects far more often than chance would have it, and a cluster of objects is nothing unknown to them.
    tiles
        How many at most.
    false_alarm, seed
        See `Gate.fit`; the blocks are `slabs`.

    Raises
    ------
    InputError
        If there is too little tissue for this rate.
    """
    encoder, shape = TorchEncoder(model), gate_shape(model.card)
    own, within = own_shape(model.card, shape), within or level.box
    held = [] if around is None else holding(around, own, within, tiles // 2, seed)
    drawn = [*held, *candidates(level, own, tiles - len(held), seed, within=within).boxes]
    starts: list[Vec3] = []
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for box, tile in read_tiles(level, scaling, shape, drawn):
        starts.append(box.start)
        found.append(statistics(encoder, tile[None]))
        yield Progress(len(found), tiles, "gate")
    if not found:
        raise InputError("got no tissue to make a gate from; choose another part of the volume")
    vectors, unsure = (np.concatenate(parts) for parts in zip(*found, strict=True))
    space = model.card.digest
    return Gate.fit(vectors, unsure, groups=slabs(starts), false_alarm=false_alarm, seed=seed, shape=shape, space=space)


def gate_shape(card: ModelCard) -> Vec3:
    """Of the tiles of a model's gate: what the model reads, halo included, but not more than 96 x 96 or 48 x 48 x 48.

    In 3-D a tile owns 8 voxels at least beside the halo.
    """
    read = [t + 2 * h for t, h in zip(card.tile, card.halo, strict=True)]
    step = divisor(card.network)
    if dimensions(card.network) == 3:
        least = [max(SIDE_3D, 2 * h + 8) for h in card.halo]
        return vec3([min(r, max(s, n // s * s)) for r, s, n in zip(read, step, least, strict=True)])
    return vec3(
        [1 + 2 * card.halo[0], *(min(r, max(s, SIDE // s * s)) for r, s in zip(read[1:], step[1:], strict=True))]
    )


def own_shape(card: ModelCard, shape: Vec3) -> Vec3:
    """What of a gate's tile is drawn: in 3-D without the halo, in 2-D one section without its neighbours."""
    margin = card.halo if dimensions(card.network) == 3 else (card.halo[0], 0, 0)
    return vec3([max(1, s - 2 * m) for s, m in zip(shape, margin, strict=True)])


def surroundings(part: Box, tile: Vec3, bounds: Box) -> Box:
    """A part that holds fewer than `PLACES` tiles across y and x, widened to so many along each, as far as there are.

    Sections of one place are no sample: what is unusual there is so in each of them.
    """
    across = list(zip(part.shape[1:], tile[1:], strict=True))
    if prod(n // t for n, t in across) >= PLACES:
        return part
    return part.grow([0, *(max(0, -(-(PLACES * t - n) // 2)) for n, t in across)]).clip(bounds)


def holding(places: np.ndarray, shape: Vec3, within: Box, n: int, seed: int) -> list[Box]:
    """Boxes that hold up to ``n`` of the places (m, 3), each anywhere in its own; moved inside where there is room."""
    rng, size = np.random.default_rng(seed), np.array(shape)
    chosen = rng.permutation(np.asarray(places, float))[:n]
    start = np.floor(chosen - rng.uniform(0, 1, chosen.shape) * size).astype(int)
    low, high = np.array(within.start), np.array(within.stop) - size
    start = np.maximum(low, np.minimum(start, high))
    return [Box(vec3(a.tolist()), vec3((a + size).tolist())).clip(within) for a in start]


def read_tiles(level: Level, scaling: Scaling, shape: Vec3, drawn: Sequence[Box]) -> Iterator[tuple[Box, np.ndarray]]:
    """Tiles of a gate's shape around what was drawn.

    Yields
    ------
    box, tile
        What a tile reads, voxels of the level, and (c, z, y, x) float32, scaled; tiles with NaN are left out.
    """
    for part in drawn:
        box = _around(part, shape)
        block = level.read_padded(box)
        if block.dtype.kind != "f" or np.isfinite(block).all():
            yield box, scaling(block if block.ndim == 4 else block[None])


def _around(part: Box, shape: Vec3) -> Box:
    start = [a - (s - m) // 2 for a, s, m in zip(part.start, shape, part.shape, strict=True)]
    return Box(vec3(start), vec3([a + s for a, s in zip(start, shape, strict=True)]))


def _affordable(level: Level, shape: Vec3, drawn: Sequence[Box], most_bytes: int) -> list[Box]:
    """The first of what was drawn, as many as can be read by decoding so much."""
    few: list[Box] = []
    for part in drawn:
        if touched_bytes(level, [_around(p, shape) for p in (*few, part)]) > most_bytes:
            break
        few.append(part)
    return few


def slabs(starts: Sequence[Vec3]) -> np.ndarray:
    """Block (n,) of each tile: up to ten slabs, across z where tiles lie in 5 sections or more, as these may be images
    of 5 animals; else across the axis along which tiles lie at most different places."""
    places = [np.unique(column, return_inverse=True) for column in np.array(starts).T]
    distinct, rank = places[0] if len(places[0][0]) >= FOLDS else max(places, key=lambda place: len(place[0]))
    return rank * min(SLABS, len(distinct)) // len(distinct)

"""Adapt a model to a volume without labels: by AdaBN, by data playback, or by both in turn.

The original model stays unchanged, so undoing means using it again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level
from napari_connecto.core.geometry import vec3
from napari_connecto.core.jobs import Job
from napari_connecto.core.model import Predictor
from napari_connecto.core.phases import Phases
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Volume
from napari_connecto.models.inference.openvino import torch_model
from napari_connecto.models.inference.predictor import TorchPredictor
from napari_connecto.models.transfer.adabn import adabn
from napari_connecto.models.transfer.encoder import TorchEncoder
from napari_connecto.workflows.adapt.domains import Domain
from napari_connecto.workflows.adapt.params import BEFORE_LABEL, PrepareParams
from napari_connecto.workflows.adapt.playback import Playback, playback_job
from napari_connecto.workflows.shared.patches import candidates

BATCH = 8
"""Tiles per batch when AdaBN averages statistics."""
SHOWN = 8
"""Tiles on which the change of the output is measured."""


@shown
@dataclass(frozen=True)
class Prepared:
    """A model adapted to a volume.

    Parameters
    ----------
    model
        The new model; of equal digest if nothing could be done.
    playback
        None if not requested.
    tiles
        Number of tiles that AdaBN used; 0 without it.
    changed
        Share of voxels, on tiles of the volume, whose boundary probability is now on the other side of one half.
    """

    model: TorchPredictor
    playback: Playback | None
    tiles: int
    changed: float

    def figures(self) -> dict[str, Any]:
        """JSON."""
        found = {"tiles": self.tiles, "changed": self.changed, "digest": self.model.card.digest}
        return found | ({"playback": self.playback.figures()} if self.playback else {})

    def lines(self) -> list[str]:
        """What was done, in words."""
        told = []
        if self.playback:
            told.append(f"playback {'done' if self.playback.allowed else 'skipped'}: {self.playback.reason}")
        if self.tiles:
            told.append(f"AdaBN: batch-norm statistics recomputed on {self.tiles} unlabelled tiles")
        return [
            *told,
            f"{percent(self.changed, 1)} of voxels cross the boundary threshold; to undo, use the original model",
        ]


def prepare_job(
    model: Predictor,
    volume: Volume,
    how: str,
    source: Domain | Sequence[Any] | None = None,
    encoder: TorchEncoder | None = None,
    params: PrepareParams | None = None,
) -> Job[Prepared]:
    """Make a model used to a volume without any label of it.

    Parameters
    ----------
    model
        A native boundary model.
    volume
        With a voxel size.
    how
        "adabn", "playback", or "both": playback first, since AdaBN is about the volume itself.
    source, encoder
        For playback, see `playback_job`.
    params
        See `PrepareParams`.

    Raises
    ------
    InputError
        For another word, or playback without source and encoder; and what `playback_job` and `adabn` raise.
    """
    params, start = params or PrepareParams(), torch_model(model)
    if how not in BEFORE_LABEL[1:]:
        raise InputError(f"got how={how!r}; allowed: {', '.join(BEFORE_LABEL[1:])}")
    if how != "adabn" and (source is None or encoder is None):
        raise InputError("playback needs the source's patches and an encoder: give source= and encoder=")
    playback, now, tiles = None, start, 0
    phases = Phases({"playback": 10 * (how != "adabn"), "AdaBN": how != "playback", "measuring what changed": 1})
    if how != "adabn":
        played = playback_job(start, source, volume, encoder, params)  # type: ignore[arg-type]
        playback = yield from phases.run("playback", played)
        now = playback.model or start
    if how != "playback":
        batches = yield from phases.call("AdaBN", lambda: list(_batches(start, volume, params)))
        now, tiles = adabn(now, batches), sum(len(batch) for batch in batches)
    measuring = partial(_changed, start, now, volume, params)
    changed = 0.0 if now is start else (yield from phases.call("measuring what changed", measuring))
    return Prepared(now, playback, tiles, changed)


def _batches(model: Predictor, volume: Volume, params: PrepareParams) -> Iterator[np.ndarray]:
    """Tiles with tissue, halo included, scaled, `BATCH` at a time."""
    card, level = model.card, fitting_level(volume, model.card)
    scaling = card.normalisation.resolve(volume)
    shape = vec3([min(t, n) for t, n in zip(card.tile, level.shape, strict=True)])
    boxes = candidates(level, shape, params.patches, params.seed, ()).boxes
    if not boxes:
        raise InputError(f"found no tile of {shape} voxels with tissue in '{volume.name}'; choose a region with tissue")
    whole = [card.tile[i] - shape[i] for i in range(3)]
    for first in range(0, len(boxes), BATCH):
        reads = [box.grow(card.halo) for box in boxes[first : first + BATCH]]
        yield np.stack([np.pad(scaling(level.read_padded(r)), [(0, n) for n in whole], "reflect")[None] for r in reads])


def _changed(before: Predictor, after: Predictor, volume: Volume, params: PrepareParams) -> float:
    tiles = next(_batches(before, volume, params))[:SHOWN]
    name = before.card.outputs[0].name
    old, new = (model(tiles, [0] * len(tiles))[name] >= 0.5 for model in (before, after))
    return float((old != new).mean())

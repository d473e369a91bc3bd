"""How a volume is segmented: mode, directions, the level that is read, and the grid that labels are written on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_connecto.core.errors import InputError
from napari_connecto.core.fitting import fitting_level, stored_level
from napari_connecto.core.geometry import Box
from napari_connecto.core.model import Predictor
from napari_connecto.core.shown import shown
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.segment.agglomerate import caution_of
from napari_connecto.workflows.segment.directions import ThreeDirections, with_directions
from napari_connecto.workflows.segment.mode import mode_of
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.segment.volumetric import own_volumetric
from napari_connecto.workflows.shared.region import region_in

LATER = ("grid", "directions", "link_by", "caution", "volumetric", "flips")
"""Parameters that the first version did not have."""
CUBIC = 1.5
"""Largest depth of a voxel, relative to its width, at which a volumetric model takes part: it has learnt from cubes."""


@shown
@dataclass(frozen=True)
class Choice:
    """How a volume is segmented.

    Parameters
    ----------
    params, reason
        With a mode and a number of directions, and why, without a full stop.
    model
        That predicts the boundary, in as many directions; None if the volume is the boundary.
    level
        That the model reads.
    own
        Level on whose grid labels are written; None if that is the map's own.
    """

    params: SegmentParams
    reason: str
    model: Predictor | None
    level: Level
    own: Level | None


def chosen(
    volume: Volume,
    params: SegmentParams,
    model: Predictor | None,
    region: Box,
    volumetric: Predictor | None = None,
) -> Choice:
    """How to segment a part of a volume; ``volumetric`` replaces the model's own network of volumes, see `segment`.

    Raises
    ------
    VoxelSizeError
        If volume and model do not fit.
    InputError
        If three directions are requested without a model, or of one that cannot; or flips without three directions.
    """
    if model is None and params.directions == "three":
        raise InputError(
            "got directions='three' without a model, so the volume is the boundary already; give a model, or leave "
            "directions at 'auto'"
        )
    level = volume.levels[0] if model is None else fitting_level(volume, model.card)
    shape = (region_in(region, volume, level) or level.box).shape
    mode, reason = mode_of(params, shape, level.voxel_nm, calibrated=volume.calibrated)
    params = replace(params, mode=mode)
    if model is not None:
        params, why = with_directions(params, model, shape, level.voxel_nm)
        reason += why
        if params.directions == "three":
            cubic = params.volumetric and level.voxel_nm[0] <= CUBIC * level.voxel_nm[2]
            volumetric = (volumetric or own_volumetric(model)) if cubic else None
            reason += "" if volumetric is None else ", with a volumetric model"
            reason += ", averaged over flips" if params.flips else ""
            model = ThreeDirections.of(model, volumetric, flips=params.flips)
            level = fitting_level(volume, model.card)
    if params.flips and not isinstance(model, ThreeDirections):
        raise InputError(
            f"got flips without three directions ({reason}); they need a model, mode 3d and directions='three': switch "
            "flips off"
        )
    stored = any(level is one for one in volume.levels)
    own = None if stored or model is None or params.grid == "model" else stored_level(volume, model.card)
    return Choice(params, reason, model, level, own)


def fingerprint(volume: Volume, choice: Choice, model: Predictor | None, region: Box) -> dict[str, Any]:
    """The same as in early versions where the same is done, so that those folders are resumed."""
    told = {name: value for name, value in asdict(choice.params).items() if name not in LATER}
    if choice.own is not None:
        told["grid"] = choice.params.grid
    if choice.params.directions == "three":
        told["directions"] = "three"
    if choice.params.flips:
        told["flips"] = True
    if isinstance(choice.model, ThreeDirections) and choice.model.volumetric is not None:
        told["volumetric"] = choice.model.volumetric.card.digest
    if choice.params.link_by != "overlap":
        told["link_by"] = choice.params.link_by
    if caution_of(choice.params):
        told["caution"] = caution_of(choice.params)
    return {
        "workflow": "segment",
        "volume": volume.fingerprint(),
        "model": model.card.digest if model is not None else "",
        "params": told,
        "region": [list(region.start), list(region.stop)],
    }

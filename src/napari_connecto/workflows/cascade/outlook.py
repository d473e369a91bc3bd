"""What a search will look at, before its networks are loaded: from the calibration kept in the cascade, no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from napari_connecto.core.errors import ModelError
from napari_connecto.core.geometry import FVec3
from napari_connecto.core.model import ModelCard
from napari_connecto.core.tiles import TilePlan
from napari_connecto.core.volume import PIXEL, UNIT, Volume
from napari_connecto.workflows.cascade.document import read_document
from napari_connecto.workflows.cascade.params import DetectParams
from napari_connecto.workflows.cascade.search.coarser import with_levels_at
from napari_connecto.workflows.cascade.thresholds.calibration import Calibration
from napari_connecto.workflows.cascade.thresholds.choose import choose_thresholds, exhaustive_choice
from napari_connecto.workflows.cascade.thresholds.prices import calibrated


@dataclass(frozen=True)
class LevelOutlook:
    """One level of a search: expected chunks, their share of the level, and seconds where the cascade was trained."""

    name: str
    voxel_nm: FVec3
    calls: float
    share: float
    seconds: float


def outlook(volume: Volume, folder: Path, params: DetectParams) -> tuple[LevelOutlook, ...]:
    """The levels of a search by the cascade in ``folder``, coarsest first, priced as when it was trained.

    `estimate` times them on this machine, which may change which levels are used.

    Raises
    ------
    ModelError
        If the cascade is damaged.
    VoxelSizeError
        If the volume states no voxel size that is needed, or no level is within 25 % of a used stage's voxel size.
    """
    document = read_document(folder)
    try:
        cards = [_card(folder / f"level_{k}") for k in range(len(document["digests"]))]
        calibration, threshold = Calibration.from_json(document["calibration"]), float(document["rule"]["threshold"])
        pixels = (document.get("metadata") or {}).get(UNIT) == PIXEL
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(f"the cascade in '{folder}' is damaged ({error!r}); copy it again") from error
    volume = with_levels_at(volume.in_pixels() if pixels else volume, [card.voxel_nm for card in cards])
    if params.exhaustive:
        choice = exhaustive_choice(calibration, threshold, calibrated(calibration))
    else:
        always = params.force_cascade
        choice = choose_thresholds(calibration, params.target_recall, threshold=threshold, always=always)
    used = [k for k, least in enumerate(choice.thresholds) if least is not None]
    levels = [volume.level_at(cards[k].voxel_nm) for k in used]
    plans = [TilePlan(level.shape, cards[k].tile, cards[k].halo) for k, level in zip(used, levels, strict=True)]
    chunks = len(plans[0])
    calls = [choice.calls[k] * chunks if len(used) > 1 else float(chunks) for k in used]
    told = [
        LevelOutlook(f"level {k}", level.voxel_nm, n, min(1.0, n / len(plan)), chunks * choice.level_s[k])
        for k, level, plan, n in zip(used, levels, plans, calls, strict=True)
    ]
    return tuple(reversed(told))


def _card(folder: Path) -> ModelCard:
    return ModelCard.from_json(json.loads((folder / "card.json").read_text(encoding="utf-8")))

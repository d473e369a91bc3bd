"""Checking a translation in the dock: membranes, segments, and where both may be wrong; no Qt, no napari."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_connecto.core.geometry import Box
from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Volume
from napari_connecto.widgets.shared import boundary_models
from napari_connecto.widgets.viewer.mesa import torch_job
from napari_connecto.widgets.xray.boxes import part as cut
from napari_connecto.widgets.xray.crops import Shares, shares_of, triplets
from napari_connecto.workflows.ood.document import stated
from napari_connecto.workflows.segment.params import SegmentParams

if TYPE_CHECKING:
    from napari_connecto.workflows.inspect.guard.guard import Guard
    from napari_connecto.workflows.xray.check.check import CheckedTranslation
    from napari_connecto.workflows.xray.translate import Translation

SEGMENTS = "segments"
"""Folder of segments in that of a complete translation."""
FULL_SD = 0.25
"""Standard deviation that is white in a crop."""


class Listed(NamedTuple):
    """Uncertain places, in voxels of the mean, each with its three pictures."""

    places: Sequence[Any]
    crops: list[np.ndarray]


class Checked(NamedTuple):
    """What checking a translation found: places, shares of the strip, and the segments with their uncertainty."""

    found: CheckedTranslation
    listed: Listed
    shares: Shares


def checked_params(model: Path) -> SegmentParams:
    """As from the shell: the thresholds tuned with the model, mode and directions by the volume."""
    return replace(boundary_models.tuned_params(model) or SegmentParams(), mode="auto", directions="auto")


def checking_job(
    found: Translation,
    xray: Volume,
    model: Path,
    out: Path,
    n: int,
    part: Box | None = None,
    guard: Guard | None = None,
) -> Job[Checked]:
    """Check a translation, or the ``part`` (voxels of the mean) that is translated; a guard judges the membranes.

    Intensities are measured in the part only: nothing is translated elsewhere.
    """
    from napari_connecto.workflows.xray.check.check import check_translation_job

    yield Progress(0, 0, "loading the boundary model")
    segmenter, whole = boundary_models.load(model), found.mean
    looked = found if part is None else replace(found, mean=cut(whole, part))
    params = checked_params(model)
    made = yield from check_translation_job(looked, segmenter, params, out=out, xray=xray, places=n, guard=guard)
    places = _placed(made.places, looked.mean, whole)
    crops = triplets(places, xray, whole, made.entropy, 1.0)
    return Checked(made, Listed(places, crops), shares_of(made.probability, stated(found.report)))


def listing_job(made: Checked | None, parts: dict[str, Volume], xray: Volume, n: int) -> Job[Listed]:
    """List ``n`` places again: of the checked membranes, or, without, of the largest standard deviation."""
    yield from torch_job()
    yield Progress(0, 0, "finding uncertain places")
    mean = parts["mean"]
    sds: dict[str, Any] = {name: parts[name] for name in ("aleatoric", "epistemic")}
    if made is None:
        from napari_connecto.workflows.xray.trust import worst_regions

        regions = worst_regions(sds["aleatoric"], sds["epistemic"], n)
        return Listed(regions, triplets(regions, xray, mean, sds["aleatoric"], FULL_SD))
    from napari_connecto.workflows.xray.check.places import uncertain_places

    places = uncertain_places(made.found.probability, n, mean=mean, xray=xray, params=made.found.params, **sds)
    return Listed(places, triplets(places, xray, mean, made.found.entropy, 1.0))


def _placed(places: Sequence[Any], part: Volume, whole: Volume) -> list[Any]:
    """Places with boxes in voxels of the whole mean."""
    here, there = part.levels[0], whole.levels[0]
    return [replace(p, box=here.box_in(p.box, there).clip(there.shape)) for p in places]

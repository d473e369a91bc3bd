"""The places of a translation where membranes are most uncertain, apart from each other, each with its reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from napari_connecto.core.amounts import percent
from napari_connecto.core.geometry import Box, FVec3
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.segment.block import segment_array
from napari_connecto.workflows.segment.mode import resolved
from napari_connecto.workflows.segment.params import SegmentParams
from napari_connecto.workflows.shared.on_grid import on_grid
from napari_connecto.workflows.shared.worst import BORDER_NM, looked_at, worst_boxes
from napari_connecto.workflows.xray.check.decisions import FACES, OPEN, Contacts, leaning, merges_of
from napari_connecto.workflows.xray.check.entropy import BITS
from napari_connecto.workflows.xray.place import Place

UNDECIDED = (0.25, 0.75)
"""Probabilities between which a voxel is neither membrane nor inside."""
FAINT, ALONG, POOR, UNKNOWN = 0.35, 0.5, 0.7, 1.5
"""Bounds of the reasons: share of clear membrane among all that may be one;
share of the gradient across sections; X-ray contrast, and epistemic share of the variance, relative to the median of
all places."""


def uncertain_places(
    probability: Volume,
    n: int = 10,
    *,
    size_nm: float = 400.0,
    border_nm: float = BORDER_NM,
    mean: Volume | None = None,
    xray: Volume | None = None,
    aleatoric: Volume | None = None,
    epistemic: Volume | None = None,
    params: SegmentParams | None = None,
) -> list[Place]:
    """The places of largest mean entropy of a boundary map, apart from each other, most uncertain first.

    Parameters
    ----------
    probability
        Of a `MembraneMap`, uint8; parts that were not predicted (0) do not count.
    n
        Number of places; fewer are returned for a small volume.
    size_nm
        Side of a place.
    border_nm
        Width of the rim without places, at most a tenth of the extent along each axis.
    mean
        Of the translation: boxes are given in its voxels. Default: in those of the map.
    xray, aleatoric, epistemic
        For the reasons: the X-ray, and the standard deviations of the translation.
    params
        Of the segmentation, for the reasons: its thresholds tell what is merged and what is split.

    Raises
    ------
    InputError
        If ``n`` or the size is not positive.
    """
    level = probability.levels[looked_at(probability)]
    values = np.asarray(level.read(level.box))
    boxes = worst_boxes(BITS[values].astype(np.float64), level, n, size_nm, border_nm=border_nm, spread=True)
    if not boxes:
        return []
    finest = (mean or probability).levels[0]
    contrast = _relative([_contrast(xray, level, box) for box in boxes])
    spread = [_spread(aleatoric, epistemic, level, box) for box in boxes]
    unknown = _relative([share for _, share in spread])
    places = []
    for k, box in enumerate(boxes):
        p = values[box.slices] / np.float32(255)
        undecided = float(((p > UNDECIDED[0]) & (p < UNDECIDED[1])).mean())
        sd, share = spread[k]
        kind = _kind(values, level, box, box.grow([s // 2 for s in box.shape]).clip(level.shape), params)
        why = ", ".join([kind, *_causes(p, level.voxel_nm, contrast[k], unknown[k])])
        figures = {"entropy": float(BITS[values[box.slices]].mean()), "undecided": undecided}
        figures |= {name: v for name, v in (("sd", sd), ("epistemic", share)) if not np.isnan(v)}
        places.append(Place.of(box, level, finest, f"{why}; {percent(undecided)} undecided", **figures))
    return places


def _kind(values: np.ndarray, level: Level, box: Box, around: Box, params: SegmentParams | None) -> str:
    """What may be wrong: the most uncertain decision that segmenting the surroundings of a place makes in it."""
    p = values[around.slices] / np.float32(255)
    params = resolved(params or SegmentParams(), p.shape, level.voxel_nm)
    labels = segment_array(p, params, level.voxel_nm)
    flat, start = params.mode != "3d", around.start
    apart = Contacts.of(labels, p, flat=flat, start=start)
    merged, _ = merges_of(labels, p, params, level.voxel_nm, start)
    found = []
    for contacts, words, sign in ((merged, "two cells may be merged", 1.0), (apart, "one cell may be split", -1.0)):
        here = contacts.only((contacts.area >= FACES) & _within(contacts, box))
        leans = leaning(here.boundary, params.merge_threshold)
        doubts = (leans if sign > 0 else 1 - leans).tolist()
        found += [(u, f"{words} (boundary {p:.2f})") for u, p in zip(doubts, here.boundary.tolist(), strict=True)]
    worst, words = max(found, default=(0.0, ""))
    return words if worst >= OPEN else "membrane edges unclear"


def _within(contacts: Contacts, box: Box) -> np.ndarray:
    """Contacts whose middle lies in a box."""
    places = np.stack([contacts.z, contacts.y, contacts.x], axis=1) / np.maximum(contacts.area, 1)[:, None]
    return np.all((places >= box.start) & (places < box.stop), axis=1)


def _causes(p: np.ndarray, voxel_nm: FVec3, contrast: float, unknown: float) -> list[str]:
    """Likely causes, in words."""
    may_be = p > UNDECIDED[0]
    clear = float((p >= UNDECIDED[1]).sum() / max(1, may_be.sum()))
    slopes = [float(((np.diff(p, axis=a) / voxel_nm[a]) ** 2).mean()) if p.shape[a] > 1 else 0.0 for a in range(3)]
    along = slopes[0] > ALONG * sum(slopes) > 0
    return [
        *["faint membranes"] * (clear < FAINT),
        *["membranes parallel to the sections"] * along,
        *["little contrast in the X-ray"] * (contrast < POOR),
        *["the networks disagree"] * (unknown > UNKNOWN),
    ]


def _contrast(xray: Volume | None, grid: Level, box: Box) -> float:
    """Standard deviation of the X-ray in a box of a grid; NaN if there is none."""
    if xray is None:
        return float("nan")
    level = xray.levels[0]
    here = grid.box_in(box, level).clip(level.shape)
    return float(np.std(level.read(here))) if here.size else float("nan")


def _spread(aleatoric: Volume | None, epistemic: Volume | None, grid: Level, box: Box) -> tuple[float, float]:
    """Mean total standard deviation in a box, and the epistemic share of the variance; NaN if not known."""
    if aleatoric is None or epistemic is None:
        return float("nan"), float("nan")
    noise, ignorance = (_read(v, grid, box) for v in (aleatoric, epistemic))
    variance = float((noise**2 + ignorance**2).mean())
    return float(np.hypot(noise, ignorance).mean()), float((ignorance**2).mean()) / variance if variance else 0.0


def _read(volume: Volume, grid: Level, box: Box) -> np.ndarray:
    return np.asarray(on_grid(volume.levels[0], grid).read(box), np.float64)


def _relative(values: Sequence[float]) -> list[float]:
    """Divided by their median; 1 where not known."""
    known = [v for v in values if np.isfinite(v)]
    middle = float(np.median(known)) if known else 0.0
    return [v / middle if middle > 0 and np.isfinite(v) else 1.0 for v in values]

"""Labels from a review: accepted and rejected places are known, the rest is unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import cc3d
import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from napari_connecto.core.views.balls import ball
from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.training.labelled_region import Examples
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, ADDED, NEW, OBJECTS, REJECTED

REACH = 0.75
"""Radius around an object's centre, in diameters, that counts as seen: background, unless there is another object."""
WIDE = 1.5
"""The same if the review lists the other detections, reviewed or not, so that a neighbour is not background."""


def statuses(ids: np.ndarray, centres_nm: np.ndarray, places: Places, level: Level) -> np.ndarray:
    """The verdict (n,) on each labelled object: of the places in it, or at its centroid; "accepted" without one.

    Parameters
    ----------
    ids, level
        Labels 1..n, (z, y, x), and the grid that they are on.
    centres_nm
        (n, 3) their centroids.
    places
        See `Places`. If places of several verdicts are in one object, it is accepted if one of them is accepted or
        added, else rejected if one of them is.
    """
    found = np.full(len(centres_nm), ACCEPTED)
    owner = _owner(ids, places.centre_nm, level)
    if len(places.centre_nm):
        distance, nearest = cKDTree(centres_nm).query(places.centre_nm)
        owner = np.where((owner == 0) & (distance <= max(level.voxel_nm)), nearest + 1, owner)
    for status, of in ((NEW, [NEW]), (REJECTED, [REJECTED]), (ACCEPTED, OBJECTS)):
        hit = owner[np.isin(places.status, of)]
        found[hit[hit > 0] - 1] = status
    return found


def with_added(ids: np.ndarray, places: Places, level: Level, diameter_nm: float, flat: bool) -> int:
    """Draw a ball around every added place that is in no object, with ids that continue; returns how many.

    ``ids`` (labels 1..n) changes in place, where there is background. ``flat``: within the section of the place.
    """
    added, drawn = places.of(ADDED), 0
    first = int(ids.max(initial=0)) + 1
    for centre in added[_owner(ids, added, level) == 0]:
        box, inside = ball(level, centre, diameter_nm / 2, flat)
        free = inside & (ids[box.slices] == 0)
        ids[box.slices][free] = first + drawn
        drawn += int(free.any())
    return drawn


def with_known(
    examples: Examples, places: Places, masks: Mapping[str, np.ndarray], complete: np.ndarray | None = None
) -> Examples:
    """The same examples, known only where there is a verdict or where labels are complete.

    Parameters
    ----------
    examples
        Accepted objects.
    places
        Verdicts on places: rejected ones are background within half a diameter, new ones unknown within `REACH`.
    masks
        Boolean arrays of the target's shape by status: rejected and new objects with masks, which replace the half
        diameter.
    complete
        Boolean, of the target's shape: where everything is labelled. None: this is unknown.

    Returns
    -------
    Examples
        ``known`` holds the objects, rejected places, and where labels are complete; without that, a rim around each
        object. It never holds new places.
    """
    level, diameter = examples.target, examples.diameter_nm
    if complete is None:
        known = _around(examples, REACH if np.isin(places.status, OBJECTS).all() else WIDE)
    else:
        known = complete.copy()
    for status, radius in ((REJECTED, diameter / 2), (NEW, diameter * REACH)):
        mask = masks.get(status, np.zeros(known.shape, bool))
        centres = places.of(status)
        loose = centres[_owner(mask, centres, level) == 0]
        known[mask | _balls(level, loose, radius, examples.flat)] = status == REJECTED
    return replace(examples, known=known | examples.present)


def _owner(ids: np.ndarray, centres_nm: np.ndarray, level: Level) -> np.ndarray:
    """(n,) the label at each position, 0 outside."""
    at = np.floor(level.to_voxels(centres_nm.reshape(-1, 3))).astype(int)
    inside = ((at >= 0) & (at < level.shape)).all(axis=1)
    out = np.zeros(len(at), np.int64)
    out[inside] = ids[tuple(at[inside].T)]
    return out


def _around(examples: Examples, reach: float) -> np.ndarray:
    """Objects and a rim around each, within their section if sections are unrelated."""
    present, level = examples.present, examples.target
    voxel = np.array(level.voxel_nm)
    half = np.cbrt(3 / (4 * np.pi) * np.median(examples.voxels) * np.prod(voxel)) if len(examples.voxels) else 0.0
    if examples.flat or level.shape[0] == 1:
        half = np.sqrt(np.median(examples.voxels) * voxel[1] * voxel[2] / np.pi)
    rim = max(reach * examples.diameter_nm - half, float(voxel[1:].max()))
    sampling = np.array([np.inf if examples.flat else voxel[0], *voxel[1:]])
    grow = [int(n) for n in np.floor(rim / sampling)]
    sampling[~np.isfinite(sampling)] = 1e12
    known = np.zeros(present.shape, bool)
    stats = cc3d.statistics(cc3d.connected_components(present, connectivity=26))
    for box in stats["bounding_boxes"][1:]:
        window = tuple(slice(max(0, s.start - g), s.stop + g) for s, g in zip(box, grow, strict=True))
        known[window] |= ndimage.distance_transform_edt(~present[window], sampling) <= rim
    return known


def _balls(level: Level, centres_nm: np.ndarray, radius_nm: float, flat: bool) -> np.ndarray:
    """Voxels of the `ball` around each position."""
    out = np.zeros(level.shape, bool)
    for centre in centres_nm.reshape(-1, 3):
        box, inside = ball(level, centre, radius_nm, flat)
        out[box.slices] |= inside
    return out

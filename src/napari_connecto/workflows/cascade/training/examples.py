"""Training examples from labels and points: masks, instances, centres, with a review's verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cc3d
import edt
import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.geometry import Box
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.search.rule import Head
from napari_connecto.workflows.cascade.training.gaps import between, reach
from napari_connecto.workflows.cascade.training.labelled_region import Examples, crop, split_region
from napari_connecto.workflows.cascade.training.points import Places
from napari_connecto.workflows.cascade.training.reviewed import statuses, with_added, with_known
from napari_connecto.workflows.cascade.training.sections import numbered
from napari_connecto.workflows.cascade.training.unlabelled import Unlabelled, inside
from napari_connecto.workflows.cascade.verdicts import ACCEPTED, NEW, REJECTED

MAX_VOXELS = 2**30
MEASURED = 64
"""Sections at most in which the thickness of objects is measured."""
LARGE = 0.9
"""Share of the labelled voxels that belong to objects no thicker than the large ones."""
DENSE = Unlabelled("background")
RIM = "Only some objects are labelled: voxels are background in a rim around each, and unknown elsewhere."
__all__ = ["MAX_VOXELS", "Examples", "crop", "from_labels", "from_points", "split_region"]


def from_labels(
    labels: Volume,
    head: Head,
    diameter_nm: float | None = None,
    *,
    sparse: bool = False,
    review: Places | None = None,
    unlabelled: Unlabelled = DENSE,
) -> Examples:
    """Examples from a mask (one value: its connected parts are the objects) or from instances.

    Parameters
    ----------
    labels
        0 where there is no object.
    head, diameter_nm
        How the cascade is to predict them; without a diameter, a typical one is measured.
    sparse
        Not all objects are labelled: unlabelled voxels are unknown, except for a rim around each object.
    review
        Verdicts at positions. An object with a rejected position is background, one with a new position unknown;
        objects without a position were added by hand. Added positions outside objects become balls of the typical
        diameter. Rejected positions outside objects are background with ``sparse``.
    unlabelled
        Which labels are objects, and where the others are background. If it restricts that, there is no rim.

    Raises
    ------
    InputError
        If nothing is labelled, a reviewed box lies outside, or more than 2^30 voxels are given.
    """
    level = labels.levels[0]
    if level.box.size > MAX_VOXELS:
        raise InputError(f"got {level.box.size:.2e} label voxels, at most {MAX_VOXELS:.2e} fit; crop the labels")
    given = level.read(level.box)
    if given.dtype.kind not in "iub":
        raise InputError(f"got labels of type {given.dtype}; labels must be integers, 0 for background")
    ids = numbered(unlabelled.objects_of(given), level.voxel_nm)
    if not ids.any():
        what = f"hold no label {unlabelled.objects}" if unlabelled.objects else "are empty"
        raise InputError(f"the labels {what}; paint at least a few objects")
    stats, counts, depths = _measured(ids)
    thin = float(np.median(depths)) == 1
    if diameter_nm is None:
        volume_nm3 = np.median(counts) * float(np.prod(level.voxel_nm))
        diameter_nm = float((6 * volume_nm3 / np.pi) ** (1 / 3))
        if thin:
            diameter_nm = float(2 * np.sqrt(np.median(counts) * level.voxel_nm[1] * level.voxel_nm[2] / np.pi))
    if review is not None and with_added(ids, review, level, diameter_nm, thin):
        stats, counts, depths = _measured(ids)
    centres = level.to_nm(stats["centroids"][1:].astype(float) + 0.5)
    status = np.full(len(counts), ACCEPTED) if review is None else statuses(ids, centres, review, level)
    mine = status == ACCEPTED
    if not mine.any():
        raise InputError(f"none of the {len(mine)} labelled objects is accepted; review some, or add some by hand")
    placed_in = _inside(ids, centres, level)
    if head == "centres":
        found = from_points(centres[mine], diameter_nm, level)
    else:
        target = np.concatenate([[0], np.where(mine, 255, 0)]).astype(np.uint8)[ids]
        sizes = counts / depths if thin else counts.astype(float)
        flat = thin and level.shape[0] > 1
        placed = Level(target, level.voxel_nm, level.origin_nm)
        width, large = _widths_nm(ids, counts, level)
        near = between(np.where(target > 0, ids, 0), reach(width, level.voxel_nm, flat or level.shape[0] == 1))
        found = Examples(
            placed,
            placed_in[mine],
            diameter_nm,
            flat,
            voxels=sizes[mine],
            width_nm=width,
            large_nm=large,
            between=near if near.any() else None,
        )
    known = unlabelled.known(given, ids)
    found = replace(found, told=RIM if sparse and known is None else unlabelled.told(ids, known))
    if known is not None and review is None and (known | (ids > 0)).all():
        return replace(found, told="")
    if not sparse and known is None:
        return found
    masks = {name: np.concatenate([[False], status == name])[ids] for name in (NEW, REJECTED)}
    return with_known(found, review or Places.none(), masks, known)


def from_places(
    places: Places, diameter_nm: float, like: Level, *, sparse: bool, reviewed: Sequence[Box] = ()
) -> Examples:
    """Examples from the centres of a review, or of a complete table.

    Parameters
    ----------
    places
        See `Places`.
    diameter_nm, like
        As for `from_points`.
    sparse
        Only accepted, added and rejected places are known. Otherwise all places but the rejected ones are objects, and
        everything
        else is background.
    reviewed
        Boxes in voxels of ``like``, inside which every object has a place; what lies outside them is unknown.
    """
    if reviewed and not sparse:
        places = replace(places, status=np.where(places.status == REJECTED, REJECTED, ACCEPTED))
    if not sparse and not reviewed:
        return from_points(places.centre_nm[places.status != REJECTED], diameter_nm, like)
    objects = places.objects
    if not len(objects):
        raise InputError(
            f"none of the {len(places.status)} places is accepted; review some, or give unlabelled='background' if "
            "they are all the objects in the volume"
        )
    found = from_points(objects, diameter_nm, like)
    if not reviewed:
        return with_known(replace(found, told=RIM), places, {})
    unlabelled, known = Unlabelled(reviewed=tuple(reviewed)), inside(reviewed, like.shape)
    if known.all() and not len(places.of(NEW)):
        return found
    told = unlabelled.told(found.present.astype(np.uint8), known)
    return with_known(replace(found, told=told), places, {}, known)


def _measured(ids: np.ndarray) -> tuple[Any, np.ndarray, np.ndarray]:
    """Statistics of labels 1..n: all, the number of voxels (n,), and the number of sections (n,)."""
    stats = cc3d.statistics(ids)
    depths = np.array([box[0].stop - box[0].start for box in stats["bounding_boxes"][1:]])
    return stats, stats["voxel_counts"][1:], depths


def _widths_nm(ids: np.ndarray, counts: np.ndarray, level: Level) -> tuple[float, float]:
    """Thickness in the plane, twice the greatest distance to an object's rim: of a typical object and of large ones.

    The former is the median over the objects, the latter the `LARGE` quantile over their voxels, of which 1..n have
    ``counts``. Of many sections `MEASURED` are looked at.
    """
    greatest = np.zeros(int(ids.max()) + 1)
    for plane in ids[:: max(1, -(-len(ids) // MEASURED))]:
        distance = edt.edt(np.ascontiguousarray(plane), anisotropy=level.voxel_nm[1:])
        np.maximum.at(greatest, plane.ravel(), distance.ravel())
    there = (greatest[1:] > 0) & np.isfinite(greatest[1:])  # a whole section has no rim
    if not there.any():
        return 0.0, 0.0
    found, weight = greatest[1:][there], counts[there].astype(float)
    order = np.argsort(found)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(2 * np.median(found)), float(2 * found[order][np.searchsorted(share, LARGE)])


def _inside(ids: np.ndarray, centres_nm: np.ndarray, level: Level) -> np.ndarray:
    """Move centroids that fall outside their (curved) object to a voxel of it."""
    out = centres_nm.copy()
    index = np.floor(level.to_voxels(centres_nm)).astype(int)
    off = np.flatnonzero(ids[tuple(index.T)] != np.arange(1, len(index) + 1))
    if off.size:
        boxes = cc3d.statistics(ids)["bounding_boxes"]
        for i in off:
            part = np.argwhere(ids[boxes[i + 1]] == i + 1) + [s.start for s in boxes[i + 1]]
            nearest = part[np.argmin((((part - index[i]) * level.voxel_nm) ** 2).sum(1))]
            out[i] = level.to_nm(nearest + 0.5)
    return out


def from_points(centres_nm: np.ndarray, diameter_nm: float, like: Level) -> Examples:
    """Examples from centres; the labelled region is the whole of ``like``, on whose grid the target is drawn.

    The target is a Gaussian of standard deviation ``diameter_nm / 4`` around each centre.
    """
    centres_nm = np.asarray(centres_nm, float).reshape(-1, 3)
    if like.box.size > MAX_VOXELS:
        raise InputError(
            f"got a region of {like.box.size:.2e} voxels, at most {MAX_VOXELS:.2e} fit; give a smaller one"
        )
    sigma = diameter_nm / 4 / np.array(like.voxel_nm)
    target = np.zeros(like.shape, np.float32)
    kept, sizes = [], []
    for centre in centres_nm:
        at = like.to_voxels(centre)
        if (at < 0).any() or (at >= like.shape).any():
            continue
        kept.append(centre)
        low = np.maximum(0, np.floor(at - 3 * sigma - 0.5)).astype(int)
        high = np.minimum(like.shape, np.ceil(at + 3 * sigma + 0.5)).astype(int)
        grids = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        # the voxel that contains the centre must reach 1 however flat the object is
        middle = np.where(sigma < 1, np.floor(at) + 0.5, at)
        r2 = sum(((g + 0.5 - c) / max(s, 0.4)) ** 2 for g, c, s in zip(grids, middle, sigma, strict=True))
        near = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        drawn = np.exp(-r2 / 2)
        sizes.append(float(np.count_nonzero(drawn >= 0.5)))
        target[near] = np.maximum(target[near], drawn)
    if not kept:
        raise InputError(
            f"got {len(centres_nm)} points, none inside the volume; check their units (nm) and axes (z, y, x)"
        )
    level = Level(np.rint(target * 255).astype(np.uint8), like.voxel_nm, like.origin_nm)
    return Examples(level, np.array(kept), diameter_nm, voxels=np.array(sizes))

"""Plan fields of view that cover what was found: the cover, each field's place and stack, and the stage path."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import numpy as np

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.chosen import chosen
from napari_connecto.workflows.cascade.results.fields.boxes import ROUNDING, cut, held, needed
from napari_connecto.workflows.cascade.results.fields.cover import STAGE, cover_job
from napari_connecto.workflows.cascade.results.fields.result import Fields
from napari_connecto.workflows.cascade.results.fields.route import route
from napari_connecto.workflows.cascade.results.params import FieldParams
from napari_connecto.workflows.cascade.results.place import boxes_nm, in_pixels, searched_nm

NM_PER_UM = 1000.0


def plan_fields(found: Detections | str | Path, params: FieldParams | None = None) -> Fields:
    """Plan few fields of view, all of one size, that cover what was found, for a microscope that images it finely.

    Each object and its margin lie inside one field; an object larger than a field is covered by several. Few
    objects apart from others are covered by the fewest fields possible, by an integer programme; larger groups by
    sweeps that are then improved in parts. The order is a short stage path (nearest neighbour, 2-opt).

    Parameters
    ----------
    found
        Detections, or the result folder of a search. Rejected ones are left out.
    params
        Size, margin, stage and which detections, see `FieldParams`.

    Returns
    -------
    Fields
        Corners in um, (z, y, x), the objects of each field, and a number of fields that is needed at least;
        ``save`` writes them in stage units.

    Raises
    ------
    InputError
        If nothing is left to cover, margins leave no room in a field, the voxel size of the boxes is unknown, or
        ``found`` holds no result.

    Examples
    --------
    >>> places = np.array([[0.0, 10e3, 10e3], [0.0, 10e3, 90e3], [0.0, 10e3, 400e3]])  # nm, (z, y, x)
    >>> box = np.concatenate([places // 1000, places // 1000 + 5], axis=1).astype(int)  # voxels of 1 um
    >>> image = {"voxel_nm": [1000, 1000, 1000], "origin_nm": [0, 0, 0]}
    >>> found = nc.Detections(places, np.ones(3), box, np.empty(0, int), {"levels": [image], "image": image})
    >>> fields = nc.plan_fields(found, nc.FieldParams(size=(100.0, 120.0), margin=10.0))
    >>> [objects.tolist() for objects in fields.objects]
    [[1, 2], [3]]
    """
    return run(plan_fields_job(found, params))


def plan_fields_job(found: Detections | str | Path, params: FieldParams | None = None) -> Job[Fields]:
    """`plan_fields` as a job; it is fast and keeps nothing, so a cancelled one begins anew."""
    params = params or FieldParams()
    yield Progress(0, 0, STAGE)
    found = chosen(found, params)
    if not len(found):
        raise InputError("there is nothing to cover; lower the minimum score, or search another part")
    size = np.array([params.depth or np.inf, *params.size])
    if (size <= 2 * params.margin).any():
        raise InputError(f"got a margin of {params.margin:g} for fields of {params.size}; twice the margin must fit")
    per_um = 1.0 if in_pixels(found) else NM_PER_UM
    low, high = np.split(boxes_nm(found) / per_um, 2, axis=1)
    low, high = low - params.margin, high + params.margin
    axes = [i for i in range(3) if isfinite(size[i])]
    first, last, owner = cut(low[:, axes], high[:, axes], size[axes])
    cover = yield from cover_job(first, last, size[axes])
    starts, holds = _settled(first, last, cover.starts, size[axes], (low + high)[owner] / 2)
    order = route(starts + size[axes] / 2)
    starts, holds = starts[order], [holds[i] for i in order]
    start, stop = np.empty((2, len(starts), 3))
    start[:, axes], stop[:, axes] = starts, starts + size[axes]
    for axis in set(range(3)) - set(axes):
        start[:, axis] = [low[owner[elements], axis].min() for elements in holds]
        stop[:, axis] = [high[owner[elements], axis].max() for elements in holds]
    objects = tuple(np.unique(found.id[owner[elements]]) for elements in holds)
    everywhere, unit = _everywhere(found, size, per_um), "pixels" if in_pixels(found) else "um"
    return Fields(start, stop, objects, len(found), cover.at_least, cover.grid, everywhere, params, unit)


def _settled(
    low: np.ndarray, high: np.ndarray, starts: np.ndarray, size: np.ndarray, middle: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Each element in one field, and each field centred on its elements; none that is not needed.

    Of the fields an element lies in it goes to the one whose only elements are nearest in z, so that stacks are short.
    """
    while True:
        starts = needed(low, high, starts, size)
        holds = held(low, high, starts, size)
        owner, z = np.full(len(low), -1), np.empty(len(starts))
        often = np.bincount(np.concatenate(holds), minlength=len(low))
        for field, elements in enumerate(holds):
            only = elements[often[elements] == 1]
            owner[only], z[field] = field, middle[only, 0].mean()
        best = np.full(len(low), np.inf)
        for field, elements in enumerate(holds):
            away = np.abs(middle[elements, 0] - z[field])
            nearer = (often[elements] > 1) & (away < best[elements])
            owner[elements[nearer]], best[elements[nearer]] = field, away[nearer]
        own = np.split(np.argsort(owner, kind="stable"), np.cumsum(np.bincount(owner))[:-1])
        centred = np.array([(low[e].min(axis=0) + high[e].max(axis=0) - size) / 2 for e in own])
        fewer = needed(low, high, centred, size)
        if len(fewer) == len(centred):
            return centred, own
        starts = fewer


def _everywhere(found: Detections, size: np.ndarray, per_um: float) -> int:
    searched = searched_nm(found)
    if searched is None:
        return 0
    extent = (searched[1] - searched[0]) / per_um
    return int(np.prod([max(1, np.ceil(e / s - ROUNDING)) for e, s in zip(extent, size, strict=True) if isfinite(s)]))

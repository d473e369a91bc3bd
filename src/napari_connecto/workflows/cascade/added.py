"""Objects that a reviewer added to a search, as rows of its detections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.volume import Level
from napari_connecto.workflows.cascade.measures import not_measured
from napari_connecto.workflows.cascade.verdicts import ADDED, NOTES, Verdicts

if TYPE_CHECKING:
    from napari_connecto.workflows.cascade.detections import Detections

SCORE = 1.0
"""Of an added object: a person says that it is one."""


def with_added(found: Detections, verdicts: Verdicts, boxes: Level | None) -> Detections:
    """The detections, followed by a row for each added object.

    Parameters
    ----------
    found
        Detections; their ids stay, and those of the added objects continue.
    verdicts
        Those with the status "added" become rows, with a box as wide as a typical object.
    boxes
        The grid of ``found.box``; without it, boxes are one voxel.
    """
    added = verdicts.take(verdicts.status == ADDED)
    n = len(added)
    if not n:
        return found
    start = np.zeros((n, 3))
    stop = start + 1
    if boxes is not None:
        at, half = boxes.to_voxels(added.centre_nm), verdicts.reach_nm / np.array(boxes.voxel_nm)
        start, stop = np.floor(at - half + 0.5), np.ceil(at + half - 0.5)
        stop = np.maximum(stop, start + 1)
    rows: dict[str, Any] = {
        "centre_nm": added.centre_nm,
        "score": np.full(n, SCORE),
        "box": np.concatenate([start, stop], axis=1).astype(np.int64),
        "id": found.id.max(initial=0) + 1 + np.arange(n),
        "status": added.status,
        **{name: getattr(added, name) for name in NOTES},
    }
    joined: dict[str, Any] = {name: np.concatenate([getattr(found, name), rows[name]]) for name in rows}
    return replace(found, **joined, measures=not_measured(found.measures, n))

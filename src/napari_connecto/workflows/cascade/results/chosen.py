"""Which detections are used."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.workflows.cascade.detections import Detections
from napari_connecto.workflows.cascade.results.params import Chosen
from napari_connecto.workflows.cascade.verdicts import NEW, REJECTED


def chosen(found: Detections | str | Path, params: Chosen) -> Detections:
    """Those of detections, or of a result folder, that are used.

    Raises
    ------
    InputError
        If the folder holds no finished search.
    """
    found = found if isinstance(found, Detections) else Detections.load(found)
    new = found.status == NEW
    keep = new & (found.score >= params.min_score) & (not params.accepted_only)
    return found.where(keep | ~new & (found.status != REJECTED))

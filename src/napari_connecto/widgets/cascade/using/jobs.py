"""Jobs of the box "Use what was found"; no Qt, no napari. What is heavy is imported inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_connecto.core.jobs import Job, Progress
from napari_connecto.core.volume import Level, Volume
from napari_connecto.workflows.cascade.measures import not_measured
from napari_connecto.workflows.cascade.results.params import FieldParams, RegionParams

if TYPE_CHECKING:
    from napari_connecto.widgets.viewer.layers import LayerImage
    from napari_connecto.workflows.cascade.detections import Detections
    from napari_connecto.workflows.cascade.results.fields.result import Fields
    from napari_connecto.workflows.cascade.results.regions import RegionCounts

REGIONS = "regions.csv"


@dataclass(frozen=True)
class Used:
    """A finished search.

    Parameters
    ----------
    found
        Its detections, with their verdicts.
    volume, folder
        The image that was searched, and the result folder.
    score
        New detections below it are hidden.
    layer, level
        The image's layer, and its level 0.
    """

    found: Detections
    volume: Volume
    folder: Path
    score: float
    layer: Any
    level: Level


def measure_used_job(used: Used) -> Job[Detections]:
    """Measure, and write the columns into the table of the result folder."""
    from napari_connecto.workflows.cascade.results.measure import keep_measures, measure_job

    measured = yield from measure_job(used.found, used.volume)
    keep_measures(used.folder, measured)
    return measured


def regions_job(used: Used, described: LayerImage, names: Mapping[int, str]) -> Job[RegionCounts]:
    """Count per region of a layer; write ``regions.csv`` in the result folder, and each object's region."""
    from napari_connecto.workflows.cascade.results.measure import keep_measures
    from napari_connecto.workflows.cascade.results.regions import count_regions_job

    yield Progress(0, 0, "opening the regions")
    counts = yield from count_regions_job(used.found, described.volume(), names, RegionParams(min_score=used.score))
    keep_measures(used.folder, counts.found)
    counts.save(used.folder / REGIONS)
    return counts


def fields_job(used: Used, params: FieldParams) -> Job[Fields]:
    """Plan fields of view for what is shown."""
    from napari_connecto.workflows.cascade.results.fields.plan import plan_fields_job

    return (yield from plan_fields_job(used.found, replace(params, min_score=used.score)))


def save_job(fields: Fields, path: Path) -> Job[Path]:
    """Write fields of view as a table or JSON, by the suffix."""
    yield Progress(0, 1, "writing")
    fields.save(path)
    return path


def with_measures(found: Detections, measured: Detections) -> Detections:
    """Detections with the measurements of others, by id; objects added meanwhile are not measured."""
    at = np.searchsorted(measured.id, found.id, sorter=(order := np.argsort(measured.id)))
    rows = np.r_[order, -1][np.minimum(at, len(order))]
    rows = np.where((rows >= 0) & (measured.id[rows] == found.id), rows, len(order))
    columns = {name: column[rows] for name, column in not_measured(measured.measures, 1).items()}
    return replace(found, measures={**found.measures, **columns})

"""Use what a search found: measure, regions, fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from napari_connecto.core.jobs import Job
from napari_connecto.core.params import REQUIRED, param
from napari_connecto.workflows.cascade.results.params import FieldParams, MeasureParams, RegionParams
from napari_connecto.workflows.recipes.entries.run import OnResult, Summary
from napari_connecto.workflows.shared.volume_spec import VolumeSpec


@dataclass(frozen=True, kw_only=True)
class Measure(OnResult):
    """Measure each object that the search in RESULT found: size, intensity, elongation, distance to the border.

    The measurements become columns of its detections.csv, and of everything exported from it.
    """

    workflow: ClassVar[str] = "measure"

    image: VolumeSpec | None = param(None, "The image that was searched; default: as RESULT/recipe.yaml says.")
    out: str = param("", "Also write the table to this file, see `export points`.", role="out")
    params: MeasureParams = param(MeasureParams(), "How objects are measured.")

    def job(self, client: Any) -> Job[Summary]:
        """Measure."""
        from napari_connecto.workflows.recipes.results import measure

        return measure(self)


@dataclass(frozen=True, kw_only=True)
class CountRegions(OnResult):
    """Count what the search in RESULT found in each region of an atlas: objects, volume searched, density.

    A detection belongs to the region at its centre, which becomes a column of detections.csv. What a review rejected is
    left out.
    """

    workflow: ClassVar[str] = "regions"

    regions: VolumeSpec = param(
        REQUIRED, "Label image of the regions, in the same coordinates as the image; any voxel size."
    )
    names: str | None = param(
        None, "Names of the regions: a table with id and name, or structures.json of a brainglobe atlas.", role="input"
    )
    out: str = param("", "Table: .csv or .parquet; default: regions.csv in RESULT.", role="out")
    params: RegionParams = param(RegionParams(), "Which detections.")

    def job(self, client: Any) -> Job[Summary]:
        """Count per region."""
        from napari_connecto.workflows.recipes.results import regions

        return regions(self)


@dataclass(frozen=True, kw_only=True)
class PlanFields(OnResult):
    """Plan the fewest fields of view of a microscope that cover what the search in RESULT found.

    Written in stage units, in the order of a short stage path. What a review rejected is left out.
    """

    workflow: ClassVar[str] = "fields"

    out: str = param("", "Table: .csv, .parquet or .json; default: fields.csv in RESULT.", role="out")
    params: FieldParams = param(FieldParams(), "Fields of view, stage, and which detections.")

    def job(self, client: Any) -> Job[Summary]:
        """Plan fields of view."""
        from napari_connecto.workflows.recipes.results import fields

        return fields(self)

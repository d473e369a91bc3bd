"""What measure, regions and fields do."""

from __future__ import annotations

from pathlib import Path

from napari_connecto.core.errors import InputError
from napari_connecto.core.jobs import Job
from napari_connecto.core.volume import Volume
from napari_connecto.workflows.cascade.results.fields.plan import plan_fields_job
from napari_connecto.workflows.cascade.results.fields.result import check_fields_path
from napari_connecto.workflows.cascade.results.measure import TABLE, keep_measures, measure_job, measured_lines
from napari_connecto.workflows.cascade.results.regions import count_regions_job
from napari_connecto.workflows.cascade.training.point_formats import format_of
from napari_connecto.workflows.cascade.verdicts import REJECTED
from napari_connecto.workflows.recipes.entries.results import CountRegions, Measure, PlanFields
from napari_connecto.workflows.recipes.entries.run import OnImage, Summary
from napari_connecto.workflows.recipes.recipe import read_run
from napari_connecto.workflows.shared.spec import open_spec


def measure(run: Measure) -> Job[Summary]:
    """Measure, and write the columns into the result's table."""
    if run.out:
        format_of(run.out)  # refused before anything is computed
    image, lines = open_spec(run.image) if run.image is not None else searched_image(run.result), []
    measured = yield from measure_job(run.result, image, run.params)
    if image is None:
        lines.append("Intensities are not measured: the image was not a file; give it with --image.")
    elif measured.labels is None:
        lines.append("Centres have no shape: intensities are of a ball around each.")
    lines += measured_lines(measured)
    if run.out:
        measured.where(measured.status != REJECTED).save(run.out)
    figures = {"objects": len(measured), "columns": list(measured.measures)}
    return Summary(run.out or str(Path(run.result) / TABLE), lines, figures)


def searched_image(result: str | Path) -> Volume | None:
    """The image that a search read, by the recipe in its result folder; None if it was no file."""
    recipe = Path(result) / "recipe.yaml"
    if not recipe.is_file():
        return None
    searched = read_run(recipe)
    if not isinstance(searched, OnImage):
        raise InputError(f"'{recipe}' is not the recipe of a search; name the image with --image")
    return open_spec(searched.volume)


def regions(run: CountRegions) -> Job[Summary]:
    """Count per region, write the counts, and each object's region into the result's table."""
    out = run.out or str(Path(run.result) / "regions.csv")
    if Path(out).suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"got '{out}' for counts; allowed: names that end in .csv or .parquet")
    counts = yield from count_regions_job(run.result, open_spec(run.regions), run.names, run.params)
    keep_measures(Path(run.result), counts.found)
    counts.save(out)
    figures = {"regions": len(counts), "objects": int(counts.columns["objects"].sum())}
    return Summary(out, counts.lines(), figures)


def fields(run: PlanFields) -> Job[Summary]:
    """Plan fields of view, and write them."""
    out = run.out or str(Path(run.result) / "fields.csv")
    check_fields_path(out)
    planned = yield from plan_fields_job(run.result, run.params)
    planned.save(out)
    figures = {"fields": len(planned), "objects": planned.covered, "at_least": planned.at_least, "grid": planned.grid}
    return Summary(out, planned.lines(), figures)

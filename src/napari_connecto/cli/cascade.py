"""Commands of the cascade."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from napari_connecto.cli.export import check_table, export_table
from napari_connecto.cli.options import (
    BACKEND,
    cluster_options,
    finish_estimate,
    params_options,
    run_recipe,
    running,
    volume_options,
    volume_spec,
)
from napari_connecto.workflows.cascade.params import DetectParams, TrainParams


@click.command()
@click.argument("path")
@click.option("--cascade", required=True, help="Folder of a cascade, or the name of a shipped one (see `models`).")
@click.option("--out", required=True, type=click.Path(), help="Result folder; an unfinished one is resumed.")
@click.option("--table", type=click.Path(), help="Also write the detections to this file, see `export points`.")
@click.option("--region", type=int, nargs=6, metavar="Z0 Y0 X0 Z1 Y1 X1", help="Where to look, finest level's voxels.")
@BACKEND
@click.option("--estimate", "only_estimate", is_flag=True, help="Say what it would cost, and stop.")
@volume_options
@params_options(DetectParams)
@cluster_options
@running
def detect(path: str, cascade: str, out: str, table: str | None, **options: Any) -> None:
    """Find sparse objects in PATH: everywhere coarsely, closely only where it matters."""
    recipe = {"workflow": "detect", "volume": volume_spec(path, options), "cascade": cascade, "out": out}
    only, region, backend = options.pop("only_estimate"), options.pop("region"), options.pop("backend")
    progress, scheduler, workers = options.pop("progress"), options.pop("scheduler"), options.pop("workers")
    recipe |= {"params": dataclasses.asdict(DetectParams(**options)), "backend": backend}
    if region:
        recipe["region"] = list(region)
    if only:
        from napari_connecto.workflows.recipes.recipe import search_cost

        finish_estimate(search_cost(recipe), progress)
        return
    if table is not None:
        check_table(table)
    run_recipe(recipe, progress, scheduler, workers)
    if table is not None:
        click.echo(export_table(out, table), err=progress == "json")


@click.command("train-cascade")
@click.argument("path")
@click.option("--labels", help="Mask or instance labels in the same world: any readable volume.")
@click.option("--points", help="Centres, see `export points`; needs --diameter-nm.")
@click.option(
    "--review",
    help="With --labels: verdicts on the objects; result folder of a search, or a table with a column status.",
)
@click.option("--previous", help="Cascade to compare with on the same held-out objects.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the cascade; must not exist.")
@volume_options
@params_options(TrainParams)
@running
def train_cascade(
    path: str,
    labels: str | None,
    points: str | None,
    review: str | None,
    previous: str | None,
    out: str,
    progress: str,
    **options: Any,
) -> None:
    """Train a cascade on PATH from labels on part of it.

    A table of points with a column status, as a review leaves it, teaches only what was accepted and rejected.
    """
    if (labels is None) == (points is None):
        raise click.UsageError("give either --labels or --points")
    spec = volume_spec(path, options)
    recipe: dict[str, Any] = {"workflow": "train-cascade", "volume": spec, "out": out}
    if labels is not None:
        voxel = {"voxel_nm": spec["voxel_nm"]} if "voxel_nm" in spec else {}
        recipe["labels"] = {"path": labels, **voxel}
    else:
        recipe["points"] = points
    recipe |= {name: value for name, value in (("review", review), ("previous", previous)) if value is not None}
    recipe["params"] = dataclasses.asdict(TrainParams(**options))
    run_recipe(recipe, progress)

"""The command of a search, which also writes tables."""

from __future__ import annotations

import click

from napari_connecto.cli.export import check_table, export_table
from napari_connecto.cli.runs import How, do_run, run_command
from napari_connecto.workflows.recipes.entries.cascade import Detect
from napari_connecto.workflows.recipes.entries.run import Run

TABLE = click.Option(
    ["--table"], type=click.Path(), help="Also write the detections to this file, see `export points`."
)


def _detect(run: Run, how: How, table: str | None) -> None:
    """Search, and write the table that was asked for; refuse one that could not be written before the search."""
    if table is not None:
        check_table(table)
    do_run(run, how)
    if table is not None:
        click.echo(export_table(run.out, table), err=how.progress == "json")


detect = run_command(Detect, [TABLE], _detect)

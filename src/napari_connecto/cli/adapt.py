"""Commands of "adapt to my data": rank, suggest, prepare, fine-tune, segment, predict, domains."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from napari_connecto.cli.options import (
    BACKEND,
    TILE,
    cluster_options,
    drive,
    finish_estimate,
    params_options,
    run_recipe,
    running,
    volume_options,
    volume_spec,
)
from napari_connecto.workflows.adapt.params import (
    BEFORE_LABEL,
    DomainParams,
    FineTuneParams,
    PrepareParams,
    RankParams,
    SuggestParams,
)
from napari_connecto.workflows.segment.params import SegmentParams

MODEL_HELP = "A shipped domain (see `models`), a model's folder, or what fine-tune wrote."
LIBRARY = click.option("--library", type=click.Path(), help="Folder of domains; default: the shipped ones.")
REGION = click.option(
    "--region", type=int, nargs=6, metavar="Z0 Y0 X0 Z1 Y1 X1", help="Only here, in voxels of the finest level."
)
SOURCE = click.option("--source", help="Playback: the domain whose patches are degraded; default: the model's own.")


def _params(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """Take the fields of a params dataclass out of the options, checked."""
    fields = {field.name: options.pop(field.name) for field in dataclasses.fields(kind)}
    return dataclasses.asdict(kind(**fields))


def _given(kind: type, options: dict[str, Any]) -> dict[str, Any]:
    """Only those that were given on the command line: the rest was tuned with the model."""
    context, source = click.get_current_context(), click.core.ParameterSource.COMMANDLINE
    checked = _params(kind, options)
    return {name: value for name, value in checked.items() if context.get_parameter_source(name) == source}


def _entries(**entries: Any) -> dict[str, Any]:
    """Recipe entries that are not empty; tuples become lists."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in entries.items() if v not in (None, False, ())}


@click.command()
@click.argument("path")
@LIBRARY
@click.option("--out", type=click.Path(), help="Write ranking.json and recipe.yaml here.")
@volume_options
@params_options(RankParams)
@running
def rank(path: str, library: str | None, out: str | None, progress: str, **options: Any) -> None:
    """Which pretrained domain fits PATH: MMD^2 with interval, best first; "no model fits" is an answer."""
    recipe = {"workflow": "rank", "volume": volume_spec(path, options), "params": _params(RankParams, options)}
    run_recipe(recipe | _entries(library=library, out=out), progress)


@click.command()
@click.argument("path")
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--out", required=True, type=click.Path(), help="Session folder; more suggestions join those it has.")
@click.option("-n", type=click.IntRange(1, 10_000), default=4, show_default=True, help="How many patches.")
@LIBRARY
@volume_options
@params_options(SuggestParams)
@running
def suggest(path: str, model: str, out: str, n: int, library: str | None, progress: str, **options: Any) -> None:
    """Which patches of PATH to annotate, each with its reason."""
    recipe = {"workflow": "suggest", "volume": volume_spec(path, options), "model": model, "out": out, "n": n}
    recipe["params"] = _params(SuggestParams, options)
    run_recipe(recipe | _entries(library=library), progress)


@click.command()
@click.argument("path")
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--how", required=True, type=click.Choice(BEFORE_LABEL[1:]), help="Both: playback, then AdaBN.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the new model; the old one stays.")
@SOURCE
@LIBRARY
@volume_options
@params_options(PrepareParams)
@running
def prepare(path: str, model: str, how: str, out: str, progress: str, **options: Any) -> None:
    """Make a model used to PATH without labels: new batch-norm statistics (adabn), degraded source (playback)."""
    source, library = options.pop("source"), options.pop("library")
    recipe = {"workflow": "prepare", "volume": volume_spec(path, options), "model": model, "out": out, "how": how}
    recipe["params"] = _params(PrepareParams, options)
    run_recipe(recipe | _entries(source=source, library=library), progress)


@click.command("fine-tune")
@click.argument("path")
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--session", required=True, type=click.Path(exists=True, file_okay=False), help="From suggest.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the result; an interrupted one is resumed.")
@click.option("--labels", help="Labels made elsewhere, on the same grid: they fill the session's waiting patches.")
@click.option(
    "--label-kind",
    type=click.Choice(["em", "instances", "membranes"]),
    default="em",
    show_default=True,
    help="em: 0 unlabelled, 1 membrane, 2 inside, 3.. neurons; instances: 0 is membrane; membranes: 0 is inside.",
)
@click.option("--from-scratch", is_flag=True, help="Same budget without the model's weights, for comparison.")
@click.option(
    "--before-label",
    type=click.Choice(BEFORE_LABEL),
    default=BEFORE_LABEL[0],
    show_default=True,
    help="First make the model used to PATH without labels, as `prepare` does.",
)
@SOURCE
@LIBRARY
@volume_options
@params_options(FineTuneParams)
@running
def fine_tune(path: str, model: str, session: str, out: str, progress: str, **options: Any) -> None:
    """Adapt a model to the annotated patches of a session, and measure it on those held out."""
    labels, kind, scratch = (options.pop(name) for name in ("labels", "label_kind", "from_scratch"))
    before, source, library = (options.pop(name) for name in ("before_label", "source", "library"))
    recipe = {"workflow": "fine-tune", "volume": volume_spec(path, options), "model": model, "session": session}
    recipe |= {"out": out, "params": _params(FineTuneParams, options)}
    if labels is not None:
        voxel = recipe["volume"].get("voxel_nm")  # type: ignore[attr-defined]
        recipe |= {"labels": {"path": labels, **_entries(voxel_nm=voxel)}, "label_kind": kind}
    if before != BEFORE_LABEL[0]:
        recipe |= {"before_label": before, **_entries(source=source, library=library)}
    run_recipe(recipe | _entries(from_scratch=scratch), progress)


@click.command()
@click.argument("path")
@click.option("--model", help=MODEL_HELP + " Without it PATH is a boundary map.")
@click.option("--out", required=True, type=click.Path(), help="Result folder; an unfinished one is resumed.")
@REGION
@BACKEND
@TILE
@click.option("--estimate", "only_estimate", is_flag=True, help="Say what it would cost, and stop.")
@volume_options
@params_options(SegmentParams)
@cluster_options
@running
def segment(path: str, model: str | None, out: str, progress: str, **options: Any) -> None:
    """Segment PATH into instances; thresholds not given are those tuned with the model."""
    region, backend, only = options.pop("region"), options.pop("backend"), options.pop("only_estimate")
    scheduler, workers = options.pop("scheduler"), options.pop("workers")
    recipe = {"workflow": "segment", "volume": volume_spec(path, options), "out": out, "backend": backend}
    recipe["params"] = _given(SegmentParams, options)
    recipe |= _entries(model=model, region=region, tile=options.pop("tile"))
    if only:
        from napari_connecto.workflows.recipes.adapt import segment_cost

        finish_estimate(drive(segment_cost(recipe), progress), progress)
        return
    run_recipe(recipe, progress, scheduler, workers)


@click.command()
@click.argument("path")
@click.option("--model", required=True, help=MODEL_HELP)
@click.option("--out", required=True, type=click.Path(), help="Result folder; an unfinished one is resumed.")
@REGION
@BACKEND
@TILE
@volume_options
@cluster_options
@running
def predict(path: str, model: str, out: str, progress: str, **options: Any) -> None:
    """Run a model over PATH into an OME-Zarr image."""
    region, backend = options.pop("region"), options.pop("backend")
    scheduler, workers = options.pop("scheduler"), options.pop("workers")
    recipe = {"workflow": "predict", "volume": volume_spec(path, options), "model": model, "out": out}
    run_recipe(recipe | _entries(region=region, backend=backend, tile=options["tile"]), progress, scheduler, workers)


@click.group()
def domains() -> None:
    """Pretrained domains: list them, or make one from a labelled volume."""


@domains.command("list")
@LIBRARY
def list_domains(library: str | None) -> None:
    """Names, voxel sizes, tissue, terms and held-out figures."""
    from napari_connecto.workflows.adapt.domains import load_library

    for name, domain in load_library(library).items():
        about, voxel = domain.about, " x ".join(f"{v:g}" for v in domain.card.voxel_nm)
        figures = ", ".join(f"{k} {v:.3f}" for k, v in domain.card.metrics.items())
        click.echo(f"{name}: {about['modality']} of {about['tissue']} ({about['organism']}), {voxel} nm; {figures}")
        licence, data = domain.card.licence, str(about["data"])
        click.echo(f"  {data if data.startswith(licence) else f'{licence}: {data}'}")


@domains.command("train")
@click.argument("name")
@click.argument("path")
@click.argument("labels")
@click.option("--out", type=click.Path(), help="Folder of the domain; default: NAME.")
@click.option("--organism", default="", help="Of the data.")
@click.option("--tissue", default="", help="Of the data.")
@click.option("--modality", default="", help="FIB-SEM, ssTEM, ...")
@click.option("--data", default="", help="Source of the data, as it is to be cited.")
@click.option("--licence", default="", help="Terms of the weights, as the data's terms allow.")
@LIBRARY
@volume_options
@params_options(DomainParams)
@running
def train(name: str, path: str, labels: str, out: str | None, progress: str, **options: Any) -> None:
    """Make domain NAME of the volume PATH and its LABELS: model, held-out figures, feature sample."""
    about = {key: options.pop(key) for key in ("organism", "tissue", "modality", "data", "licence")}
    library, spec = options.pop("library"), volume_spec(path, options)
    recipe = {"workflow": "train-domain", "name": name, "volume": spec, "out": out or name}
    recipe["params"] = _params(DomainParams, options)
    recipe |= {"labels": {"path": labels, **_entries(voxel_nm=spec.get("voxel_nm"))}, "about": about}
    run_recipe(recipe | _entries(library=library), progress)

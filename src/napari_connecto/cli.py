"""The command line: ``napari-connecto COMMAND``. Options come from the workflows' params dataclasses."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from napari_connecto import __version__
from napari_connecto.core.errors import Cancelled, ConnectoError
from napari_connecto.core.jobs import Job, Progress, run
from napari_connecto.workflows.params import DetectParams, TrainParams

VOXEL = click.option(
    "--voxel-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel size in nm; supplies or corrects the file's own."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="napari-connecto")
def cli() -> None:
    """Find sparse objects in big microscopy volumes, without a screen."""


def main() -> None:
    """Entry point: one line on bad input (exit 2), on cancel (130); exit 0 only when all was written."""
    try:
        cli(standalone_mode=False, prog_name="napari-connecto")
    except Cancelled as error:
        _leave(str(error), 130)
    except (KeyboardInterrupt, click.Abort):
        _leave("cancelled; what was finished is kept, run the same command again to resume", 130)
    except click.ClickException as error:
        where = getattr(getattr(error, "ctx", None), "command_path", "napari-connecto")
        _leave(f"{where}: {error.format_message()}; see {where} --help", 2)
    except ConnectoError as error:
        _leave(f"napari-connecto: {error}", 2)


def _leave(line: str, code: int) -> None:
    click.echo(" ".join(line.split()), err=True)
    sys.exit(code)


def params_options(kind: type) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options for every field of a params dataclass."""
    hints = typing.get_type_hints(kind)

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(dataclasses.fields(kind)):
            function = _option(field, hints[field.name])(function)
        return function

    return decorate


def _option(field: dataclasses.Field, hint: Any) -> Any:
    meta, flag = field.metadata, f"--{field.name.replace('_', '-')}"
    text = meta["help"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if hint is bool:
        return click.option(flag, field.name, is_flag=True, default=field.default, help=text)
    shown = field.default is not None
    if typing.get_origin(hint) is tuple:
        return click.option(flag, field.name, type=int, nargs=3, default=field.default, help=text)
    kind = click.Choice(meta["choices"]) if meta["choices"] else hint
    if hint in (int, float):
        kind = (click.IntRange if hint is int else click.FloatRange)(meta["low"], meta["high"])
    return click.option(flag, field.name, type=kind, default=field.default, show_default=shown, help=text)


def volume_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a volume is opened."""
    for option in (
        click.option("--time", type=int, help="Time point, where there are several."),
        click.option("--channel", help="Channel number, or 'all', where there are several."),
        VOXEL,
        click.option("--array", help="Array inside an HDF5 file or a zarr group."),
    ):
        function = option(function)
    return function


def _volume_spec(path: str, options: dict[str, Any]) -> dict[str, Any]:
    channel = options.pop("channel")
    spec = {"path": path, "array": options.pop("array"), "voxel_nm": options.pop("voxel_nm")}
    spec |= {"time": options.pop("time"), "channel": int(channel) if channel and channel.isdigit() else channel}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in spec.items() if v is not None}


PROGRESS = click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]), default="bar", help="How to show progress."
)


def _drive(job: Job[Any], progress: str) -> Any:
    """Run a job with a bar per stage on stderr, or as JSON lines on stdout for another program."""
    if progress == "json":
        return run(job, lambda p: print(json.dumps({"stage": p.stage, "done": p.done, "total": p.total}), flush=True))
    if progress == "none":
        return run(job)
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def report(p: Progress) -> None:
        if p.stage not in bars:
            for bar in bars.values():
                bar.close()
            bars[p.stage] = tqdm(total=p.total or None, desc=p.stage, file=sys.stderr, disable=None)
        bars[p.stage].n = p.done
        bars[p.stage].refresh() if p.done == p.total else bars[p.stage].update(0)

    try:
        return run(job, report)
    finally:
        for bar in bars.values():
            bar.close()


def _run_recipe(recipe: dict[str, Any], progress: str, scheduler: str | None, workers: int) -> None:
    from napari_connecto.compute.cluster import connect
    from napari_connecto.workflows.recipe import recipe_job

    with connect(scheduler, workers) as client:
        summary = _drive(recipe_job(recipe, client), progress)
    if progress == "json":
        print(json.dumps({"summary": summary}), flush=True)
        return
    for line in summary["lines"]:
        click.echo(line)
    click.echo(f"written to {summary['out']}")


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where tiles run."""
    function = click.option("--workers", type=click.IntRange(0), default=0, help="Start this many local Dask workers.")(
        function
    )
    return click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, e.g. tcp://host:8786.")(
        function
    )


@cli.command()
@click.argument("path")
@volume_options
def info(path: str, **options: Any) -> None:
    """Print axes, levels, voxel sizes, bytes and dtype of PATH."""
    from napari_connecto.workflows.convert import describe, open_spec

    for line in describe(open_spec(_volume_spec(path, options))):
        click.echo(line)


@cli.command()
@click.argument("path")
@click.argument("out")
@volume_options
@click.option("--kind", type=click.Choice(["image", "labels"]), help="Labels downsample by mode, images by mean.")
@click.option("--levels", type=click.IntRange(1, 12), help="Number of levels; default: until small.")
@click.option("--format", "version", type=click.Choice(["0.4", "0.5"]), default="0.5", show_default=True)
@click.option("--overwrite", is_flag=True, help="Replace OUT if it exists.")
@PROGRESS
def convert(path: str, out: str, progress: str, **options: Any) -> None:
    """Make an OME-Zarr pyramid OUT of anything readable at PATH."""
    from napari_connecto.io.write import save_volume_job
    from napari_connecto.workflows.convert import describe, open_spec

    volume = open_spec(_volume_spec(path, options))
    _drive(save_volume_job(volume, out, **options), progress)
    written = {"path": out} if volume.levels[0].channels is None else {"path": out, "channel": "all"}
    for line in describe(open_spec(written)):
        click.echo(line)


@cli.command()
@click.argument("path")
@click.option("--cascade", required=True, help="Folder of a cascade, or the name of a shipped one (see `models`).")
@click.option("--out", required=True, type=click.Path(), help="Result folder; an unfinished one is resumed.")
@click.option("--region", type=int, nargs=6, metavar="Z0 Y0 X0 Z1 Y1 X1", help="Where to look, finest level's voxels.")
@click.option("--backend", type=click.Choice(["auto", "torch", "openvino"]), default="auto", show_default=True)
@click.option("--estimate", "only_estimate", is_flag=True, help="Say what it would cost, and stop.")
@volume_options
@params_options(DetectParams)
@cluster_options
@PROGRESS
def detect(path: str, cascade: str, out: str, **options: Any) -> None:
    """Find sparse objects in PATH: everywhere coarsely, closely only where it matters."""
    recipe = {"workflow": "detect", "volume": _volume_spec(path, options), "cascade": cascade, "out": out}
    only, region, backend = options.pop("only_estimate"), options.pop("region"), options.pop("backend")
    progress, scheduler, workers = options.pop("progress"), options.pop("scheduler"), options.pop("workers")
    recipe |= {"params": dataclasses.asdict(DetectParams(**options)), "backend": backend}
    if region:
        recipe["region"] = list(region)
    if only:
        from napari_connecto.workflows.recipe import estimate_lines

        for line in estimate_lines(recipe):
            click.echo(line)
        return
    _run_recipe(recipe, progress, scheduler, workers)


@cli.command("train-cascade")
@click.argument("path")
@click.option("--labels", help="Mask or instance labels in the same world: any readable volume.")
@click.option("--points", help="Table of centres with columns z_nm, y_nm, x_nm; needs --diameter-nm.")
@click.option("--out", required=True, type=click.Path(), help="Folder of the cascade; must not exist.")
@volume_options
@params_options(TrainParams)
@PROGRESS
def train_cascade(path: str, labels: str | None, points: str | None, out: str, progress: str, **options: Any) -> None:
    """Train a cascade on PATH from labels on part of it."""
    if (labels is None) == (points is None):
        raise click.UsageError("give either --labels or --points")
    spec = _volume_spec(path, options)
    recipe: dict[str, Any] = {"workflow": "train-cascade", "volume": spec, "out": out}
    if labels is not None:
        voxel = {"voxel_nm": spec["voxel_nm"]} if "voxel_nm" in spec else {}
        recipe["labels"] = {"path": labels, **voxel}
    else:
        recipe["points"] = points
    recipe["params"] = dataclasses.asdict(TrainParams(**options))
    _run_recipe(recipe, progress, None, 0)


@cli.command("run")
@click.argument("recipe", type=click.Path(exists=True, dir_okay=False))
@click.option("--out", help="Write here instead of where the recipe says.")
@cluster_options
@PROGRESS
def run_recipe(recipe: str, out: str | None, progress: str, scheduler: str | None, workers: int) -> None:
    """Repeat what a RECIPE (recipe.yaml) says, as the GUI or a command wrote it."""
    from napari_connecto.workflows.recipe import read_recipe

    document = read_recipe(recipe)
    if out is not None:
        document["out"] = out
    _run_recipe(document, progress, scheduler, workers)


@cli.command()
def models() -> None:
    """List the cascades that ship."""
    from napari_connecto.sample_data import list_cascades
    from napari_connecto.workflows.convert import describe_cascade

    for name, folder in list_cascades().items():
        click.echo(f"{name}: {describe_cascade(folder)}")


@cli.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("connecto-demo"), show_default=True)
@click.option("--viewer/--no-viewer", default=True, help="Open napari with the results where there is a display.")
@PROGRESS
def demo(out: Path, viewer: bool, progress: str) -> None:
    """Find cells and mitochondria in the shipped samples, and compare with looking everywhere."""
    from napari_connecto.workflows.demo import demo_job

    results = _drive(demo_job(out), progress)
    for line in results.lines:
        click.echo(line)
    if viewer:
        from napari_connecto.workflows.demo import why_no_viewer

        reason = why_no_viewer()
        if reason:
            click.echo(f"napari is not opened: {reason}")
            return
        subprocess.run([sys.executable, "-m", "napari_connecto.widgets.demo", str(out)], check=False)

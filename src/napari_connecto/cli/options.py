"""Options and habits that all commands share; options come from the workflows' params dataclasses."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from napari_connecto.cli.bar import Bar
from napari_connecto.cli.stopping import StopOnInterrupt
from napari_connecto.core.documents import json_text
from napari_connecto.core.jobs import Job, Progress, loading, progress_line, run
from napari_connecto.core.params import flag
from napari_connecto.core.phases import Phases

VOXEL = click.option(
    "--voxel-nm", type=float, nargs=3, metavar="Z Y X", help="Voxel size in nm; supplies or corrects the file's own."
)


BACKEND = click.option(
    "--backend",
    type=click.Choice(["auto", "torch", "openvino"]),
    default="auto",
    help="Inference backend; auto: OpenVINO on a CPU where it is installed, else torch.",
)


ORIGIN = click.option(
    "--origin-nm",
    type=float,
    nargs=3,
    metavar="Z Y X",
    help="Position of the corner of voxel 0 in nm; supplies or corrects the file's own.",
)


TILE = click.option(
    "--tile", type=click.IntRange(1), nargs=3, metavar="Z Y X", help="Smaller tiles than the model's, to save memory."
)


def params_options(
    kind: type, skip: Sequence[str] = (), also: Mapping[str, str] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options for every field of a params dataclass, but for those of ``skip``; ``also``: a second spelling of some."""
    hints, aliases = typing.get_type_hints(kind), also or {}

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for field in reversed(dataclasses.fields(kind)):
            if field.name not in skip:
                alias = (aliases[field.name],) if field.name in aliases else ()
                function = _option(field, hints[field.name], *alias)(function)
        return function

    return decorate


def _option(field: dataclasses.Field, hint: Any, *also: str) -> Any:
    meta, name = field.metadata, flag(field.name)
    text = meta["help"] + (f" [{meta['unit']}]" if meta["unit"] else "")
    if isinstance(hint, types.UnionType):
        hint = next(h for h in typing.get_args(hint) if h is not type(None))
    if hint is bool:  # a switch that can be turned both ways
        both = f"{name}/{flag(f'no_{field.name}')}"
        return click.option(both, *also, field.name, default=field.default, show_default=True, help=text)
    parts = typing.get_args(hint) if typing.get_origin(hint) is tuple else ()
    kind = parts[0] if parts else hint
    if meta["choices"]:
        kind = click.Choice(meta["choices"])
    elif kind in (int, float) and (meta["low"] is not None or meta["high"] is not None):
        kind = (click.IntRange if kind is int else click.FloatRange)(meta["low"], meta["high"])
    several = {"nargs": len(parts), "metavar": " ".join("ZYX"[-len(parts) :])} if parts else {}
    shown = field.default is not None
    more = {"show_default": shown, "help": text, **several}
    return click.option(name, *also, field.name, type=kind, default=field.default, **more)


def volume_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a volume is opened."""
    for option in (
        click.option("--invert", is_flag=True, help="Invert intensities on read; no file is changed."),
        click.option(
            "--axes", metavar="NAMES", help="Order of the stored axes, as in 'zyxc', where the file names none."
        ),
        click.option("--time", type=int, help="Time point, where there are several."),
        click.option("--channel", help="Channel number, or 'all', where there are several."),
        ORIGIN,
        VOXEL,
        click.option("--array", help="Array inside an HDF5 file or a zarr group."),
    ):
        function = option(function)
    return function


def volume_spec(path: str, options: dict[str, Any]) -> dict[str, Any]:
    """A recipe's ``volume``; takes its options out of ``options``."""
    channel = options.pop("channel")
    spec = {"path": path, "array": options.pop("array"), "voxel_nm": options.pop("voxel_nm")}
    spec |= {"origin_nm": options.pop("origin_nm")}
    spec |= {"time": options.pop("time"), "channel": int(channel) if channel and channel.isdecimal() else channel}
    spec |= {"axes": options.pop("axes"), "invert": options.pop("invert") or None}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in spec.items() if v is not None}


PROGRESS = click.option(
    "--progress", type=click.Choice(["bar", "json", "none"]), default="bar", help="How to show progress."
)

SHIFT_ONLY = {"affine": " /--shift-only"}
"""The older spelling of ``--no-affine``; click takes what follows the slash for the switch that turns it off."""

REPORT_SHARE = 0.02
"""Of the work of a command with ``--report``: the page took 1 to 4 s after jobs of a minute and more."""

WITH_REPORT = "napari_connecto.report"
"""Key in click's context of whether a page is to be made of the result."""


def running(function: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that run a recipe: how to show progress, and whether to make a page of the result."""
    return click.option(
        "--report",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, wanted: context.meta.update({WITH_REPORT: wanted}),
        help="Also write OUT/report.html: pictures, figures, parameters and origin on one page.",
    )(PROGRESS(function))


def drive(job: Job[Any], progress: str) -> Any:
    """Run a job with one bar on stderr, or as JSON lines on stdout for another program."""
    if progress == "json":
        return run(job, lambda p: print(progress_line(p), flush=True))
    if progress == "none":
        return run(job)
    with Bar() as bar:
        return run(job, bar.show)


def run_recipe(recipe: dict[str, Any], progress: str, scheduler: str | None = None, workers: int = 0) -> None:
    """Do what a recipe says, print its summary, and make a page of it where that was asked for."""
    wanted = bool(click.get_current_context().meta.get(WITH_REPORT))
    if wanted and not recipe.get("out"):
        raise click.UsageError("--report needs --out, the folder that it is written to")
    with StopOnInterrupt(recipe) as stopping:
        summary = drive(stopping.watched(_recipe_job(recipe, scheduler, workers, wanted)), progress)
    more = [f"written to {summary['out']}"] if summary["out"] else []
    finish(summary, progress, [*more, *([f"report: {summary['report']}"] if wanted else [])])


def _recipe_job(recipe: dict[str, Any], scheduler: str | None, workers: int, with_report: bool) -> Job[dict[str, Any]]:
    """A recipe's job, and what comes before and after it; what takes seconds to load has a name."""
    yield loading("torch")
    from napari_connecto.compute.cluster import connect
    from napari_connecto.workflows.recipes.recipe import recipe_job

    if scheduler or workers:
        yield Progress(0, 0, f"connecting to {scheduler}" if scheduler else f"starting {workers} workers", overall=0.0)
    phases = Phases({"working": 1 - REPORT_SHARE * with_report, "writing the report": REPORT_SHARE * with_report})
    with connect(scheduler, workers) as client:
        summary = yield from phases.run("working", recipe_job(recipe, client))
    if with_report:
        from napari_connecto.reports.write import write_report_job

        page = yield from phases.run("writing the report", write_report_job(summary["out"]))
        summary |= {"report": str(page)}
    return summary


def finish(summary: dict[str, Any], progress: str, more: Sequence[str] = ()) -> None:
    """Print what came of a command: its ``lines`` and some ``more``, or all of it as the last JSON line."""
    if progress == "json":
        print(json_text({"summary": summary}), flush=True)
        return
    for line in [*summary["lines"], *more]:
        click.echo(line)


def finish_estimate(found: Any, progress: str) -> None:
    """Print an `Estimate` or a `SegmentEstimate`."""
    figures = dataclasses.asdict(found) | {"seconds": found.seconds}
    finish(figures | {"lines": list(found.lines())}, progress)


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where tiles run."""
    function = click.option(
        "--workers", type=click.IntRange(0), default=0, help="Local Dask workers to start; 0: run in this process."
    )(function)
    return click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster, e.g. tcp://host:8786.")(
        function
    )
